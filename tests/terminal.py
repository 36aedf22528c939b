"""A command at a pseudo-terminal, as a person sits before it: what it shows, what is typed, Ctrl-C among it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

CTRL_C = "\x03"


class Terminal:
    """Runs `command`; `shown` is all that came to the screen, with line ends as they are in a file."""

    def __init__(self, command: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str], columns: int = 100) -> None:
        self._here, there = pty.openpty()
        fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self._process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**env, "TERM": "xterm"},
            stdin=there,
            stdout=there,
            stderr=there,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - else Ctrl-C reaches nobody
        )
        os.close(there)
        self.shown = ""

    def wait_for(self, text: str, seconds: float = 30) -> None:
        """Until `text` has been shown."""
        ends = time.monotonic() + seconds
        while text not in self.shown:
            if time.monotonic() > ends:
                self._fail(f"{text!r} was not shown in {seconds} s")
            if not self._read(0.1) and self._process.poll() is not None and not self._read(0.1):
                self._fail(f"ended without {text!r}")

    def type(self, keys: str) -> None:
        """Press these keys."""
        os.write(self._here, keys.encode())

    def end(self, seconds: float = 60) -> int:
        """Wait for the command's end and return its exit code."""
        ends = time.monotonic() + seconds
        while self._process.poll() is None:
            if time.monotonic() > ends:
                self._fail(f"not at its end after {seconds} s")
            self._read(0.1)
        while self._read(0):
            pass
        os.close(self._here)
        return self._process.returncode

    def _fail(self, problem: str) -> NoReturn:
        self._process.kill()
        self._process.wait()
        os.close(self._here)
        raise AssertionError(f"{problem}:\n{self.shown}")

    def _read(self, seconds: float) -> bool:
        if not select.select([self._here], [], [], seconds)[0]:
            return False
        try:
            piece = os.read(self._here, 65536)
        except OSError:  # nobody is left at the other end
            return False
        self.shown += piece.decode().replace("\r\n", "\n")
        return bool(piece)
