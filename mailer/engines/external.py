"""The engine of a process that only accepts: other processes, with another engine, plan and deliver.

For a web host from which no mail may go, or whose workers are started elsewhere. `mailer worker` refuses to start.
"""

from __future__ import annotations

from typing_extensions import override

from mailer.engines.base import Engine, EngineParts
from mailer.engines.presence import Presence
from mailer.errors import ConfigError
from mailer.storage.workers import workers

NOBODY = "no worker is running, and what is accepted waits"


class ExternalEngine(Engine):
    """Runs nothing. Workers with another engine look into the database by themselves, so nobody need be told."""

    def __init__(self, parts: EngineParts) -> None:
        self._db = parts.db
        self._presence = Presence(parts)

    @override
    def start(self) -> None:
        """Start nothing that delivers."""
        self._presence.start()

    @override
    def wake(self) -> None:
        """Tell nobody: the workers look by themselves."""

    @override
    def stop(self, timeout: float) -> bool:
        self._presence.stop(timeout)
        return True

    @override
    def trouble(self) -> str | None:
        return None

    @override
    def concern(self) -> str | None:
        """Say that no process delivers: each that does writes several times a minute that it is there."""
        return None if any(one.delivers for one in workers(self._db)) else NOBODY

    @override
    def work(self) -> str | None:
        raise ConfigError(
            "MAILER_ENGINE: external: this process only accepts; run `mailer worker` with MAILER_ENGINE=local or celery"
        )
