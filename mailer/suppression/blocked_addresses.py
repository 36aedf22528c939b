"""Addresses that an operator has blocked, each with a reason.

A block is neither a person's wish nor a counted refusal. It stays until a person lifts it (`suppressed_addresses`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Insert, bindparam, func, select

from mailer.audit.log import Act, Note, record_addresses
from mailer.messages.addresses import comparable
from mailer.storage.database import Database
from mailer.storage.dialects import NewRow, Upsert
from mailer.storage.erased.people import erased_addresses
from mailer.storage.journal.writer import Wished
from mailer.storage.models import RefusedAddress
from mailer.suppression.list_files import ListedAddress
from mailer.suppression.wishes import lock

CHUNK = 500  # rows
MAX_REASON = 1000  # characters


@dataclass(frozen=True, slots=True)
class Blocked:
    """How many addresses are newly blocked, and how many were blocked already and have got the new reason.

    `erased` are those of people who were erased: nobody writes to them anyway, so they are not stored.
    """

    blocked: int
    already: int
    erased: int = 0


def block(db: Database, listed: Iterable[ListedAddress], *, by: str, reason: str, note: Note | None = None) -> Blocked:
    """Write to these addresses no more until a person lifts them: all of them or, on an error, none.

    `reason` is for the addresses that have none of their own. `by` says who blocks them. `note` is kept of it.
    """
    rows = {comparable(one.address): (one.reason or reason)[:MAX_REASON] for one in listed}
    with db.write() as connection:
        lock(connection)
        now = db.clock(connection)
        erased = erased_addresses(connection, rows)
        rows = {address: why for address, why in rows.items() if address not in erased}
        before = _blocked(connection)
        for some in _chunks(rows.items()):
            values = [{"blocking": address, "why": why, "by": by, "now": now} for address, why in some]
            _BLOCK.run(connection, values)
        new = _blocked(connection) - before
        record_addresses(connection, now, Act.BLOCK_ADDRESSES, rows, note, blocked=new)
        if db.journal is not None:
            db.journal.wishes(Wished.BLOCK, now, ((None, [address]) for address in rows), {"who": by})
    return Blocked(new, len(rows) - new, len(erased))


def _blocked(connection: Connection) -> int:
    return connection.execute(select(func.count()).where(RefusedAddress.blocked_at.is_not(None))).scalar_one()


def _chunks(rows: Iterable[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    rest = iter(rows)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk


def _blocking(new: NewRow) -> Insert:
    now = bindparam("now", type_=RefusedAddress.blocked_at.type)
    why: dict[str, Any] = {"blocked_by": bindparam("by"), "block_reason": bindparam("why")}
    nothing = {"campaigns": 0, "campaign_ids": "", "reply": "", "rule": "", "refused_at": now}
    times = {"suppressed_at": now, "blocked_at": now}
    new = new.values(address=bindparam("blocking"), **times, **nothing, **why)
    since = {name: func.coalesce(getattr(RefusedAddress, name), now) for name in times}
    return new.on_conflict_do_update(index_elements=["address"], set_={**since, **why})


_BLOCK = Upsert(RefusedAddress, _blocking)
