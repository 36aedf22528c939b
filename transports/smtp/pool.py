"""A pool of SMTP sessions that are kept open between uses.

Their number has a limit, those that are idle for long are closed, and a forked process never uses its parent's.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache

from transports.base import TransportUnavailable
from transports.smtp.session import Session

RETRY_SECONDS = 60.0  # after a session could not be opened: before `session_if_free` opens one again


class SessionPool:
    """At most `size` sessions at a time; one is closed after `max_messages`, or after `idle_timeout` seconds unused."""

    _changed: threading.Condition
    _idle: list[Session]  # the longest idle first; the last one is used next
    _busy: int
    _waiting: int
    _idle_thread: threading.Thread | None

    def __init__(self, opener: Callable[[], Session], size: int, max_messages: int, idle_timeout: float) -> None:
        self._open_session = opener
        self.size = size
        self._max_messages = max_messages
        self._idle_timeout = idle_timeout
        self._closings = 0
        self._no_more_until = 0.0
        self._start_empty()
        _POOLS.add(self)
        _watch_forks()

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A live session, opened if need be; waits while all are in use.

        It goes back to the pool if the block ends normally, and is dropped if the block raises or is abandoned. Raises
        `TransportUnavailable` when none can be opened.
        """
        with self._changed:
            self._waiting += 1
            self._changed.wait_for(lambda: self._busy < self.size)
            self._waiting -= 1
            self._busy += 1
        with self._checked_out() as session:
            yield session

    def session_if_free(self) -> AbstractContextManager[Session] | None:
        """As `session`, without waiting, to be entered at once; None when all are in use, or others wait for one.

        Also None for `RETRY_SECONDS` after a session could not be opened, as the server may allow no more, unless one
        is idle.
        """
        with self._changed:
            refused = not self._idle and time.monotonic() < self._no_more_until
            if refused or self._busy + self._waiting >= self.size:
                return None
            self._busy += 1
        return self._checked_out()

    def check(self) -> None:
        """Make sure that a session can be had and answers; when all are in use, that is taken as proof enough.

        Raises `TransportUnavailable`.
        """
        with self._changed:
            if self._busy >= self.size:
                return
            self._busy += 1
        with self._checked_out() as session:
            session.check()

    def close(self) -> None:
        """End every idle session with QUIT; those in use are ended when they are given back."""
        with self._changed:
            self._closings += 1
            idle, self._idle = self._idle, []
            self._changed.notify_all()
        for session in idle:
            session.quit()

    @contextmanager
    def _checked_out(self) -> Iterator[Session]:
        """A session for a place that is counted as busy already; the place is given back whatever happens."""
        condition = self._changed
        session: Session | None = None
        succeeded = False
        closings = self._closings
        try:
            session = self._take_idle() or self._open()
            yield session
            succeeded = True
        finally:
            if condition is self._changed:  # else this process was forked meanwhile, and its pool began empty
                self._give_back(session, succeeded, closings)
            elif session is not None:
                session.drop()

    def _take_idle(self) -> Session | None:
        while True:
            with self._changed:
                if not self._idle:
                    return None
                session = self._idle.pop()
            if session.is_alive(time.monotonic()):
                return session
            session.drop()

    def _open(self) -> Session:
        try:
            return self._open_session()
        except TransportUnavailable:
            self._no_more_until = time.monotonic() + RETRY_SECONDS
            raise

    def _give_back(self, session: Session | None, succeeded: bool, closings: int) -> None:
        keep = session is not None and succeeded and closings == self._closings and self._is_reusable(session)
        if session is not None and not keep:
            session.quit() if succeeded else session.drop()
        with self._changed:
            self._busy -= 1
            if session is not None and keep:
                self._put_back(session)
            self._changed.notify_all()

    def _is_reusable(self, session: Session) -> bool:
        return session.transaction_count < self._max_messages and session.connection.is_idle()

    def _put_back(self, session: Session) -> None:
        session.idle_since = time.monotonic()
        self._idle.append(session)
        if self._idle_thread is None:
            self._idle_thread = threading.Thread(target=self._close_expired, name="smtp-idle", daemon=True)
            self._idle_thread.start()

    def _close_expired(self) -> None:
        """In a thread: end sessions that have been idle for long enough; returns when none is left to watch."""
        while True:
            with self._changed:
                if not self._idle:
                    self._idle_thread = None
                    return
                seconds = self._idle[0].idle_since + self._idle_timeout - time.monotonic()
                expired = self._idle.pop(0) if seconds <= 0 else None
                if expired is None:
                    self._changed.wait(seconds)
            if expired is not None:
                expired.quit()

    def _start_empty(self) -> None:
        self._changed = threading.Condition()
        self._idle = []
        self._busy = 0
        self._waiting = 0
        self._idle_thread = None

    def reset_after_fork(self) -> None:
        """In a forked child: close its copies of the parent's sockets without QUIT, and begin with an empty pool."""
        for session in self._idle:
            session.drop()
        self._start_empty()


_POOLS: weakref.WeakSet[SessionPool] = weakref.WeakSet()


def _after_fork() -> None:
    for pool in _POOLS:
        pool.reset_after_fork()


@cache
def _watch_forks() -> None:
    """Have every pool reset in forked children, from the first pool of the process on."""
    os.register_at_fork(after_in_child=_after_fork)
