"""Processes that are measured: their CPU and memory by /proc, and starting and ending them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
START_SECONDS = 30.0
STOP_SECONDS = 40.0


class DidNotStart(Exception):
    """A server did not answer in time."""


def free_port() -> int:
    """A TCP port on the loopback that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def children(pid: int) -> list[int]:
    """The direct children of a process."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii")
    return [int(child) for child in listed.split()]


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, in ticks of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mb(pid: int, field: str = "VmRSS") -> float:
    """`VmRSS` (now) or `VmHWM` (peak) in MB of 10^6 octets."""
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024 / 1e6
    raise KeyError(field)


def await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until something listens. Raises `DidNotStart`."""
    ends = time.monotonic() + START_SECONDS
    while time.monotonic() < ends and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise DidNotStart(f"nothing listens on port {port}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End it politely, then firmly, with the children that it started in its own group."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def running(command: list[str], port: int, output: Path, **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """A server process in a group of its own that listens on `port`, ended when the block is left."""
    with output.open("ab") as log:
        process = subprocess.Popen(  # type: ignore[call-overload]
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **options
        )
    try:
        await_port(port, process)
        yield process
    finally:
        stop(process)


@contextmanager
def smtp_sink(program: str, folder: Path) -> Iterator[int]:
    """Postfix's `smtp-sink`, which takes and forgets everything; gives its port."""
    port = free_port()
    as_user = ["-u", "nobody"] if os.geteuid() == 0 else []
    with running([program, *as_user, f"127.0.0.1:{port}", "1000"], port, folder / "smtp-sink.log"):
        yield port
