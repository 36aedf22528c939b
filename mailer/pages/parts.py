"""What the pages of people who have signed in work with."""

from __future__ import annotations

from dataclasses import dataclass

from mailer.api.guard import ConcurrencyLimit
from mailer.audience.field_values import KnownFieldValues
from mailer.callers.rate_limits import RateLimiter
from mailer.callers.selection import Callers
from mailer.engines import Engine
from mailer.messages.links import Links
from mailer.observer import Observer
from mailer.operation.standing import Operation
from mailer.settings import Settings
from mailer.storage.database import Database
from transports import Transport


@dataclass(frozen=True, slots=True)
class PageParts:
    """The parts of the service that pages read, or act upon. A page never does what the API cannot."""

    settings: Settings
    db: Database
    engine: Engine
    transport: Transport
    links: Links
    callers: Callers
    observer: Observer
    operation: Operation
    directory_reads: ConcurrencyLimit
    field_values: KnownFieldValues

    def limiter(self) -> RateLimiter:
        """Who asks how often, counted as for the API."""
        return RateLimiter(self.db, self.settings.rate_limit)
