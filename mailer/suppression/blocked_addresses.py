"""Addresses that an operator has blocked: a list of their own, apart from wishes and from counted refusals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import Connection, bindparam, func, select
from sqlalchemy.dialects import postgresql, sqlite

from mailer.messages.addresses import comparable
from mailer.storage.database import Database
from mailer.storage.models import RefusedAddress
from mailer.suppression.list_files import ListedAddress

CHUNK = 500  # rows
MAX_REASON = 1000  # characters


@dataclass(frozen=True, slots=True)
class Blocked:
    """How many addresses are newly blocked, and how many were so already and have the new reason now."""

    blocked: int
    already: int


def block(db: Database, listed: Iterable[ListedAddress], *, by: str, reason: str) -> Blocked:
    """Write to these addresses no more until a person lifts them: all of them or, on an error, none.

    `reason` is for those that have none of their own; `by` says who blocked them.
    """
    rows = {comparable(one.address): (one.reason or reason)[:MAX_REASON] for one in listed}
    with db.write() as connection:
        now = db.clock(connection)
        before = _blocked(connection)
        for some in _chunks(rows.items()):
            values = [{"blocking": address, "why": why, "by": by, "now": now} for address, why in some]
            connection.execute(_BLOCK[connection.dialect.name], values)
        new = _blocked(connection) - before
    return Blocked(new, len(rows) - new)


def _blocked(connection: Connection) -> int:
    return connection.execute(select(func.count()).where(RefusedAddress.blocked_at.is_not(None))).scalar_one()


def _chunks(rows: Iterable[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    rest = iter(rows)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk


def _blocking(dialect: Any) -> Any:
    now = bindparam("now", type_=RefusedAddress.blocked_at.type)
    why: dict[str, Any] = {"blocked_by": bindparam("by"), "block_reason": bindparam("why")}
    nothing = {"campaigns": 0, "campaign_ids": "", "reply": "", "rule": "", "refused_at": now}
    times = {"suppressed_at": now, "blocked_at": now}
    new = dialect.insert(RefusedAddress).values(address=bindparam("blocking"), **times, **nothing, **why)
    since = {name: func.coalesce(getattr(RefusedAddress, name), now) for name in times}
    return new.on_conflict_do_update(index_elements=["address"], set_={**since, **why})


_BLOCK = {"sqlite": _blocking(sqlite), "postgresql": _blocking(postgresql)}
