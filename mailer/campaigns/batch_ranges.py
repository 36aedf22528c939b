"""Cut an audience into ranges of user ids, each of which becomes a batch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, func, not_, or_, select

from mailer.audience.conditions import audience
from mailer.audience.overlapping_batches import is_at
from mailer.audience.shared_addresses import merged_audience
from mailer.storage.dialects import is_postgresql
from mailer.storage.models import User

Ends = Sequence[Any]  # the first id, the last id, how many are meant


class Range(NamedTuple):
    """The users from `first_id` to `last_id`, both included, of whom `planned` are meant: those at `domain`.

    An empty domain means the others.
    """

    first_id: str
    last_id: str
    planned: int
    domain: str = ""


def cut(
    connection: Connection, query: Mapping[str, Any], size: int, *, merge: bool, domains: Sequence[str] = ()
) -> list[Range]:
    """Return the ranges of the audience of `query`, `size` users in each but the last.

    Addresses at one of `domains` are in ranges of their own, which overlap with the others. With `merge`, users who
    share an address count as one.
    """
    members = merged_audience(query) if merge else audience(query)
    way = _numbered if merge or is_postgresql(connection) else _skipped_through
    at = {domain: is_at(domain) for domain in domains}
    others = not_(or_(*at.values())) if at else None
    found = [Range(*ends) for ends in way(connection, members if others is None else members & others, size)]
    for domain, there in at.items():
        found += [Range(*ends)._replace(domain=domain) for ends in way(connection, members & there, size)]
    return found


def _numbered(connection: Connection, members: ColumnElement[bool], size: int) -> Sequence[Ends]:
    """Number the members, and return of every batch the first id, the last id and how many it has.

    Only these ids are sent by the database, however large the audience.
    """
    place, following = (
        function.over(order_by=User.id, rows=(None, 0))  # without `rows` slow before PostgreSQL 16
        for function in (func.row_number(), func.lead(User.id))
    )
    member = select(User.id.label("id"), place.label("number"), following.label("following")).where(members).subquery()
    number = member.c.number
    edges = select(member.c.id, number).where(or_(number % size < 2, member.c.following.is_(None)))
    ends = connection.execute(edges.order_by(number)).all()
    firsts = [end for end in ends if (end.number - 1) % size == 0]
    lasts = [end for end in ends if end.number % size == 0 or end is ends[-1]]
    return [(a.id, z.id, z.number - a.number + 1) for a, z in zip(firsts, lasts, strict=True)]


def _skipped_through(connection: Connection, members: ColumnElement[bool], size: int) -> Sequence[Ends]:
    """Return the same as `_numbered`, by looking from the end of each batch for the end of the next.

    On SQLite this takes half as long as numbering everyone. It is unfit for conditions that look at all users first,
    such as grouping them by address: that would be repeated for every batch.
    """
    cut = select(func.json_array("", "", size).label("batch")).cte("cut", recursive=True)
    last, count = (func.json_extract(cut.c.batch, f"$[{place}]") for place in (1, 2))
    after = select(User.id).where(members, User.id > last).order_by(User.id).limit(size).correlate(cut).subquery()
    batch = select(func.json_array(func.min(after.c.id), func.max(after.c.id), func.count())).scalar_subquery()
    cut = cut.union_all(select(batch).where(count == size))
    _, *batches = map(json.loads, connection.scalars(select(cut.c.batch)))
    return [batch for batch in batches if batch[2]]
