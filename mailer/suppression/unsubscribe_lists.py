"""Who has unsubscribed, and lists of the unsubscribed from elsewhere.

A list names users by id or by address. It marks those of the directory; its addresses, and ids that nobody has, are
kept as wishes for whoever comes later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

from sqlalchemy import Connection, select, text

from mailer.files.exports import Cell
from mailer.messages.addresses import comparable
from mailer.storage.database import Database
from mailer.storage.models import User
from mailer.suppression import wishes
from mailer.suppression.list_files import ListedPerson
from mailer.times import to_iso

CHUNK = 500  # rows


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """One who has unsubscribed; `unsubscribed_at` in ms since 1970. Without `user_id`: whoever comes to the address."""

    COLUMNS: ClassVar[tuple[str, ...]] = ("_id", "address", "unsubscribedAt")
    user_id: str | None
    address: str | None
    unsubscribed_at: int

    def cells(self) -> tuple[Cell, ...]:
        """In the order of `COLUMNS`; times are ISO 8601 in UTC."""
        return self.user_id, self.address, to_iso(self.unsubscribed_at)


@dataclass(frozen=True, slots=True)
class UnsubscribeResult:
    """What a list came to: users newly and already unsubscribed, and rows that name nobody in the directory (yet)."""

    unsubscribed: int
    already: int
    unmatched: int


def unsubscribed_users(db: Database, *, after: str | None = None, count: int = 1000) -> list[Unsubscribed]:
    """The users who have unsubscribed, by id, from the one after `after` on."""
    query = select(User.id, User.email, User.unsubscribed_at).where(User.unsubscribed_at.is_not(None))
    if after is not None:
        query = query.where(User.id > after)
    with db.read() as connection:
        rows = connection.execute(query.order_by(User.id).limit(count)).all()
    return [Unsubscribed(row.id, row.email, row.unsubscribed_at or 0) for row in rows]


def all_unsubscribed_users(db: Database) -> Iterator[Unsubscribed]:
    """All of them, read page by page."""
    after: str | None = None
    while page := unsubscribed_users(db, after=after):
        yield from page
        after = page[-1].user_id


def all_unsubscribed_users_and_wishes(db: Database) -> Iterator[Unsubscribed]:
    """All of them, and then the wishes that are kept for whoever comes."""
    yield from all_unsubscribed_users(db)
    for wish in wishes.all_kept_wishes(db):
        if not wish.shared:  # on a list it would be about the others at the address
            yield Unsubscribed(wish.user_id, wish.address, wish.unsubscribed_at)


def unsubscribe_listed(db: Database, entries: Iterable[ListedPerson], *, by: str, source: str) -> UnsubscribeResult:
    """Unsubscribe whom the list names, by id or, whatever its case, by address: all of it or, on an error, nothing.

    A row with the id and the address of one user is about that user; any other is about everyone at its address, now
    and later. `by` (who brings the list) and `source` (which it is) are kept with the wishes.
    """
    with db.engine.connect() as connection:
        with connection.begin():  # SQLite locks nothing for a temporary table
            _stage(connection, entries)
            if connection.dialect.name == "postgresql":
                return _merge(connection, db.clock(connection), by, source)
        with db.write_on(connection):
            result = _merge(connection, db.clock(connection), by, source)
            connection.exec_driver_sql("DROP TABLE staged_entries")
        return result


def _stage(connection: Connection, entries: Iterable[ListedPerson]) -> None:
    postgresql = connection.dialect.name == "postgresql"
    id_type = 'text COLLATE "C"' if postgresql else "text"
    connection.exec_driver_sql("DROP TABLE IF EXISTS staged_entries")
    connection.exec_driver_sql(
        f"CREATE TEMPORARY TABLE staged_entries (place bigint, user_id {id_type}, address {id_type}, made_at bigint)"
        + (" ON COMMIT DROP" if postgresql else "")
    )
    insert = text("INSERT INTO staged_entries VALUES (:place, :user_id, :address, :made_at)")
    numbered = enumerate(entries)
    while chunk := list(islice(numbered, CHUNK)):
        connection.execute(insert, [_staged(place, entry) for place, entry in chunk])
    for column in ("user_id", "address"):
        connection.exec_driver_sql(f"CREATE INDEX staged_entries_{column} ON staged_entries ({column})")
    if postgresql:
        connection.exec_driver_sql("ANALYZE staged_entries")


def _staged(place: int, entry: ListedPerson) -> dict[str, Any]:
    address = comparable(entry.address) if entry.address else None
    return {"place": place, "user_id": entry.user_id, "address": address, "made_at": entry.unsubscribed_at}


_AT_LARGE = """
s.address IS NOT NULL
AND NOT EXISTS (SELECT 1 FROM users o WHERE o.id = s.user_id AND lower(o.email) = s.address)
"""
# the cross joins hold SQLite to its order: the directory once, and the list by its indexes
_MATCHES = f"""
CREATE TEMPORARY TABLE staged_matches{{on_commit}} AS
SELECT u.id, s.place, s.made_at FROM users u CROSS JOIN staged_entries s WHERE s.user_id = u.id
UNION SELECT u.id, s.place, s.made_at FROM users u CROSS JOIN staged_entries s
WHERE s.address = lower(u.email) AND {_AT_LARGE}
"""  # noqa: S608 - no value in it
_COUNT = """
SELECT (SELECT count(*) FROM staged_entries), (SELECT count(DISTINCT place) FROM staged_matches),
(SELECT count(DISTINCT id) FROM staged_matches)
"""
_MADE_AT = "coalesce(min(CASE WHEN s.made_at < :now THEN s.made_at ELSE :now END), :now)"
_MARK = f"""
UPDATE users SET unsubscribed_at = (SELECT {_MADE_AT} FROM staged_matches s WHERE s.id = users.id)
WHERE unsubscribed_at IS NULL AND id IN (SELECT id FROM staged_matches)
"""  # noqa: S608 - no value in it
_KEEP = f"""
INSERT INTO wishes (kind, value, unsubscribed_at, kept_at, kept_by, source)
SELECT 'address', s.address, {_MADE_AT}, :now, :by, :source FROM staged_entries s WHERE {_AT_LARGE} GROUP BY s.address
UNION ALL
SELECT 'user', s.user_id, {_MADE_AT}, :now, :by, :source FROM staged_entries s
WHERE s.user_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM users o WHERE o.id = s.user_id) GROUP BY s.user_id
ON CONFLICT (kind, value) DO NOTHING
"""  # noqa: S608 - no value in it


def _merge(connection: Connection, now: int, by: str, source: str) -> UnsubscribeResult:
    postgresql = connection.dialect.name == "postgresql"
    wishes.lock(connection, listing=True)
    connection.exec_driver_sql("DROP TABLE IF EXISTS staged_matches")
    connection.exec_driver_sql(_MATCHES.format(on_commit=" ON COMMIT DROP" if postgresql else ""))
    connection.exec_driver_sql("CREATE INDEX staged_matches_id ON staged_matches (id)")
    rows, matched, users = connection.exec_driver_sql(_COUNT).one()
    connection.execute(text(_KEEP), {"now": now, "by": by, "source": source})
    marked = connection.execute(text(_MARK), {"now": now}).rowcount
    wishes.keep_inactive(connection, now, "id IN (SELECT id FROM staged_matches)")
    connection.exec_driver_sql("DROP TABLE staged_matches")
    return UnsubscribeResult(unsubscribed=marked, already=users - marked, unmatched=rows - matched)
