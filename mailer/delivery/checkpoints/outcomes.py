"""Write what came of recipients into their deliveries.

Most messages are taken at the first attempt, and their rows differ in the user, the address and the reply alone. Many
of them go into one statement, with what they have in common given once. All other rows are executed one by one. Both
ways leave the same rows. Where the campaign's text was replaced, all rows go the second way, with the version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import cast

from sqlalchemy import Connection, Insert, Table

from mailer.delivery.worklist import Claim, Result
from mailer.messages.recipient import Recipient
from mailer.storage.dialects import NewRow, RowUpsert, is_postgresql, on_driver, text_array
from mailer.storage.erased.people import anybody_known_erased, erased_users
from mailer.storage.models import Delivery, DeliveryStatus

ERASED = "The person was erased."  # in place of a reply, which may quote the address
ROWS = 50  # in one statement on SQLite, which prepares one for each number of rows

_COLUMNS = (
    "campaign_id",
    "user_id",
    "batch",
    "status",
    "address",
    "attempts",
    "uncertain_attempts",
    "reply",
    "first_at",
    "updated_at",
    "due_at",
)
_CHANGING = ("status", "address", "attempts", "uncertain_attempts", "reply", "updated_at", "due_at")

_CHANGES = ", ".join(
    f"{name} = excluded.{name}" for name in (cast(Table, Delivery.__table__).c[one].name for one in _CHANGING)
)
# `source` is made for the database: the three values that all rows share, and three of each row
_TAKEN = """
INSERT INTO deliveries (campaign_id, user_id, batch, status, address, attempts, doubts, reply, first_at, updated_at)
SELECT campaign_id, user_id, batch, 'sent', address, 1, 0, reply, now, now FROM {source} WHERE true
ON CONFLICT (campaign_id, user_id) DO UPDATE SET {changes}
"""
_ON_SQLITE = """
(SELECT ? AS campaign_id, ? AS batch, ? AS now),
(SELECT column1 AS user_id, column2 AS address, column3 AS reply FROM (VALUES {rows}))
"""
_ON_POSTGRESQL = """
(SELECT %s::text AS campaign_id, %s::integer AS batch, %s::bigint AS now) AS same,
unnest(%s::text[], %s::text[], %s::text[]) AS taken (user_id, address, reply)
"""


@lru_cache(ROWS + 1)
def _taking(count: int) -> str:
    """The statement for so many rows; 0: for any number, on PostgreSQL."""
    source = _ON_SQLITE.format(rows=", ".join(["(?, ?, ?)"] * count)) if count else _ON_POSTGRESQL
    return _TAKEN.format(source=source, changes=_CHANGES)


def write(connection: Connection, claim: Claim, results: Sequence[Result], now: int) -> Sequence[Result]:
    """Write `results` of the batch, recorded at `now` (ms since 1970); return them as they were written.

    To be called when the transaction has written to the batch: whoever erases somebody waits for that, or is waited
    for. Of people who were erased meanwhile, no address and no reply is written.
    """
    results = _without_erased(connection, results)
    if claim.version != 1:
        _REVISED.run(connection, [(*_row(claim, result, now), claim.version) for result in results])
        return results
    taken: list[str] = []  # user id, address and reply, one after the other
    others = []
    for result in results:
        (recipient, _, _, _, first_at, _), status, attempts, doubts, reply, due_at, _, _ = result
        first = attempts == 1 and doubts == 0 and first_at is None and due_at is None
        if first and status is DeliveryStatus.SENT and recipient.address:
            taken += (recipient.user_id, recipient.address, reply)
        else:
            others.append(result)
    _write_taken(connection, (claim.campaign_id, claim.number, now), taken)
    if others:
        _UPSERT.run(connection, [_row(claim, result, now) for result in others])
    return results


def _without_erased(connection: Connection, results: Sequence[Result]) -> Sequence[Result]:
    if not anybody_known_erased(connection):
        return results
    erased = erased_users(connection, [one.item.recipient.user_id for one in results])
    return [_nameless(one) if one.item.recipient.user_id in erased else one for one in results]


def _nameless(result: Result) -> Result:
    item = result.item._replace(recipient=Recipient(result.item.recipient.user_id, "", ""), refused_before=False)
    return result._replace(item=item, reply=ERASED, counts=False)


def _write_taken(connection: Connection, same: tuple[str, int, int], taken: list[str]) -> None:
    if taken and is_postgresql(connection):
        on_driver(connection, _taking(0), (*same, *(text_array(taken[column::3]) for column in range(3))))
        return
    for begin in range(0, len(taken), 3 * ROWS):
        rows = taken[begin : begin + 3 * ROWS]
        on_driver(connection, _taking(len(rows) // 3), (*same, *rows))


def _renewing(new: NewRow) -> Insert:
    return new.on_conflict_do_update(
        index_elements=["campaign_id", "user_id"], set_={name: new.excluded[name] for name in _CHANGING}
    )


def _renewing_version(new: NewRow) -> Insert:
    names = (*_CHANGING, "version")
    return new.on_conflict_do_update(
        index_elements=["campaign_id", "user_id"], set_={name: new.excluded[name] for name in names}
    )


_UPSERT = RowUpsert(Delivery, _COLUMNS, _renewing)
_REVISED = RowUpsert(Delivery, (*_COLUMNS, "version"), _renewing_version)


def _row(claim: Claim, result: Result, now: int) -> tuple[str | int | None, ...]:
    item = result.item
    recipient = item.recipient
    return (
        claim.campaign_id,
        recipient.user_id,
        claim.number,
        result.status.value,
        recipient.address or None,
        result.attempts,
        result.uncertain_attempts,
        result.reply,
        item.first_at or now,
        now,
        result.due_at,
    )


def counted(results: Sequence[Result]) -> Mapping[DeliveryStatus, int]:
    """How many of `results` have each of the statuses that there are among them."""
    found = [result.status for result in results]
    return {status: count for status in DeliveryStatus if (count := found.count(status))}
