"""Programs that tests start beside the service: whether they are there, on which port, and until when."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest


def program(name: str) -> str | None:
    """Where it is, also where Debian keeps programs for root; None if it is not installed."""
    return shutil.which(name, path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")


def need(*names: str) -> None:
    """Skip the test unless these are installed, and can be started here."""
    if missing := [name for name in names if program(name) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    if os.geteuid() != 0:
        pytest.skip("they start as root only")


def await_port(port: int) -> None:
    """Return once somebody listens on it."""
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < deadline, "it does not listen"
            time.sleep(0.05)
        else:
            return


@contextmanager
def running_process(command: Sequence[str], port: int, end: int = signal.SIGTERM) -> Iterator[None]:
    """A program until the block ends, once it listens; then it gets the signal `end`."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        await_port(port)
        yield
    finally:
        process.send_signal(end)
        process.wait(30)
