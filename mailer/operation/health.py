"""Can this process do its work, and what should a person see to: the checks of `/readyz` and of the system's page.

Only what a restart may mend counts as down: a database that takes no writes, or delivery threads that have ended. What
is mended elsewhere, such as a mail server or a broker that is away, or a hold on all sending, is a warning, since to
restart the process or to take it out of a cluster would only take the unsubscribe page away too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from mailer.campaigns import hold
from mailer.campaigns.reports.attention import needing_attention
from mailer.campaigns.signing.needed import missing_keys
from mailer.delivery import circuit_breaker
from mailer.engines import Engine
from mailer.settings import Settings, site_address
from mailer.settings.advice import staging_warnings
from mailer.storage.database import Database
from mailer.storage.database_errors import DATABASE_ERRORS
from mailer.storage.health import database_trouble
from transports.base import Transport, TransportUnavailable
from transports.slots import says_used_up

UNKNOWN = "unknown"  # the reason is told as the database's

Check = Callable[[], Iterable[str]]  # what a person should see to, a sentence each
Trouble = Callable[[], str | None]  # why a part does not do its work; None: it does


@dataclass(frozen=True, slots=True)
class Condition:
    """What one look found. `parts` has for each part its trouble, or None, and `notes` what is told as it is."""

    down: bool
    parts: Mapping[str, str | None]
    notes: Mapping[str, str]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Health:
    """The checks of one process.

    `tasks` are scheduled tasks by name: their trouble is a warning. `warnings` are checks of further parts, by the name
    of the part. `notes` are told as they are, and are neither trouble nor warnings.
    """

    db: Database
    transport: Transport
    engine: Engine
    tasks: Mapping[str, Trouble]
    warnings: Mapping[str, Check]
    notes: Mapping[str, Callable[[], str]]

    def look(self, *, strict: bool = False) -> Condition:
        """Check everything. With `strict` a transport or a broker that does not work counts as down as well.

        A quota that is used up for the day does not, as somebody has planned.
        """
        transport, engine, database = self._transport(), self.engine.trouble(), database_trouble(self.db)
        concern = None if engine else _known(self.engine.concern, None)
        delivering = (transport if not transport or not says_used_up(transport) else None, concern)
        trouble: dict[str, str | None] = {"database": database, "transport": transport, "engine": engine or concern}
        trouble["sending"] = _known(self._hold)
        trouble["campaigns"] = _known(self._campaigns)
        trouble |= {name: _known(task) for name, task in self.tasks.items()}
        named = ("transport", "sending", "campaigns", *self.tasks)
        shown = [f"{name}: {trouble[name]}" for name in named if trouble[name]]
        shown += [f"engine: {concern}"] if concern else []
        shown += [f"{name}: {problem}" for name, check in self.warnings.items() for problem in _warnings_of(check)]
        down = any((database, engine, *(delivering if strict else ())))
        return Condition(down, trouble, {name: note() for name, note in self.notes.items()}, tuple(shown))

    def _hold(self) -> str | None:
        held = hold.held(self.db)
        return str(held) if held else None

    def _campaigns(self) -> str | None:
        return ", ".join(f"{count} {state}" for state, count in needing_attention(self.db).items()) or None

    def _transport(self) -> str | None:
        try:
            with self.db.read() as connection:
                breaker = circuit_breaker.tripped(connection)
                is_open = breaker is not None and breaker.is_open(self.db.clock(connection))
        except DATABASE_ERRORS:
            breaker, is_open = None, False  # told as the database's trouble
        if breaker and is_open:  # while it is half-open there may be nothing to send, and so nobody who tries
            return breaker.reason
        try:
            self.transport.check()
        except TransportUnavailable as error:
            return str(error)
        return None


def health_of(
    settings: Settings,
    db: Database,
    transport: Transport,
    engine: Engine,
    tasks: Mapping[str, Trouble],
    keys: Sequence[str] = (),
) -> Health:
    """The checks of a service with these settings and parts; `keys` are the fingerprints of its signing keys."""
    window = settings.send_window
    notes = {"sendWindow": lambda: window.in_words(time.time() * 1000)} if window else {}
    warnings: dict[str, Check] = {"site": partial(site_address.warnings_about, settings.site_url)}
    warnings["keys"] = partial(missing_keys, db, keys)
    warnings["staging"] = partial(staging_warnings, settings)
    return Health(db, transport, engine, tasks, warnings, notes)


def _known(trouble: Trouble, otherwise: str | None = UNKNOWN) -> str | None:
    try:
        return trouble()
    except DATABASE_ERRORS:
        return otherwise


def _warnings_of(check: Check) -> Iterable[str]:
    try:
        return check()
    except DATABASE_ERRORS:
        return (UNKNOWN,)
