"""People found by id, user name, name or address.

Whoever has exactly what was typed is found by an index. Otherwise all users are looked through in the order of their
ids, for a second at most: then it is told how far that came, and the next search goes on from there. So no search
takes long, however many users there are, and none needs an index that every import would have to keep.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, true

from mailer.audience.user_states import UserWithState, users_with
from mailer.messages.addresses import comparable
from mailer.storage.database import Database
from mailer.storage.dialects import is_postgresql
from mailer.storage.models import User, comparable_address
from mailer.text import is_storable

SECONDS = 1.0
CHUNK = 5000  # users looked at between two looks at the clock
LONGEST = 200  # characters that are looked for


@dataclass(frozen=True, slots=True)
class FoundPeople:
    """Some people, and the id after which to go on; None: there are no others.

    `cut_short`: the time was over before there were as many as were asked for.
    """

    people: Sequence[UserWithState]
    following: str | None
    cut_short: bool = False


def search(
    db: Database,
    wanted: str,
    *,
    after: str | None = None,
    count: int = 50,
    seconds: float = SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> FoundPeople:
    """At most `count` people who have `wanted` in their id, user name, name or address; "": everybody, by id.

    Those who have it as it stands come first, alone. `after` is the `following` of the page before.
    """
    wanted = wanted.strip()[:LONGEST]
    if not is_storable(wanted):
        return FoundPeople([], None)
    with db.read() as connection:
        exact = users_with(connection, _is(wanted), count) if wanted else []
        if after is None and exact:
            return FoundPeople(exact, "")
        which = (
            and_(_has(wanted, postgresql=is_postgresql(connection)), User.id.not_in([one.id for one in exact]))
            if wanted
            else true()
        )
        ends = clock() + seconds
        ids, following = _look_through(connection, which, after or "", count, lambda: clock() > ends)
        people = users_with(connection, User.id.in_(ids), count) if ids else []
    return FoundPeople(people, following, cut_short=following is not None and len(ids) < count)


def _look_through(
    connection: Connection, which: ColumnElement[bool], after: str, count: int, over: Callable[[], bool]
) -> tuple[list[str], str | None]:
    """The ids of those who meet `which`, from the one after `after` on, and where to go on."""
    ids: list[str] = []
    while True:
        last = connection.scalar(select(User.id).where(User.id > after).order_by(User.id).offset(CHUNK - 1).limit(1))
        within = User.id > after if last is None else and_(User.id > after, User.id <= last)
        found = select(User.id).where(within, which).order_by(User.id).limit(count - len(ids) + 1)
        ids += connection.scalars(found)
        if len(ids) > count:
            return ids[:count], ids[count - 1]
        if last is None:
            return ids, None
        after = last
        if over():
            return ids, after


def _is(wanted: str) -> ColumnElement[bool]:
    return or_(User.id == wanted, User.username == wanted, comparable_address() == comparable(wanted))


def _has(wanted: str, *, postgresql: bool) -> ColumnElement[bool]:
    """A condition: `wanted` stands somewhere, in whatever case. It costs one comparison for each user and spelling."""
    others = (User.username, User.name, User.email)
    everything: ColumnElement[str] = func.coalesce(User.id, "")
    for column in others:
        everything = everything + "\n" + func.coalesce(column, "")
    like = everything.ilike if postgresql else everything.like  # SQLite's LIKE takes ASCII letters in any case
    return or_(*(like(f"%{_literal(one)}%", escape="/") for one in _spellings(wanted)))


def _literal(text: str) -> str:
    return text.replace("/", "//").replace("%", "/%").replace("_", "/_")


def _spellings(wanted: str) -> Sequence[str]:
    """How `wanted` may be spelled. For SQLite, letters beyond ASCII are others in upper case."""
    return [wanted] if wanted.isascii() else sorted({wanted, wanted.lower(), wanted.upper(), wanted.title()})
