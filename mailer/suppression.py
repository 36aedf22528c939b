"""Who is not to be written to: the list of the unsubscribed, and lists from elsewhere merged into it.

A list from elsewhere names users by id or by address. It marks the users of the directory and remembers nothing else:
what matches nobody is counted, so that nobody takes it for suppressed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import Connection, select, text

from mailer.addresses import comparable
from mailer.database import Database
from mailer.models import User
from mailer.suppression_lists import Entry, Suppressed

CHUNK = 500  # rows


@dataclass(frozen=True, slots=True)
class SuppressionResult:
    """What a list came to: users newly and already unsubscribed, and rows that name nobody in the directory."""

    unsubscribed: int
    already: int
    unmatched: int


def suppressed(db: Database, *, after: str | None = None, count: int = 1000) -> list[Suppressed]:
    """Those who have unsubscribed, by user id, from the one after `after` on."""
    query = select(User.id, User.email, User.unsubscribed_at).where(User.unsubscribed_at.is_not(None))
    if after is not None:
        query = query.where(User.id > after)
    with db.read() as connection:
        rows = connection.execute(query.order_by(User.id).limit(count)).all()
    return [Suppressed(row.id, row.email, row.unsubscribed_at or 0) for row in rows]


def all_suppressed(db: Database) -> Iterator[Suppressed]:
    """All of them, read page by page."""
    after: str | None = None
    while page := suppressed(db, after=after):
        yield from page
        after = page[-1].user_id


def suppress(db: Database, entries: Iterable[Entry]) -> SuppressionResult:
    """Unsubscribe whom the list names, by id or, whatever its case, by address: all of it or, on an error, nothing."""
    with db.engine.connect() as connection:
        with connection.begin():  # SQLite locks nothing for a temporary table
            _stage(connection, entries)
            if connection.dialect.name == "postgresql":
                return _merge(connection, db.clock(connection))
        with db.write_on(connection):
            result = _merge(connection, db.clock(connection))
            connection.exec_driver_sql("DROP TABLE staged_entries")
        return result


def _stage(connection: Connection, entries: Iterable[Entry]) -> None:
    postgresql = connection.dialect.name == "postgresql"
    id_type = 'text COLLATE "C"' if postgresql else "text"
    connection.exec_driver_sql("DROP TABLE IF EXISTS staged_entries")
    connection.exec_driver_sql(
        f"CREATE TEMPORARY TABLE staged_entries (place bigint, user_id {id_type}, address text)"
        + (" ON COMMIT DROP" if postgresql else "")
    )
    insert = text("INSERT INTO staged_entries VALUES (:place, :user_id, :address)")
    numbered = enumerate(entries)
    while chunk := list(islice(numbered, CHUNK)):
        connection.execute(insert, [_staged(place, entry) for place, entry in chunk])
    for column in ("user_id", "address"):
        connection.exec_driver_sql(f"CREATE INDEX staged_entries_{column} ON staged_entries ({column})")
    if postgresql:
        connection.exec_driver_sql("ANALYZE staged_entries")


def _staged(place: int, entry: Entry) -> dict[str, Any]:
    address = comparable(entry.address) if entry.address else None
    return {"place": place, "user_id": entry.user_id, "address": address}


# the cross joins hold SQLite to its order: the directory once, and the list by its indexes
_MATCHES = """
CREATE TEMPORARY TABLE staged_matches{on_commit} AS
SELECT u.id, s.place FROM users u CROSS JOIN staged_entries s WHERE s.user_id = u.id
UNION SELECT u.id, s.place FROM users u CROSS JOIN staged_entries s WHERE s.address = lower(u.email)
"""
_COUNT = """
SELECT (SELECT count(*) FROM staged_entries), (SELECT count(DISTINCT place) FROM staged_matches),
(SELECT count(DISTINCT id) FROM staged_matches)
"""
_MARK = """
UPDATE users SET unsubscribed_at = :now WHERE unsubscribed_at IS NULL AND id IN (SELECT id FROM staged_matches)
"""


def _merge(connection: Connection, now: int) -> SuppressionResult:
    postgresql = connection.dialect.name == "postgresql"
    connection.exec_driver_sql("DROP TABLE IF EXISTS staged_matches")
    connection.exec_driver_sql(_MATCHES.format(on_commit=" ON COMMIT DROP" if postgresql else ""))
    rows, matched, users = connection.exec_driver_sql(_COUNT).one()
    marked = connection.execute(text(_MARK), {"now": now}).rowcount
    connection.exec_driver_sql("DROP TABLE staged_matches")
    return SuppressionResult(unsubscribed=marked, already=users - marked, unmatched=rows - matched)
