"""How many requests may look at the whole directory at once: never so many that no thread is left to accept one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mailer.errors import TooBusy

WITHOUT_SERVER = 4


class Looks:
    """Places for looks at the directory; gunicorn.conf.py gives a process half as many as it has threads."""

    def __init__(self, places: int = WITHOUT_SERVER) -> None:
        self.offer(places)

    def offer(self, places: int) -> None:
        """Have this many from now on; to be called before there are requests."""
        self._places = threading.BoundedSemaphore(max(1, places))

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold one. Raises `TooBusy` at once where all are taken: who waited would take a thread as well."""
        places = self._places
        if not places.acquire(blocking=False):
            raise TooBusy
        try:
            yield
        finally:
            places.release()
