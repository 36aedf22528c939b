"""How several processes count together, in files of one folder, and how one without a web server is asked.

Each process counts in files of its own, which every other can read; so whichever is asked answers for all. What a
process has counted outlives it: when it has ended, its counts are added to those of all that ended before.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Metric, make_wsgi_app, start_http_server, values
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from typing_extensions import override

from mailer.settings import metrics_folder, share_metrics
from mailer.settings.listening import address_of

log = logging.getLogger(__name__)

PATH = "/metrics"
WSGI = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
PREFIX = "mailer-metrics-"
IN_USE = "in-use"  # a file that is locked for as long as a process uses the folder
READING = "reading"  # a file that is locked while the counts are read, or moved
LISTENING = "listening"  # a file that is locked by the process that listens for all of them
TIDY_SECONDS = 10.0  # between two looks for processes that have ended
TAKE_OVER_SECONDS = 5.0  # between two tries to listen where another process does


class ProcessGroup:
    """A parent process and those that it forks, which count together. To be made in the parent before it forks.

    It must also be made before anything that counts.
    """

    def __init__(self) -> None:
        _sweep()
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._in_use = (self.folder / "new").open("w")
        fcntl.flock(self._in_use, fcntl.LOCK_EX)
        (self.folder / "new").rename(self.folder / IN_USE)
        (self.folder / READING).touch()
        share_metrics(self.folder)
        values.ValueClass = values.MultiProcessValue()  # as if the folder had been known at the import

    def ended(self, pid: int) -> None:
        """Add the counts of a process that has ended to those of all that ended before, so that no files pile up.

        What could not be added for an earlier one, since the counts were being read just then, is added now.
        """
        _ended(self.folder, pid)
        _tidy(self.folder)

    def close(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._in_use.close()


def _ended(folder: Path, pid: int) -> None:
    with _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB) as mine:
        for path in folder.glob(f"*_{pid}.db") if mine else ():
            _add(path, path.with_name(f"{path.name.partition('_')[0]}_ended.db"))


def _tidy(folder: Path) -> None:
    """Do so for all others that have ended."""
    names = {path.stem.partition("_")[2] for path in folder.glob("*_*.db")}
    for pid in map(int, filter(str.isdecimal, names)):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            _ended(folder, pid)
        except PermissionError:
            continue  # it is another user's by now, so somebody has its number


def _add(counts: Path, to: Path) -> None:
    sums = MmapedDict(str(to))
    for key, value, _time, _place in MmapedDict.read_all_values_from_file(str(counts)):
        sums.write_value(key, sums.read_value(key)[0] + value, 0.0)
    sums.close()
    counts.unlink()


def _sweep() -> None:
    """Delete the folders of processes that were killed. Those in use are locked by whoever uses them."""
    for mark in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{IN_USE}"):
        try:
            with mark.open("r+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(mark.parent, ignore_errors=True)
        except OSError:  # in use, or another user's
            continue


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[bool]:
    """Hold the lock on the counts while the block runs; False: others have it, and `how` says not to wait."""
    with (folder / READING).open() as file:
        try:
            fcntl.flock(file, how)
        except BlockingIOError:
            yield False
        else:
            yield True


class SharedCounts(Collector):
    """The sums over all processes that count in the folder, and over those that have ended."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._collector = MultiProcessCollector(None, str(folder))

    @override
    def collect(self) -> Iterable[Metric]:
        with _locked(self._folder, fcntl.LOCK_SH):
            return list(self._collector.collect())


def listen(registry: CollectorRegistry, address: str) -> None:
    """Answer `GET /metrics` at `address` (HOST:PORT) from a thread of this process, for as long as it lives.

    For a process that serves no web, to be called after it was forked. Where processes count together, all of them may
    call it with the same address: one listens for all, and another takes over when it has ended.
    """
    host, port = address_of(address)
    threading.Thread(target=_listen, args=(registry, host, port), name="metrics", daemon=True).start()


def _listen(registry: CollectorRegistry, host: str, port: int) -> None:
    folder = metrics_folder()
    _wait_for_my_turn(folder)
    told = False
    while True:
        try:
            server, _ = start_http_server(port, host, registry)
        except OSError as error:
            if not told:
                log.warning("metrics are not served at port %d by process %d: %s", port, os.getpid(), error.strerror)
            told = True
            threading.Event().wait(TAKE_OVER_SECONDS)
        else:
            server.set_app(_at_its_path(make_wsgi_app(registry)))  # by itself it answers at every path
            break
    while folder is not None:
        threading.Event().wait(TIDY_SECONDS)
        _tidy(folder)


def _at_its_path(app: WSGI) -> WSGI:
    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        return (app if environ.get("PATH_INFO") == PATH else nothing_here)(environ, start_response)

    return answer


def nothing_here(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """The answer to whatever has no place at this port."""
    start_response("404 Not Found", [("Content-Type", "text/plain")])
    return [b"There is nothing here at this port.\n"]


def _wait_for_my_turn(folder: Path | None) -> None:
    """Wait until no other process listens for those that count in the folder; the turn ends with this process."""
    if folder is not None:
        turn = os.open(folder / LISTENING, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(turn, fcntl.LOCK_EX)
