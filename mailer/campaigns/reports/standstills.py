"""When sending stood still, and which campaigns were late because of it, from the events of a span of time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, and_, exists, or_, select

from mailer.campaigns.hold import current_hold
from mailer.delivery.circuit_breaker import tripped
from mailer.storage.database import AnyRow
from mailer.storage.models import Batch, Campaign, Event
from mailer.timeline.events import OF_THE_SERVICE, Happened, Kind, between
from transports.slots import says_used_up

MOST = 1000  # campaigns that are looked at, the newest first
ROWS = 100_000  # events that are read
LEAST = 60_000  # ms; whoever stood still for less was not late

OPENS = {Kind.RESTED: "resting", Kind.PAUSED: "paused", Kind.FAILED: "failed"}
CLOSES = (Kind.WENT_ON, Kind.RESUMED, Kind.RETRIED, Kind.CANCELLED, Kind.COMPLETED, *OPENS)
OVER = (Kind.BREAKER_CLOSED, Kind.RELEASED)


@dataclass(frozen=True, slots=True)
class Standstill:
    """From `since` to `until` (ms since 1970; None: still) nothing went out, of one campaign or of all (None).

    `cause` is `transport`, `quota` (it is used up for the day), `held`, `paused`, `resting` or `failed`. `tries` is how
    often in a row it was tried, where it was; `by` is who did it, where somebody did.
    """

    cause: str
    since: int
    until: int | None
    reason: str | None = None
    tries: int | None = None
    by: str | None = None
    campaign_id: str | None = None


@dataclass(frozen=True, slots=True)
class Late:
    """A campaign that stood still for `late` ms in all, for `causes`."""

    campaign_id: str
    caller_id: str
    state: str
    late: int
    causes: tuple[str, ...]


def looked_at(connection: Connection, since: int) -> Sequence[AnyRow]:
    """The campaigns that were open at `since` (ms since 1970) or later, the newest first, at most `MOST`."""
    lately = or_(Campaign.finished_at.is_(None), Campaign.finished_at >= since)
    facts = (Campaign.id, Campaign.caller_id, Campaign.state, Campaign.reason, Campaign.created_at)
    reaches = or_(Campaign.started_at.is_(None), exists().where(Batch.campaign_id == Campaign.id))
    columns = (*facts, Campaign.finished_at, reaches.label("reaches_somebody"))
    return connection.execute(select(*columns).where(lately).order_by(Campaign.id.desc()).limit(MOST)).all()


def standstills(connection: Connection, campaigns: Sequence[AnyRow], since: int) -> list[Standstill]:
    """What stood still since `since` (ms since 1970), or since the oldest of `campaigns`, in the order of its begin."""
    begun = min([since, *(one.created_at for one in campaigns)])
    theirs = or_(Event.campaign_id.in_([one.id for one in campaigns]), and_(OF_THE_SERVICE, Event.at >= begun))
    events = between(connection, theirs, ROWS)
    found = [*_of_the_service(connection, events), *_of_campaigns(events)]
    return sorted(found, key=lambda one: one.since)


def late(campaigns: Iterable[AnyRow], found: Sequence[Standstill], now: int) -> list[Late]:
    """Which of `campaigns` stood still for a minute or longer until `now` (ms since 1970), the latest first.

    One that turned out to be for nobody was late for nobody.
    """
    told = [_late(one, found, now) for one in campaigns if one.reaches_somebody]
    return sorted((one for one in told if one.late >= LEAST), key=lambda one: -one.late)


def _late(campaign: AnyRow, found: Sequence[Standstill], now: int) -> Late:
    ended = now if campaign.finished_at is None else campaign.finished_at
    spans: dict[tuple[int, int], str] = {}
    for one in found:
        begin, end = max(one.since, campaign.created_at), min(one.until or now, ended)
        if one.cause != "failed" and one.campaign_id in (None, campaign.id) and begin < end:
            spans[begin, end] = one.cause
    causes = tuple(dict.fromkeys(spans[span] for span in sorted(spans)))
    return Late(campaign.id, campaign.caller_id, campaign.state, _covered(spans), causes)


def _covered(spans: Mapping[tuple[int, int], str]) -> int:
    """The ms that some span covers: two causes at once count once."""
    total = reached = 0
    for begin, end in sorted(spans):
        total += max(0, end - max(begin, reached))
        reached = max(reached, end)
    return total


def _of_the_service(connection: Connection, events: Iterable[Happened]) -> list[Standstill]:
    """Each that is over tells since when it was; those that are not stand in the database as they are."""
    over = [_over(one) for one in events if one.kind in OVER]
    breaker, hold = tripped(connection), current_hold(connection)
    if breaker is not None:
        over.append(Standstill(_of_breaker(breaker.reason), breaker.since, None, breaker.reason, breaker.failures))
    if hold is not None:
        over.append(Standstill("held", hold.since, None, hold.reason, by=hold.by))
    return over


def _over(event: Happened) -> Standstill:
    told = event.details
    cause = "held" if event.kind == Kind.RELEASED else _of_breaker(told["reason"])
    return Standstill(cause, told["since"], event.at, told["reason"], told.get("tries"), told.get("held_by"))


def _of_breaker(reason: str) -> str:
    return "quota" if says_used_up(reason) else "transport"


def _of_campaigns(events: Iterable[Happened]) -> list[Standstill]:
    found: list[Standstill] = []
    open_: dict[str, Happened] = {}
    for event in events:
        campaign_id, kind = event.campaign_id, event.kind
        if campaign_id is None or kind not in CLOSES:
            continue
        begun = open_.get(campaign_id)
        if begun is not None and begun.kind == kind:  # a rest after a try that failed: the same standstill
            open_[campaign_id] = replace(event, at=begun.at)
            continue
        if begun is not None:
            found.append(_span(open_.pop(campaign_id), event.at))
        if kind in OPENS:
            open_[campaign_id] = event
    return [*found, *(_span(one, None) for one in open_.values())]


def _span(begun: Happened, until: int | None) -> Standstill:
    told = begun.details
    why = (told.get("reason"), told.get("tries"), told.get("by"))
    return Standstill(OPENS[Kind(begun.kind)], begun.at, until, *why, begun.campaign_id)
