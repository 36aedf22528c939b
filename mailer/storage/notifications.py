"""Announce that work is due, and be told of it: PostgreSQL's NOTIFY and LISTEN, on one channel and without a payload.

The announcement belongs to the transaction that makes the work due, so it arrives when the work can be found, and never
for work that was rolled back. It is a hint and no more: one that is lost costs the time until somebody looks.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import psycopg
from sqlalchemy import Connection, make_url

from mailer.errors import ConfigError
from mailer.storage.database import Database
from mailer.storage.database_errors import DATABASE_ERRORS, own_words
from mailer.storage.dialects import is_postgresql, on_driver
from mailer.storage.postgresql import connect

log = logging.getLogger(__name__)

CHANNEL = "mailer_work"
LONGEST_BACK_OFF = 60.0  # seconds between two tries to listen
TRIAL_SECONDS = 5.0  # how long an announcement may take to arrive
LOOK_SECONDS = 0.25  # how late the end is noticed


class Deaf(Exception):
    """The connection listens, but announcements do not reach it; its text says why."""


def announce_work(connection: Connection) -> None:
    """Wake all idle workers when the transaction commits. On SQLite this does nothing.

    Not for checkpoints: PostgreSQL lets transactions that announce something commit only one after the other.
    """
    if is_postgresql(connection):
        on_driver(connection, f"NOTIFY {CHANNEL}", ())


def listener_for(db: Database, url: str = "") -> Listener | None:
    """A listener at `url`, or where the database is; None for SQLite, whose work nobody announces.

    Raises `ConfigError` for a `url` that is not PostgreSQL's, or has no use.
    """
    if db.writes is not None and url:
        raise ConfigError("MAILER_LISTEN_URL: there is nothing to listen to, since MAILER_DATABASE_URL is SQLite")
    if db.writes is not None:
        return None
    if url and make_url(url).get_backend_name() != "postgresql":
        raise ConfigError("MAILER_LISTEN_URL: not postgresql://…")
    return Listener(db, url or db.url)


class Listener:
    """Listens in one process for work that any process announces, over a connection of its own.

    `url` must lead to PostgreSQL itself, since a pooler passes no announcements on. `on_work` is called for each; set
    it before `run`.
    """

    def __init__(self, db: Database, url: str) -> None:
        self._db = db
        self._url = url
        self._trouble: str | None = None
        self._hearing = False
        self.on_work: Callable[[], None] = lambda: None

    def hears(self) -> bool:
        """Whether announcements arrive now, so that idle workers need not look often."""
        return self._hearing

    def run(self, stopping: threading.Event) -> None:
        """Listen until `stopping` is set. A connection that is lost is made anew, with more time between the tries."""
        back_off = 1.0
        while not stopping.is_set():
            try:
                with connect(self._url) as connection:
                    self._try_out(connection)
                    back_off = 1.0
                    self._listen(connection, stopping)
            except (*DATABASE_ERRORS, Deaf) as error:
                self._report(error)
                stopping.wait(back_off)
                back_off = min(2 * back_off, LONGEST_BACK_OFF)
            finally:
                self._hearing = False

    def _try_out(self, connection: psycopg.Connection[Any]) -> None:
        """Listen, and announce something through the service's own connections, which has to arrive. Raises `Deaf`."""
        found = connection.execute("SELECT pg_backend_pid()").fetchone()
        if found != (connection.info.backend_pid,):  # a pooler invents a number
            raise Deaf("there is a pooler on the way; MAILER_LISTEN_URL has to lead to PostgreSQL itself")
        connection.execute(f"LISTEN {CHANNEL}")
        with self._db.write(durable=False) as writer:
            announce_work(writer)
        if not list(connection.notifies(timeout=TRIAL_SECONDS, stop_after=1)):
            raise Deaf("MAILER_LISTEN_URL leads to another database than MAILER_DATABASE_URL")

    def _listen(self, connection: psycopg.Connection[Any], stopping: threading.Event) -> None:
        self._hearing = True
        if self._trouble is not None:
            log.info("told of new work again")
            self._trouble = None
        self.on_work()  # for what was announced while nobody listened
        while not stopping.is_set():
            for _ in connection.notifies(timeout=LOOK_SECONDS, stop_after=1):
                self.on_work()

    def _report(self, error: Exception) -> None:
        """Log why workers have to look for themselves, once for each reason in a row."""
        words = str(error) if isinstance(error, Deaf) else own_words(error)
        if words != self._trouble:
            log.warning("not told of new work, so idle workers look for it more often: %s", words)
        self._trouble = words
