"""Lists of the unsubscribed: our own, and those that come from other programs.

A list names people by id or by address. It marks the users of the directory as unsubscribed. Its addresses, and ids
that nobody has, are kept as wishes, which mark whoever comes to them later.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import ClassVar

from sqlalchemy import Connection, select, text

from mailer.audit.log import Act, record
from mailer.files.exports import Cell
from mailer.messages.addresses import comparable
from mailer.storage import staging
from mailer.storage.database import Database
from mailer.storage.erased.key import Of, digest, key_of
from mailer.storage.erased.people import leave_out_erased
from mailer.storage.journal.writer import Wished
from mailer.storage.models import User
from mailer.storage.staging import ID, StagingTable, stage_and_merge
from mailer.suppression import history, wishes
from mailer.suppression.history import Cause, Means
from mailer.suppression.list_files import ListedPerson
from mailer.times import to_iso

Besides = Callable[[Connection, int], None]


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """A person who has unsubscribed at `unsubscribed_at` (ms). Without `user_id` it is whoever comes to the address.

    `campaign_id` is the campaign whose message they left by; None: none, or nobody knows.
    """

    COLUMNS: ClassVar[tuple[str, ...]] = ("_id", "address", "unsubscribedAt", "campaign")
    user_id: str | None
    address: str | None
    unsubscribed_at: int
    campaign_id: str | None = None

    def cells(self) -> tuple[Cell, ...]:
        """In the order of `COLUMNS`; times are ISO 8601 in UTC."""
        return self.user_id, self.address, to_iso(self.unsubscribed_at), self.campaign_id


@dataclass(frozen=True, slots=True)
class UnsubscribeResult:
    """What importing a list did: users newly and already unsubscribed, and rows that name nobody in the directory.

    `erased` rows were left out, since they are about people who were erased: they are not written to anyway.
    """

    unsubscribed: int
    already: int
    unmatched: int
    erased: int = 0


def unsubscribed_users(db: Database, *, after: str | None = None, count: int = 1000) -> list[Unsubscribed]:
    """A page of the users who have unsubscribed, by id, from the one after `after` on."""
    query = select(User.id, User.email, User.unsubscribed_at, history.campaign_of_mark().label("campaign_id"))
    query = query.where(User.unsubscribed_at.is_not(None))
    if after is not None:
        query = query.where(User.id > after)
    with db.read() as connection:
        rows = connection.execute(query.order_by(User.id).limit(count)).all()
    return [Unsubscribed(row.id, row.email, row.unsubscribed_at or 0, row.campaign_id) for row in rows]


def all_unsubscribed_users(db: Database) -> Iterator[Unsubscribed]:
    """All users who have unsubscribed, read page by page."""
    after: str | None = None
    while page := unsubscribed_users(db, after=after):
        yield from page
        after = page[-1].user_id


def all_unsubscribed_users_and_wishes(db: Database) -> Iterator[Unsubscribed]:
    """All users who have unsubscribed, and then the wishes that are kept for whoever comes."""
    yield from all_unsubscribed_users(db)
    for wish in wishes.all_kept_wishes(db):
        if not wish.shared:  # imported again, it would mark the others who have the address
            yield Unsubscribed(wish.user_id, wish.address, wish.unsubscribed_at)


def nothing_besides(_connection: Connection, _now: int) -> None:
    """Do nothing besides."""


def unsubscribe_listed(
    db: Database, people: Iterable[ListedPerson], *, by: str, source: str, besides: Besides = nothing_besides
) -> UnsubscribeResult:
    """Unsubscribe everyone whom a list names, by id or by address in any case: all of them or, on an error, nobody.

    A row with the id and the address of one user is about that user alone. Any other row is about everyone who has its
    address, now and later. Who brings the list (`by`) and what it is called (`source`) are kept with the wishes.
    What is done `besides`, at a time in ms, belongs to the same transaction.
    """

    key = key_of(db)

    def merge(connection: Connection, _: None) -> UnsubscribeResult:
        now = db.clock(connection)
        listed = [] if db.journal is None else connection.exec_driver_sql(_LISTED).all()
        result = _merge(connection, now, by, source)
        besides(connection, now)
        record(connection, now, Act.UNSUBSCRIBE_LIST, **asdict(result))
        if db.journal is not None:
            whose = ((user_id, [address] if address else []) for user_id, address in listed)
            cause = Cause(Means.LIST, by, source=source)
            db.journal.wishes(Wished.UNSUBSCRIBE, now, whose, asdict(cause))
        return result

    return stage_and_merge(db, lambda connection: _stage(connection, key, people), merge)


def _stage(connection: Connection, key: bytes, people: Iterable[ListedPerson]) -> None:
    _LIST.create(connection)
    _LIST.fill(connection, (_row(key, place, person) for place, person in enumerate(people)))
    for column in ("user_id", "address"):
        staging.index(connection, _LIST.name, column)
    staging.analyse(connection, _LIST.name)


def _row(key: bytes, place: int, person: ListedPerson) -> tuple[int, str | None, str | None, int | None, str]:
    address = comparable(person.address) if person.address else None
    known_by = ((Of.USER, person.user_id), (Of.ADDRESS, address))
    hashes = json.dumps([digest(key, of, text) for of, text in known_by if text is not None])
    return place, person.user_id, address, person.unsubscribed_at, hashes


_COLUMNS = {"place": "bigint", "user_id": ID, "address": ID, "made_at": "bigint", "hashes": "json"}
_LIST = StagingTable("staged_entries", _COLUMNS)
_MATCHES = "staged_matches"
_LISTED = "SELECT user_id, address FROM staged_entries ORDER BY place"
_ABOUT_AN_ADDRESS = """
s.address IS NOT NULL
AND NOT EXISTS (SELECT 1 FROM users o WHERE o.id = s.user_id AND lower(o.email) = s.address)
"""
# the cross joins hold SQLite to its order: the directory once, and the list by its indexes
_MATCHING = f"""
SELECT u.id, s.place, s.made_at FROM users u CROSS JOIN staged_entries s WHERE s.user_id = u.id
UNION SELECT u.id, s.place, s.made_at FROM users u CROSS JOIN staged_entries s
WHERE s.address = lower(u.email) AND {_ABOUT_AN_ADDRESS}
"""  # noqa: S608 - no value in it
_COUNT = """
SELECT (SELECT count(*) FROM staged_entries), (SELECT count(DISTINCT place) FROM staged_matches),
(SELECT count(DISTINCT id) FROM staged_matches)
"""
_MADE_AT = "coalesce(min(CASE WHEN s.made_at < :now THEN s.made_at ELSE :now END), :now)"
_MARKED_AT = f"(SELECT {_MADE_AT} FROM staged_matches s WHERE s.id = {{user}})"  # noqa: S608 - no value in it
_MARK = f"""
UPDATE users SET unsubscribed_at = {_MARKED_AT.format(user="users.id")}
WHERE unsubscribed_at IS NULL AND id IN (SELECT id FROM staged_matches)
"""  # noqa: S608 - no value in it
_KEEP = f"""
INSERT INTO wishes (kind, value, unsubscribed_at, kept_at, kept_by, source)
SELECT 'address', s.address, {_MADE_AT}, :now, :by, :source FROM staged_entries s
WHERE {_ABOUT_AN_ADDRESS} GROUP BY s.address
UNION ALL
SELECT 'user', s.user_id, {_MADE_AT}, :now, :by, :source FROM staged_entries s
WHERE s.user_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM users o WHERE o.id = s.user_id) GROUP BY s.user_id
ON CONFLICT (kind, value) DO NOTHING
"""  # noqa: S608 - no value in it


def _merge(connection: Connection, now: int, by: str, source: str) -> UnsubscribeResult:
    wishes.lock(connection, listing=True)
    erased = leave_out_erased(connection, _LIST.name)
    staging.create_as(connection, _MATCHES, _MATCHING)
    staging.index(connection, _MATCHES, "id")
    rows, matched, users = connection.exec_driver_sql(_COUNT).one()
    connection.execute(text(_KEEP), {"now": now, "by": by, "source": source})
    history.add_listed(connection, _MARKED_AT.format(user="u.id"), now=now, by=by, source=source)
    marked = connection.execute(text(_MARK), {"now": now}).rowcount
    wishes.keep_inactive_among(connection, now, _MATCHES)
    for name in (_MATCHES, _LIST.name):
        staging.drop(connection, name)
    return UnsubscribeResult(unsubscribed=marked, already=users - marked, unmatched=rows - matched, erased=erased)
