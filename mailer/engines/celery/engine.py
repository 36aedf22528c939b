"""`MAILER_ENGINE=celery` in a process of the web: it delivers nothing, and rings for the workers."""

from __future__ import annotations

from collections.abc import Mapping

from typing_extensions import override

from mailer.engines.base import Engine, EngineParts
from mailer.engines.celery import broker
from mailer.engines.celery.application import make_application
from mailer.engines.celery.doorbell import BrokerAway, Doorbell, Ringer
from mailer.engines.celery.sweep import Sweep
from mailer.engines.presence import Presence
from mailer.settings import Settings


class CeleryEngine(Engine):
    """Rings when something was accepted. `work` is the other half: the worker that is called."""

    forks = True

    @classmethod
    @override
    def check(cls, settings: Settings) -> None:
        broker.check(settings)

    def __init__(self, parts: EngineParts) -> None:
        self._parts = parts
        self._presence = Presence(parts)
        self._ringer: Ringer | None = None

    @override
    def start(self) -> None:
        settings = self._parts.settings
        self._ringer = Ringer(Doorbell(make_application(settings), settings))
        self._ringer.start()
        self._presence.start()

    def ring_by(self, ringer: Ringer) -> None:
        """Ring by this one from now on, in a process of the worker where new work is announced."""
        self._ringer = ringer

    @override
    def wake(self) -> None:
        if self._ringer is not None:
            self._ringer.ask()

    @override
    def stop(self, timeout: float) -> bool:
        left = self._presence.stop(timeout)
        return self._ringer is None or self._ringer.stop(left)

    @override
    def trouble(self) -> str | None:
        if self._ringer is None:
            return "not started"
        return None if self._ringer.is_alive() else "the thread that calls the workers has ended"

    @override
    def concern(self) -> str | None:
        """Say that the broker is away, or that no worker sweeps: every one that runs and reaches the broker may."""
        if self._ringer is not None and self._ringer.trouble is not None:
            return f"the broker cannot be reached, and what is accepted waits: {self._ringer.trouble}"
        return None if Sweep.is_held(self._parts.db) else "no worker is running, and what is accepted waits"

    @override
    def unreachable(self) -> Mapping[str, str | None]:
        settings = self._parts.settings
        bell = Doorbell(make_application(settings), settings)
        try:
            bell.look()
        except BrokerAway as error:
            return {"broker": str(error)}
        finally:
            bell.close()
        return {"broker": None}

    @override
    def work(self) -> str | None:
        from mailer.engines.celery import worker  # noqa: PLC0415 - slow to import, and the web never needs it

        return worker.run(self._parts, self.ring_by)
