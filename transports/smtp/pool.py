"""Sessions kept open between uses: a bounded number, closed when idle, never shared with a forked process."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from transports.base import TransportUnavailable
from transports.smtp.session import Session

REFUSED_SECONDS = 60.0  # before more than one connection is tried again


class SessionPool:
    """At most `size` sessions at a time; one is closed after `max_messages`, or `idle` seconds without use."""

    _changed: threading.Condition
    _parked: list[Session]  # the longest at rest first, the last one used next
    _busy: int
    _waiting: int
    _reaper: threading.Thread | None

    def __init__(self, opener: Callable[[], Session], size: int, max_messages: int, idle: float) -> None:
        self._opener = opener
        self.size = size
        self._max_messages = max_messages
        self._idle = idle
        self._closings = 0
        self._refused_until = 0.0
        self._begin()
        _POOLS.add(self)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A live session, opened if need be; waits while all are in use.

        It is kept for the next use if the block ends normally, and dropped if it raises or is abandoned. Raises
        `TransportUnavailable` when none can be opened.
        """
        with self._changed:
            self._waiting += 1
            self._changed.wait_for(lambda: self._busy < self.size)
            self._waiting -= 1
            self._busy += 1
        with self._lend() as session:
            yield session

    def spare(self) -> AbstractContextManager[Session] | None:
        """One more without waiting, to be entered at once; None when all are in use, or others wait for one.

        None, too, for a while after one could not be opened: the server may allow no more.
        """
        with self._changed:
            refused = not self._parked and time.monotonic() < self._refused_until
            if refused or self._busy + self._waiting >= self.size:
                return None
            self._busy += 1
        return self._lend()

    def check(self) -> None:
        """Make sure that a session can be had and answers; when all are in use, that has to do as an answer.

        Raises `TransportUnavailable`.
        """
        with self._changed:
            if self._busy >= self.size:
                return
            self._busy += 1
        with self._lend() as session:
            session.confirm()

    def close(self) -> None:
        """Say goodbye on every session; those in use are closed when they are given back."""
        with self._changed:
            self._closings += 1
            parked, self._parked = self._parked, []
            self._changed.notify_all()
        for session in parked:
            session.quit()

    @contextmanager
    def _lend(self) -> Iterator[Session]:
        """A session for a place that is counted as busy; the place is given back whatever happens."""
        held = self._changed
        session: Session | None = None
        sound = False
        closings = self._closings
        try:
            session = self._take() or self._open()
            yield session
            sound = True
        finally:
            if held is self._changed:  # else this process was forked meanwhile, and begins anew
                self._give_back(session, sound, closings)
            elif session is not None:
                session.drop()

    def _take(self) -> Session | None:
        while True:
            with self._changed:
                if not self._parked:
                    return None
                session = self._parked.pop()
            if session.alive(time.monotonic()):
                return session
            session.drop()

    def _open(self) -> Session:
        try:
            return self._opener()
        except TransportUnavailable:
            self._refused_until = time.monotonic() + REFUSED_SECONDS
            raise

    def _give_back(self, session: Session | None, sound: bool, closings: int) -> None:
        keep = session is not None and sound and closings == self._closings and self._usable(session)
        if session is not None and not keep:
            session.quit() if sound else session.drop()
        with self._changed:
            self._busy -= 1
            if session is not None and keep:
                self._park(session)
            self._changed.notify_all()

    def _usable(self, session: Session) -> bool:
        return session.carried < self._max_messages and session.wire.quiet()

    def _park(self, session: Session) -> None:
        session.rested_at = time.monotonic()
        self._parked.append(session)
        if self._reaper is None:
            self._reaper = threading.Thread(target=self._reap, name="smtp-idle", daemon=True)
            self._reaper.start()

    def _reap(self) -> None:
        """Close what has rested for long enough; ends when nothing is left to watch."""
        while True:
            with self._changed:
                if not self._parked:
                    self._reaper = None
                    return
                seconds = self._parked[0].rested_at + self._idle - time.monotonic()
                expired = self._parked.pop(0) if seconds <= 0 else None
                if expired is None:
                    self._changed.wait(seconds)
            if expired is not None:
                expired.quit()

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._parked = []
        self._busy = 0
        self._waiting = 0
        self._reaper = None

    def forget(self) -> None:
        """In a forked child: leave the parent's connections alone and begin anew."""
        for session in self._parked:
            session.drop()
        self._begin()


_POOLS: weakref.WeakSet[SessionPool] = weakref.WeakSet()


def _after_fork() -> None:
    for pool in _POOLS:
        pool.forget()


os.register_at_fork(after_in_child=_after_fork)
