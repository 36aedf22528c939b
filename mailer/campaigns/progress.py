"""Read how far campaigns have come: counts from the batches, and of what was reported later from the deliveries."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, exists, func, select, true
from sqlalchemy.orm import InstrumentedAttribute

from mailer.audience.bounds import ANY_NUMBER, RECIPIENTS, Bounds, read_bounds
from mailer.campaigns.stops import Stops, stops
from mailer.errors import NotFound
from mailer.settings.send_window import SendWindow
from mailer.storage.database import AnyRow, Database
from mailer.storage.models import Batch, BatchState, Campaign, CampaignState, Delivery, UnsubscribeEvent
from mailer.suppression.history import Event

CANCELLING = "cancelling"
MANY_TAKEOVERS = 2  # when so many processes in a row died with the same batch, a running campaign says so
COUNTERS = (Batch.planned, Batch.sent, Batch.failed, Batch.deferred, Batch.uncertain, Batch.skipped)
NOBODY = ("no-recipients", "Nobody was to receive it.")  # no issue for who says that 0 people are expected


@dataclass(frozen=True, slots=True)
class Progress:
    """A campaign's state and counts. Times are milliseconds since 1970; None means that it has not happened.

    `state` is a `CampaignState` or one of three that are not on record: `held` is a running campaign while an operator
    holds all sending, `blocked` is one whose transport fails, `cancelling` is a cancelled campaign of which a worker is
    still ending its checkpoint. `reason` says why the campaign failed or does not progress. `priority` None: it is
    chosen when the campaign is planned. `planned` counts all recipients, the other counts are by their last outcome.
    `version` is that of its subject and body, which can be replaced while it is paused. `unsubscribed` is how many
    people have left because of it, by link, one click, mail or complaint, some of them are back. `bounced` and
    `complained` are how many of its messages came back after they were sent, and were marked as spam; those who got
    them stay `sent`.
    `expected` is how many people its caller expects. `slips`: codes and sentences of warnings about its message.
    """

    id: str
    caller_id: str
    state: str
    reason: str | None
    subject: str
    dry_run: bool
    priority: str | None
    created_at: int
    started_at: int | None
    finished_at: int | None
    planned: int
    sent: int
    failed: int
    deferred: int
    uncertain: int
    skipped: int
    unsubscribed: int = 0
    bounced: int = 0
    complained: int = 0
    expected: Bounds = ANY_NUMBER
    version: int = 1
    slips: tuple[tuple[str, str], ...] = ()

    @property
    def min_recipients(self) -> int | None:
        """How many people its caller expects at least."""
        return self.expected.least

    @property
    def max_recipients(self) -> int | None:
        """How many people its caller expects at most."""
        return self.expected.most

    @property
    def warnings(self) -> tuple[str, ...]:
        """What its caller should know, a sentence each."""
        return tuple(sentence for _, sentence in self._warned())

    @property
    def warning_codes(self) -> tuple[str, ...]:
        """By what programs know the warnings, in their order."""
        return tuple(code for code, _ in self._warned())

    def _warned(self) -> tuple[tuple[str, str], ...]:
        some = self.state != CampaignState.COMPLETED or self.planned or self.expected.least == 0
        return self.slips if some else (NOBODY, *self.slips)

    @property
    def pending(self) -> int:
        """How many recipients have not been tried. After a cancellation they never will be."""
        return self.planned - self.sent - self.failed - self.deferred - self.uncertain - self.skipped


def progress(
    db: Database, campaign_id: str, caller_id: str | None = None, *, window: SendWindow | None = None
) -> Progress:
    """Return the progress of one campaign. Raises `NotFound` if there is none, or another than `caller_id` owns it.

    `window` are the hours in which mail goes out; None: at any time.
    """
    wanted = _campaigns(caller_id).where(Campaign.id == campaign_id)
    with db.read() as connection:
        row = connection.execute(wanted).one_or_none()
        stopped = stops(connection, db.clock(connection), window)
    if row is None:
        raise NotFound(f"There is no campaign {campaign_id}.")
    return _progress(row, stopped)


def recent(
    db: Database,
    caller_id: str | None,
    count: int,
    offset: int,
    *,
    states: Collection[CampaignState] = (),
    since: int | None = None,
    window: SendWindow | None = None,
) -> tuple[list[Progress], int]:
    """Return a page of campaigns, newest first, and how many there are in all. `caller_id` None: everybody's.

    With `states`, only campaigns that have one of them on record; with `since`, only those accepted then or later (ms
    since 1970).
    """
    late = true() if since is None else Campaign.created_at >= since
    page = _campaigns(caller_id, states).where(late).order_by(Campaign.id.desc()).limit(count).offset(offset)
    total = select(func.count()).select_from(Campaign).where(*_these(caller_id, states), late)
    with db.read() as connection:
        stopped = stops(connection, db.clock(connection), window)
        return [_progress(row, stopped) for row in connection.execute(page)], connection.scalar(total) or 0


def page_before(
    db: Database,
    caller_id: str | None,
    count: int,
    before: str | None,
    *,
    states: Collection[CampaignState] = (),
    window: SendWindow | None = None,
) -> Sequence[Progress]:
    """Return at most `count` campaigns, newest first, that are older than the one with the id `before`.

    Unlike a page by its offset and the number of all, it takes no longer with thousands of campaigns. With `states`,
    only campaigns that have one of them on record.
    """
    page = _campaigns(caller_id, states).order_by(Campaign.id.desc()).limit(count)
    if before is not None:
        page = page.where(Campaign.id < before)
    with db.read() as connection:
        stopped = stops(connection, db.clock(connection), window)
        return [_progress(row, stopped) for row in connection.execute(page)]


def _these(caller_id: str | None, states: Collection[CampaignState]) -> list[ColumnElement[bool]]:
    whose = [] if caller_id is None else [Campaign.caller_id == caller_id]
    return [*whose, *([Campaign.state.in_(states)] if states else [])]


def _campaigns(caller_id: str | None, states: Collection[CampaignState] = ()) -> Select[*tuple[Any, ...]]:
    sums = [
        select(func.coalesce(func.sum(counter), 0)).where(Batch.campaign_id == Campaign.id).scalar_subquery()
        for counter in COUNTERS
    ]
    identity = (Campaign.id, Campaign.caller_id)
    facts = (Campaign.query[RECIPIENTS], *_takeovers(), Campaign.version, *identity, _state(), Campaign.reason)
    said = (Campaign.subject, Campaign.dry_run, Campaign.priority)
    query = select(*facts, *said, Campaign.created_at, Campaign.started_at, Campaign.finished_at, *sums)
    query = query.add_columns(_left_by(), _reported(Delivery.bounced_at), _reported(Delivery.complained_at))
    return query.where(*_these(caller_id, states))


def _left_by() -> ColumnElement[int]:
    mine = (UnsubscribeEvent.campaign_id == Campaign.id, UnsubscribeEvent.event == Event.UNSUBSCRIBED)
    people = func.count(UnsubscribeEvent.user_id.distinct())
    return select(people).where(*mine).correlate(Campaign).scalar_subquery().label("left_by")


def _reported(since: InstrumentedAttribute[int | None]) -> ColumnElement[int]:
    """How many deliveries have the time `since`: only these are read, as there is an index of them."""
    mine = (Delivery.campaign_id == Campaign.id, since.is_not(None))
    return select(func.count()).select_from(Delivery).where(*mine).correlate(Campaign).scalar_subquery()


def _state() -> ColumnElement[str]:
    """The state on record, or `cancelling`."""
    in_hand = exists().where(Batch.campaign_id == Campaign.id, Batch.state == BatchState.RUNNING)
    return case((and_(Campaign.state == CampaignState.CANCELLED, in_hand), CANCELLING), else_=Campaign.state)


def _takeovers() -> list[ColumnElement[int | None]]:
    """The number of the open batch whose holders died most often in a row while sending, and how often they did."""
    mine = (Batch.campaign_id == Campaign.id, Batch.takeovers >= MANY_TAKEOVERS)
    worst = select(Batch.number, Batch.takeovers).where(*mine)
    worst = worst.where(Batch.state != BatchState.DONE).order_by(Batch.takeovers.desc(), Batch.number).limit(1)
    return [worst.with_only_columns(column).scalar_subquery() for column in (Batch.number, Batch.takeovers)]


def _progress(row: AnyRow, stopped: Stops) -> Progress:
    counted = len(COUNTERS) + 3  # with how many have unsubscribed, bounced and complained
    expected, batch, takeovers, version, campaign_id, caller_id, state, reason, *facts = row[:-counted]
    counts = map(int, row[-counted:])
    state, reason = stopped.shown(state, reason, row.priority)
    if takeovers is not None and state == CampaignState.RUNNING:
        reason = (
            f"{takeovers} processes in a row died while sending batch {batch}; see why they ended "
            "(out of memory, killed) and pause the campaign if it is the cause"
        )
    about: Any = (*facts, *counts, read_bounds(expected), version)
    return Progress(campaign_id, caller_id, state, reason, *about)
