"""How the service stands as a whole, read from the database alone: its queue, its open campaigns, what stops it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, case, func, or_, select

from mailer.campaigns.control import BY_HAND
from mailer.campaigns.hold import Hold
from mailer.campaigns.reports.attention import needing_attention
from mailer.campaigns.reports.bounces import LATELY, NOTHING_REPORTED, ReportedCounts, reported_since
from mailer.campaigns.stops import Stops, stops
from mailer.delivery.circuit_breaker import Tripped
from mailer.delivery.due_batch import PENDING
from mailer.delivery.minutes import MINUTE, elapsed, lately
from mailer.settings.send_window import SendWindow
from mailer.storage.database import Database
from mailer.storage.models import (
    Batch,
    BatchState,
    Campaign,
    CampaignMinute,
    CampaignState,
    Priority,
    ScheduledTask,
)
from mailer.storage.models.states import UNFINISHED

SHOWN = 1000  # open campaigns that are looked at one by one, the oldest first
LONG = 5 * 60_000  # ms for which a transport may be away before a person is called
FAILURES = 3  # in a row, before a person is called about a task

KINDS = ("due", "later", "in_hand", "held_up")  # of open batches


@dataclass(frozen=True, slots=True)
class Waiting:
    """Open batches of one kind, and how many of their recipients have not been tried."""

    batches: int = 0
    recipients: int = 0


@dataclass(frozen=True, slots=True)
class OpenCampaign:
    """A campaign that has not ended. `done` counts its recipients with a final outcome, `sent` those who were sent to.

    `state` and `reason` are those that the campaign is shown with, such as `held`. `planned` is 0 before it is planned.
    `by_a_person`: it is paused, and a person did that. `priority` is None until it is known. `seconds_left` follows
    from its pace in the last minutes; None: it made no progress in them, or nothing goes out now.
    """

    id: str
    caller_id: str
    state: str
    reason: str | None
    created_at: int
    planned: int
    done: int
    sent: int
    by_a_person: bool
    priority: str | None = None
    seconds_left: int | None = None

    @property
    def left(self) -> int:
        """How many recipients have no final outcome yet."""
        return self.planned - self.done


@dataclass(frozen=True, slots=True)
class Overview:
    """What one look at the database shows. Times are ms since 1970; `now` is that of the look.

    `queue` counts the open batches by their kind: `due`, a worker may take it now; `later`, it waits for its time, such
    as that of a retry; `in_hand`, a worker sends it; `held_up`, its campaign is paused or rests. `oldest_due_at` is
    since when the batch that is due longest could have been taken. `open` counts the campaigns that have not ended,
    `campaigns` are the oldest of them. `attention` counts by state those that need a person, or soon may. `failing` are
    tasks that failed the last times, with the reason. `due_by_priority` counts the batches that are due by the priority
    of their campaigns. `per_minute` is how many messages were sent a minute lately. `hold` is an operator's hold on all
    sending; it calls nobody, since a person made it. `window` says in words until when the send window is open or
    closed; None: mail goes out at any time. `reported` counts what came back and what was marked as spam in the last 24
    hours.
    """

    now: int
    queue: Mapping[str, Waiting]
    oldest_due_at: int | None
    open: int
    campaigns: tuple[OpenCampaign, ...]
    breaker: Tripped | None
    attention: Mapping[str, int]
    failing: Mapping[str, str]
    due_by_priority: Mapping[str, int]
    per_minute: int
    hold: Hold | None = None
    window: str | None = None
    reported: ReportedCounts = NOTHING_REPORTED


def look(db: Database, window: SendWindow | None = None) -> Overview:
    """Look at the database once. `window` are the hours in which mail goes out; None: at any time."""
    attention = needing_attention(db)
    with db.read() as connection:
        now = db.clock(connection)
        queue, oldest = _queue(connection, now)
        total = select(func.count()).select_from(Campaign).where(Campaign.state.in_(UNFINISHED))
        stopped, failing = stops(connection, now, window), _failing(connection)
        open_, campaigns = connection.scalar(total) or 0, tuple(_open_campaigns(connection, now, stopped))
        by_priority, pace = _due_by_priority(connection, now), _per_minute(connection, now)
        reported = reported_since(connection, now - LATELY)
    found = (now, queue, oldest, open_, campaigns, stopped.breaker, attention, failing, by_priority, pace, stopped.hold)
    return Overview(*found, window.in_words(now) if window else None, reported)


def _queue(connection: Connection, now: int) -> tuple[dict[str, Waiting], int | None]:
    runs, due = Campaign.state == CampaignState.RUNNING, Batch.due_at <= now
    kind = case(
        (and_(runs, due), "due"),
        (and_(Batch.state == BatchState.RUNNING, ~due), "in_hand"),  # else its worker has died
        (runs, "later"),
        else_="held_up",
    )
    of_these = (Batch.state.in_([BatchState.WAITING, BatchState.RUNNING]), Campaign.state.in_(UNFINISHED))
    counts = (func.count(), func.sum(PENDING), func.min(Batch.due_at))
    query = select(kind, *counts).join(Campaign, Campaign.id == Batch.campaign_id).where(*of_these).group_by(kind)
    found = {row[0]: row[1:] for row in connection.execute(query)}
    queue = {name: Waiting(*map(int, found[name][:2])) if name in found else Waiting() for name in KINDS}
    return queue, found["due"][2] if "due" in found else None


def _due_by_priority(connection: Connection, now: int) -> dict[str, int]:
    due = (Campaign.state == CampaignState.RUNNING, Batch.due_at <= now, Batch.state != BatchState.DONE)
    query = select(Campaign.priority, func.count()).join(Batch, Batch.campaign_id == Campaign.id).where(*due)
    found = dict(connection.execute(query.group_by(Campaign.priority)).all())
    return {priority.value: found[priority.value] for priority in Priority if priority.value in found}


def _per_minute(connection: Connection, now: int) -> int:
    since = lately(now)
    recent = or_(Campaign.state.in_(UNFINISHED), Campaign.finished_at >= since)
    counts = (func.coalesce(func.sum(CampaignMinute.sent), 0), func.min(CampaignMinute.minute))
    query = select(*counts).join(Campaign, Campaign.id == CampaignMinute.campaign_id)
    sent, first = connection.execute(query.where(CampaignMinute.minute >= since, recent)).one()
    return 0 if first is None else round(int(sent) * MINUTE / max(now - first, MINUTE))


def _open_campaigns(connection: Connection, now: int, stopped: Stops) -> Iterator[OpenCampaign]:
    final = Batch.sent + Batch.failed + Batch.skipped
    sums = [
        select(func.coalesce(func.sum(each), 0)).where(Batch.campaign_id == Campaign.id).scalar_subquery()
        for each in (Batch.planned, final, Batch.sent)
    ]
    recorded = CampaignMinute.sent + CampaignMinute.failed + CampaignMinute.skipped
    mine = (CampaignMinute.campaign_id == Campaign.id, CampaignMinute.minute >= lately(now))
    sums += [
        select(each).where(*mine).scalar_subquery() for each in (func.sum(recorded), func.min(CampaignMinute.minute))
    ]
    facts = (Campaign.id, Campaign.caller_id, Campaign.state, Campaign.reason, Campaign.created_at, Campaign.priority)
    query = (
        select(*facts, Campaign.started_at, *sums)
        .where(Campaign.state.in_(UNFINISHED))
        .order_by(Campaign.id)
        .limit(SHOWN)
    )
    for row in connection.execute(query):
        yield _open_campaign(now, stopped, *row)


def _open_campaign(now: int, stopped: Stops, *row: Any) -> OpenCampaign:
    campaign_id, caller_id, state, reason, created_at, priority, began, planned, done, sent, recent, first = row
    counts = (int(planned), int(done), int(sent))
    shown = stopped.shown(state, reason, priority)
    goes_on = recent and shown == (CampaignState.RUNNING, reason)
    left = counts[0] - counts[1]
    seconds = math.ceil(left * elapsed(first, began, now) / (1000 * int(recent))) if goes_on else None
    about = (campaign_id, caller_id, *shown, created_at)
    return OpenCampaign(*about, *counts, reason in BY_HAND, priority, seconds)


def _failing(connection: Connection) -> dict[str, str]:
    columns = (ScheduledTask.name, ScheduledTask.failures, ScheduledTask.error)
    rows = connection.execute(select(*columns).where(ScheduledTask.failures >= FAILURES).order_by(ScheduledTask.name))
    return {name: f"failed {failures} times in a row: {error}" for name, failures, error in rows}


def for_a_person(seen: Overview, *, delivering: int) -> list[str]:
    """Return what does not mend itself, a sentence each. `delivering` counts the living processes that send."""
    said = []
    work = seen.queue["due"].batches or any(one.state in UNFINISHED[:2] for one in seen.campaigns)
    if work and not delivering:
        said.append("there is work to do, and no worker was seen in the last minute")
    if seen.breaker is not None and not seen.breaker.is_planned and seen.now - seen.breaker.since >= LONG:
        minutes = (seen.now - seen.breaker.since) // 60_000
        said.append(f"the transport has not worked for {minutes} minutes: {seen.breaker.reason}")
    if paused := seen.attention.get(CampaignState.PAUSED):
        one = "the service itself has paused a campaign"
        said.append(one if paused == 1 else f"the service itself has paused {paused} campaigns")
    return [*said, *(f"{name}: {problem}" for name, problem in seen.failing.items())]
