"""What happened to a campaign or to the service, written in the transaction that makes the change.

A row is never changed; a trigger of the database refuses it. Rows go only when they are older than
`MAILER_EVENT_RETENTION`. None is written for a message: what comes of messages is in the deliveries.

The rows are kept for longer than addresses may be. So reasons are written with the addresses in them masked, and nobody
is named but callers and operators, by id.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

from sqlalchemy import ColumnElement, Connection, Table, and_, or_, select

from mailer.logs.masking import without_addresses
from mailer.storage.models import Event

LONGEST = 1000  # characters of a reason


class Kind(StrEnum):
    """What happened. Those from `BREAKER_OPENED` on happen to the service."""

    ACCEPTED = "accepted"  # from the campaign's own row: accepting writes no other
    PLANNED = "planned"
    RESTED = "rested"
    WENT_ON = "went-on"  # by itself, after a rest
    PAUSED = "paused"
    RESUMED = "resumed"
    RETRIED = "retried"
    RECONCILED = "reconciled"
    EDITED = "edited"  # what it says was replaced
    TRANSFERRED = "transferred"  # to another owner; kept as long as the campaign, since it tells who accepted it
    WORKER_LOST = "worker-lost"
    CANCELLED = "cancelled"
    FAILED = "failed"
    COMPLETED = "completed"
    COMPLAINED = "complained"  # too many recipients did, and there was nothing left to pause
    BREAKER_OPENED = "breaker-opened"
    BREAKER_CLOSED = "breaker-closed"
    HELD = "held"
    RELEASED = "released"
    RESTORED = "restored"


@dataclass(frozen=True, slots=True)
class Happened:
    """One event: its number, when (ms since 1970), to which campaign (None: to the service), what, and its details.

    `details` may have a `reason`, who did it (`by`), since when it had been so (`since`, in ms since 1970), how often
    it was tried in a row (`tries`), the setting that did it (`limit`), and counts.
    """

    id: int
    at: int
    campaign_id: str | None
    kind: str
    details: Mapping[str, Any]


_TABLE = cast(Table, Event.__table__)
_ADD = _TABLE.insert()
OF_THE_SERVICE = Event.campaign_id.is_(None)


def happened(connection: Connection, now: int, kind: Kind, campaign_id: str | None = None, **details: Any) -> None:
    """Write that it happens at `now` (ms since 1970), in its own transaction. Details that are None are left out."""
    told = {name: _masked(value) for name, value in details.items() if value is not None}
    connection.execute(_ADD, {"at": now, "campaign_id": campaign_id, "kind": kind.value, "details": told})


def happened_to(connection: Connection, now: int, kind: Kind, campaign_ids: Sequence[str], **details: Any) -> None:
    """The same for each of many campaigns."""
    row = {"at": now, "kind": kind.value, "details": {name: _masked(value) for name, value in details.items()}}
    if campaign_ids:
        connection.execute(_ADD, [{**row, "campaign_id": one} for one in campaign_ids])


def first_owner(connection: Connection, campaign_id: str, owner: str) -> str:
    """Who accepted the campaign that is `owner`'s now: whoever first handed it over to another, else the owner."""
    mine = and_(Event.campaign_id == campaign_id, Event.kind == Kind.TRANSFERRED.value)
    return next((str(one.details["from"]) for one in _read(connection, mine, Event.id, 1)), owner)


def _masked(value: Any) -> Any:
    return without_addresses(value)[:LONGEST] if isinstance(value, str) else value


def of_campaign(
    connection: Connection, campaign_id: str, begun: int, ended: int | None, *, after: int = 0, count: int
) -> list[Happened]:
    """At most `count` events of a campaign, in order, with those of the service while it was open.

    It was open from `begun` to `ended` (ms since 1970; None: it still is). `after` is the number of the last one of the
    page before.
    """
    meanwhile = and_(OF_THE_SERVICE, Event.at >= begun, *([] if ended is None else [Event.at <= ended]))
    theirs = (or_(Event.campaign_id == campaign_id, meanwhile), Event.id > after)
    return _read(connection, and_(*theirs), Event.id, count)


def latest(
    connection: Connection,
    *,
    kinds: Collection[Kind] = (),
    since: int | None = None,
    before: int | None = None,
    count: int,
) -> list[Happened]:
    """At most `count` events of everything, the latest first; with `kinds`, only those, from `since` (ms) on.

    `before` is the number of the last one of the page before.
    """
    wanted: list[ColumnElement[bool]] = [Event.kind.in_([kind.value for kind in kinds])] if kinds else []
    wanted += [] if since is None else [Event.at >= since]
    wanted += [] if before is None else [Event.id < before]
    return _read(connection, and_(True, *wanted), Event.id.desc(), count)


def between(connection: Connection, condition: ColumnElement[bool], count: int) -> list[Happened]:
    """At most `count` events that meet `condition`, in order."""
    return _read(connection, condition, Event.id, count)


def _read(connection: Connection, condition: ColumnElement[bool], order: Any, count: int) -> list[Happened]:
    columns = (Event.id, Event.at, Event.campaign_id, Event.kind, Event.details)
    return [
        Happened(*row) for row in connection.execute(select(*columns).where(condition).order_by(order).limit(count))
    ]
