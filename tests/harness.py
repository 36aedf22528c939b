"""The whole path of a campaign in one process, over a memory transport and a clock that tests turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing, suppress
from functools import partial
from typing import Any

from sqlalchemy import Connection, func, select

from mailer.campaigns.accept import accept
from mailer.campaigns.draft import Draft, compile_campaign
from mailer.campaigns.planning import Planner
from mailer.campaigns.progress import Progress, progress
from mailer.delivery.deliverer import Deliverer
from mailer.delivery.flight.recorder import Recorders
from mailer.delivery.outbox import Outbox
from mailer.messages.links import Links
from mailer.observer import UNOBSERVED, Observer
from mailer.pacing.admission import Admission
from mailer.pacing.domain_slots import DomainSlots
from mailer.selector.sql.sqlite_functions import add_functions
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.models import Batch, Delivery, Priority
from transports.base import Transport
from transports.memory import MemoryTransport

START = 1_700_000_000_000
MINUTE = 60_000


class Died(BaseException):
    """The process is gone: nothing that it would have done happens."""


class Interrupted(Database):
    """The same database, for one process that something happens to when it begins to write for the `nth` time."""

    def __init__(self, db: Database, nth: int, happens: Callable[[], object]) -> None:
        super().__init__(db.url, on_connect=add_functions, clock=db.clock)
        self._writes_left = nth
        self._happens = happens

    def write(self, *, durable: bool = True) -> AbstractContextManager[Connection]:
        """As usual, but for that once."""
        self._writes_left -= 1
        if self._writes_left == 0:
            self._happens()
        return super().write(durable=durable)


class Harness:
    """One worker; `now` is the database's time."""

    def __init__(
        self,
        db: Database,
        transport: Transport | None = None,
        *,
        observer: Observer = UNOBSERVED,
        recorders: Recorders | None = None,
        **settings: Any,
    ) -> None:
        self.now = START
        self.db = db
        db.clock = lambda _connection: self.now
        self.settings = Settings(secret_key=("k" * 40,), **{"batch_size": 10, "checkpoint": 3, **settings})
        self.lease = self.settings.lease_seconds * 1000
        limits = {
            name: getattr(self.settings, name) for name in ("max_failure_rate", "suppress_after", "same_refusals")
        }
        self.domains = DomainSlots(dict(self.settings.domain_rates))
        limits |= {"bounces": self.settings.bounce_address is not None}
        limits |= {"admission": Admission(self.domains, self.settings.send_window), "recorders": recorders}
        self.outbox = Outbox(db, lease=self.lease, uncertain=self.settings.uncertain, observer=observer, **limits)
        self.transport = MemoryTransport()
        self.store = self.transport.store
        self._observer = observer
        self.deliver_through(transport or self.transport)
        self.campaign_id = ""

    def deliver_through(self, transport: Transport) -> None:
        """Deliver through this transport from now on."""
        links = Links(self.settings.secret_key, "http://x")
        template_of = partial(compile_campaign, self.db, self.settings)
        self.deliverer = Deliverer(self.outbox, transport, links, self.settings, template_of, self._observer)

    def accept(
        self,
        query: Mapping[str, Any] | None = None,
        *,
        dry_run: bool = False,
        key: str | None = None,
        priority: Priority | None = None,
    ) -> str:
        """Accept a campaign, which later calls are about."""
        text = ("News", "news@example.com", "Hi [fname]", "Hello [name] [unsubscribe]")
        draft = Draft(*text, query or {}, dry_run, priority=priority)
        self.campaign_id = accept(self.db, "user00000", draft, key).campaign_id
        return self.campaign_id

    def plan(self) -> bool:
        """Plan one campaign."""
        return self._planner(self.db).plan_next()

    def _planner(self, db: Database) -> Planner:
        merge = self.settings.merge_addresses
        return Planner(db, self.settings.batch_size, self.lease, merge=merge, domains=self.domains)

    def plan_interrupted(self, happens: Callable[[], object]) -> None:
        """Plan one campaign in a process to which something happens once its batches are cut and not yet written."""
        with closing(Interrupted(self.db, 2, happens)) as db:  # the first write says that it is being planned
            self._planner(db).plan_next()

    def die_planning(self) -> None:
        """Be killed in the middle of planning one campaign, if one waits."""

        def die() -> None:
            raise Died

        with suppress(Died):
            self.plan_interrupted(die)

    def run(self, limit: int = 1000) -> None:
        """Plan and deliver until nothing is due; the invariants hold after every step."""
        for _ in range(limit):
            if not (self.plan() or self.deliverer.run_next(lambda: False)):
                return
            self.check()
        raise AssertionError("work without end")

    def progress(self) -> Progress:
        """The campaign now."""
        return progress(self.db, self.campaign_id)

    def counts(self) -> dict[str, int]:
        """The campaign's counts that are not zero."""
        now = self.progress()
        names = ("pending", "sent", "failed", "deferred", "uncertain", "skipped")
        return {name: count for name in names if (count := getattr(now, name))}

    def arrived(self) -> list[str]:
        """The addresses that were sent to, in order."""
        return [message.recipient for message in self.store.messages]

    def delivery(self, user_id: str) -> Any:
        """One recipient's record."""
        mine = (Delivery.campaign_id == self.campaign_id, Delivery.user_id == user_id)
        columns = (Delivery.status, Delivery.attempts, Delivery.uncertain_attempts, Delivery.reply, Delivery.due_at)
        with self.db.read() as connection:
            return connection.execute(select(*columns).where(*mine)).one_or_none()

    def check(self) -> None:
        """The counters agree with the rows, and nobody is planned less than recorded."""
        counters = ("sent", "failed", "deferred", "uncertain", "skipped")
        with self.db.read() as connection:
            sums = connection.execute(select(*(func.sum(getattr(Batch, name)) for name in counters))).one()
            rows = dict(connection.execute(select(Delivery.status, func.count()).group_by(Delivery.status)).all())
            short = connection.scalar(select(func.min(Batch.planned - sum(getattr(Batch, name) for name in counters))))
        assert {name: int(value or 0) for name, value in zip(counters, sums, strict=True)} == {
            name: rows.get(name, 0) for name in counters
        }
        assert short is None or short >= 0


def planned_for_25(db: Database, add_users: Callable[..., list[str]]) -> Harness:
    """A harness with a campaign of user00000 for 25 people, planned."""
    add_users(db, 25)
    made = Harness(db)
    made.accept()
    made.plan()
    return made
