"""Read how far campaigns have come: counts from the batches, each recipient's outcome from the deliveries."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, case, exists, func, or_, select

from mailer.campaigns.control import BY_HAND
from mailer.campaigns.stops import Stops, stops
from mailer.errors import NotFound
from mailer.settings.send_window import SendWindow
from mailer.storage.database import AnyRow, Database
from mailer.storage.models import Batch, BatchState, Campaign, CampaignState, Delivery

CANCELLING = "cancelling"
MANY_TAKEOVERS = 2  # when so many processes in a row died with the same batch, a running campaign says so
COUNTERS = (Batch.planned, Batch.sent, Batch.failed, Batch.deferred, Batch.uncertain, Batch.skipped)
RECENT = 24 * 60 * 60 * 1000  # ms for which a failed campaign counts as needing attention


@dataclass(frozen=True, slots=True)
class Progress:
    """A campaign's state and counts. Times are milliseconds since 1970; None means that it has not happened.

    `state` is a `CampaignState` or one of three that are not on record: `held` is a running campaign while an operator
    holds all sending, `blocked` is one whose transport fails, `cancelling` is a cancelled campaign of which a worker is
    still ending its checkpoint. `reason` says why the campaign failed or does not progress. `priority` None: it is
    chosen when the campaign is planned. `planned` counts all recipients, the other counts are by their last outcome.
    `version` is that of its subject and body, which can be replaced while it is paused.
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
    version: int = 1

    @property
    def pending(self) -> int:
        """How many recipients have not been tried. After a cancellation they never will be."""
        return self.planned - self.sent - self.failed - self.deferred - self.uncertain - self.skipped


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """One recipient's outcome. Times are milliseconds since 1970; `next_attempt_at` is None when none will follow.

    `version` is that of the campaign's text at the last attempt; None: a worker died with it, and nobody knows.
    """

    user_id: str
    address: str | None
    status: str
    attempts: int
    reply: str
    updated_at: int
    next_attempt_at: int | None
    version: int | None = 1


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
    window: SendWindow | None = None,
) -> tuple[list[Progress], int]:
    """Return a page of campaigns, newest first, and how many there are in all. `caller_id` None: everybody's.

    With `states`, only campaigns that have one of them on record.
    """
    page = _campaigns(caller_id, states).order_by(Campaign.id.desc()).limit(count).offset(offset)
    total = select(func.count()).select_from(Campaign).where(*_these(caller_id, states))
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


def deliveries(
    db: Database, campaign_id: str, *, status: str | None, after: str | None, count: int
) -> Sequence[DeliveryRecord]:
    """Return at most `count` outcomes, ordered by user id; with `status`, only those that have it.

    `after` is the last user id of the page before. Unlike an offset, it keeps late pages as fast as the first.
    """
    columns = (Delivery.user_id, Delivery.address, Delivery.status, Delivery.attempts, Delivery.reply)
    version = func.nullif(func.coalesce(Delivery.version, 1), 0)
    query = select(*columns, Delivery.updated_at, Delivery.due_at, version).where(Delivery.campaign_id == campaign_id)
    if status is not None:
        query = query.where(Delivery.status == status)
    if after is not None:
        query = query.where(Delivery.user_id > after)
    with db.read() as connection:
        return [DeliveryRecord(*row) for row in connection.execute(query.order_by(Delivery.user_id).limit(count))]


def _these(caller_id: str | None, states: Collection[CampaignState]) -> list[ColumnElement[bool]]:
    whose = [] if caller_id is None else [Campaign.caller_id == caller_id]
    return [*whose, *([Campaign.state.in_(states)] if states else [])]


def _campaigns(caller_id: str | None, states: Collection[CampaignState] = ()) -> Select[*tuple[Any, ...]]:
    sums = [
        select(func.coalesce(func.sum(counter), 0)).where(Batch.campaign_id == Campaign.id).scalar_subquery()
        for counter in COUNTERS
    ]
    identity = (Campaign.id, Campaign.caller_id)
    facts = (
        *_takeovers(),
        Campaign.version,
        *identity,
        _state(),
        Campaign.reason,
        Campaign.subject,
        Campaign.dry_run,
        Campaign.priority,
    )
    query = select(*facts, Campaign.created_at, Campaign.started_at, Campaign.finished_at, *sums)
    return query.where(*_these(caller_id, states))


def _state() -> ColumnElement[str]:
    """The state on record, or `cancelling`."""
    in_hand = exists().where(Batch.campaign_id == Campaign.id, Batch.state == BatchState.RUNNING)
    return case((and_(Campaign.state == CampaignState.CANCELLED, in_hand), CANCELLING), else_=Campaign.state)


def _takeovers() -> list[ColumnElement[int | None]]:
    """The number of the open batch whose holders died most often in a row while sending, and how often they did."""
    worst = select(Batch.number, Batch.takeovers).where(
        Batch.campaign_id == Campaign.id, Batch.takeovers >= MANY_TAKEOVERS
    )
    worst = worst.where(Batch.state != BatchState.DONE).order_by(Batch.takeovers.desc(), Batch.number).limit(1)
    return [worst.with_only_columns(column).scalar_subquery() for column in (Batch.number, Batch.takeovers)]


def _progress(row: AnyRow, stopped: Stops) -> Progress:
    batch, takeovers, version, campaign_id, caller_id, state, reason, *facts = row[: -len(COUNTERS)]
    counts = map(int, row[-len(COUNTERS) :])
    state, reason = stopped.shown(state, reason, row.priority)
    if takeovers is not None and state == CampaignState.RUNNING:
        reason = (
            f"{takeovers} processes in a row died while sending batch {batch}; see why they ended "
            "(out of memory, killed) and pause the campaign if it is the cause"
        )
    found = Progress(campaign_id, caller_id, state, reason, *facts, *counts)
    return replace(found, version=version)


def needing_attention(db: Database) -> Mapping[str, int]:
    """Count by state the campaigns that rest, that the service itself has paused, or that failed within a day."""
    with db.read() as connection:
        return attention_needed(connection, db.clock(connection))


def attention_needed(connection: Connection, now: int) -> Mapping[str, int]:
    """Return what `needing_attention` does; `now` is in ms since 1970."""
    failed = and_(Campaign.state == CampaignState.FAILED, Campaign.finished_at > now - RECENT)
    stopped = and_(Campaign.state == CampaignState.PAUSED, Campaign.reason.not_in(BY_HAND))
    query = select(Campaign.state, func.count()).where(or_(Campaign.state == CampaignState.RESTING, stopped, failed))
    return dict(connection.execute(query.group_by(Campaign.state).order_by(Campaign.state.desc())).all())
