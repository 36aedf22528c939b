"""How the service stands, from the database alone, and with its health and settings what operators look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mailer.campaigns.overview import Overview, for_a_person, look
from mailer.operation.health import Health
from mailer.operation.settings_in_force import SettingInForce, settings_in_force, settings_warnings
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.workers import Worker, workers


@dataclass(frozen=True, slots=True)
class Standing:
    """The engine's name, what the database shows, the processes that were seen lately, and what does not mend itself.

    `needs_a_person` has a sentence each; empty: nothing.
    """

    engine: str
    seen: Overview
    workers: tuple[Worker, ...]
    needs_a_person: tuple[str, ...]

    @property
    def alive(self) -> int:
        """How many processes were seen in the last minute."""
        return sum(one.alive for one in self.workers)


def standing(db: Database, settings: Settings) -> Standing:
    """Look once."""
    seen, running = look(db, settings.send_window), tuple(workers(db))
    wrong = for_a_person(seen, delivering=sum(one.delivers for one in running))
    return Standing(settings.engine, seen, running, tuple(wrong))


@dataclass(frozen=True, slots=True)
class Operation:
    """The health of this process, and the settings with which it began; `origins` says where they came from."""

    db: Database
    settings: Settings
    health: Health
    origins: Mapping[str, str] = field(default_factory=dict)

    def standing(self) -> Standing:
        """How the service as a whole stands, from the database."""
        return standing(self.db, self.settings)

    def in_force(self) -> list[SettingInForce]:
        """Every setting, without secrets."""
        return settings_in_force(self.settings, self.origins)

    def warnings(self) -> tuple[str, ...]:
        """What is probably a mistake in the settings, a sentence each."""
        return settings_warnings(self.settings)
