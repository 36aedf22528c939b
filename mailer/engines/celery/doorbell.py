"""Ring: tell some worker that there is work, by one message at most that waits in the queue."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from celery import Celery
from celery.exceptions import CeleryError
from kombu import Connection, Producer
from kombu.exceptions import KombuError

from mailer.engines.celery import broker
from mailer.engines.celery.application import TASK, queue_of
from mailer.settings import Settings

log = logging.getLogger(__name__)

PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)  # seconds between two tries to reach a broker that is away
LOOK_SECONDS = 30.0  # a broker that is not needed is looked at so often


class BrokerAway(Exception):
    """Nobody could be told; the text says where and why, without a secret."""


class Doorbell:
    """One connection to ring by, made at the first ring and after each failure anew. Threads take turns at it."""

    def __init__(self, application: Celery, settings: Settings) -> None:
        self._application = application
        self._queue = queue_of(settings)
        self._place = broker.place(settings)
        self._options = {**broker.transport_options(settings), **broker.ringing_options(settings)}
        self._turn = threading.Lock()
        self._connection: Connection | None = None
        self._channel: Any = None

    def ring(self) -> None:
        """Have a message in the queue. One that waits there already is enough: who takes it looks at everything.

        Raises `BrokerAway` after some seconds at most, but for a name that is not resolved.
        """
        self._try(self._ring)

    def look(self) -> None:
        """Look at the queue, which is declared, and leave no message. Raises `BrokerAway` as `ring` does."""
        self._try(self._waiting)

    def _try(self, ask: Callable[[], object]) -> None:
        with self._turn:
            try:
                ask()
            except Exception as error:
                self.close()
                if self._is_the_brokers(error):
                    raise BrokerAway(f"{self._place}: {_words(error)}") from error
                raise

    def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            connection.collect(broker.ANSWER_SECONDS)  # closes what is open, and raises nothing

    def _ring(self) -> None:
        if not self._waiting():
            self._publish()

    def _waiting(self) -> int:
        """How many messages wait in the queue."""
        if self._connection is None:
            self._connection = self._application.connection_for_write(
                connect_timeout=broker.ANSWER_SECONDS, heartbeat=0, transport_options=self._options
            )
            self._channel = self._connection.channel()
        waiting = self._queue.bind(self._channel).queue_declare()  # each time: a broker may have been wiped
        return 0 if waiting is None else int(waiting.message_count)

    def _publish(self) -> None:
        self._application.send_task(
            TASK,
            producer=Producer(self._channel),
            exchange="",
            routing_key=self._queue.name,
            retry=False,
            ignore_result=True,
            confirm_timeout=broker.ANSWER_SECONDS,
        )

    def _is_the_brokers(self, error: Exception) -> bool:
        known: tuple[type[Exception], ...] = (OSError, KombuError, CeleryError)
        connection = self._application.connection_for_write()
        return isinstance(error, (*known, *connection.connection_errors, *connection.channel_errors))


class Ringer:
    """Rings in a thread of its own, so that whoever asks need not wait for the broker."""

    def __init__(self, bell: Doorbell) -> None:
        self._bell = bell
        self._asked = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="doorbell", daemon=True)
        self.trouble: str | None = None
        """Why the last ring failed; None: it did not."""

    def start(self) -> None:
        """Start the thread. It rings at once, so that it is soon known whether the broker answers."""
        self._asked.set()
        self._thread.start()

    def ask(self) -> None:
        """Have somebody called. Returns at once."""
        self._asked.set()

    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def stop(self, timeout: float) -> bool:
        """End; return False if the thread still runs after `timeout` seconds."""
        self._stopping.set()
        self._asked.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            self._asked.wait(LOOK_SECONDS)
            self._asked.clear()
            failures = 0 if self._stopping.is_set() or self._ring() else failures + 1
            if failures:
                self._stopping.wait(PAUSES[min(failures, len(PAUSES)) - 1])
                self._asked.set()
        self._bell.close()

    def _ring(self) -> bool:
        try:
            self._bell.ring()
        except BrokerAway as error:
            if self.trouble is None:
                log.error("the broker cannot be reached, trying again: %s", error)
            self.trouble = str(error)
        except Exception:
            self.trouble = "an unexpected error, whose traceback is in the log"
            log.exception("doorbell, trying again")
        else:
            if self.trouble is not None:
                log.warning("the broker answers again")
            self.trouble = None
        return self.trouble is None


def _words(error: Exception) -> str:
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
