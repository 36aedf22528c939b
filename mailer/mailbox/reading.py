"""Read the mailbox: a page of it, one message, how many there are; mark messages, and delete them.

Who manages campaigns reaches all messages, everybody else those of their own campaigns: `reach` is a caller's id, or
None for all. A message out of reach is like one that does not exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, delete, func, select, true, update

from mailer.audit.log import Act, record
from mailer.errors import NotFound
from mailer.mailbox.search import Search
from mailer.mailbox.sorting import next_unsorted, sort_in, sort_in_all
from mailer.storage.database import Database
from mailer.storage.models import MailboxArrival, MailboxContent
from mailer.storage.models import MailboxMessage as Kept

EVERYTHING = Search()
LARGEST = 2**63 - 1  # number of a message that a database can have
_SHOWN = (Kept.id, Kept.message_id, Kept.campaign_id, Kept.received_at, Kept.address, Kept.recipient, Kept.author)
_SHOWN_TOO = (Kept.addressee, Kept.subject, Kept.snippet, Kept.size, Kept.attachments, Kept.read)
_BEGIN = func.substr(MailboxContent.content, 1, 4000)  # bytes in which all fields stand that this service writes


class Listed(NamedTuple):
    """A message as lists show it; `received_at` is in ms since 1970. `author` and `addressee` are From and To.

    `begin` are its first bytes.
    """

    id: int
    message_id: str
    campaign_id: str
    received_at: int
    address: str
    recipient: str
    author: str
    addressee: str
    subject: str
    snippet: str
    size: int
    attachments: int
    read: bool
    begin: bytes


def page(
    db: Database, reach: str | None, search: Search, count: int, *, before: int | None = None, start: int = 0
) -> Sequence[Listed]:
    """Return at most `count` messages, newest first: those older than `before`, without the first `start` of them.

    Without anything to look for, only as much of the mailbox is touched as is shown.
    """
    if search.conditions or start:
        sort_in_all(db, reach)
    older = true() if before is None else Kept.id < before
    unsorted = before
    query = _listed(reach, search).where(older).order_by(Kept.id.desc()).limit(count).offset(start or None)
    while True:
        with db.read() as connection:
            found = [Listed(*row) for row in connection.execute(query)]
            unsorted = next_unsorted(connection, reach, unsorted)
        if unsorted is None or (len(found) == count and found[-1].id > unsorted):
            return found
        sort_in(db, unsorted)


def count(db: Database, reach: str | None, search: Search = EVERYTHING) -> int:
    """Count the messages. With something to look for, all of them are looked at."""
    if search.conditions:
        sort_in_all(db, reach)
    waiting = select(func.coalesce(func.sum(MailboxArrival.messages), 0))
    waiting = waiting if reach is None else waiting.where(MailboxArrival.caller_id == reach)
    with db.read() as connection:
        arrivals = 0 if search.conditions else int(connection.scalar(waiting) or 0)
        return arrivals + (connection.scalar(select(func.count()).select_from(Kept).where(_meant(reach, search))) or 0)


def one(db: Database, reach: str | None, message: int) -> Listed:
    """The message of this id. Raises `NotFound`."""
    if message > LARGEST:
        raise NotFound("There is no such message.")
    return _first(db, reach, Search((Kept.id == message,)))


def latest(db: Database, reach: str | None, search: Search = EVERYTHING) -> Listed:
    """The newest message, or the newest of those that are meant. Raises `NotFound`."""
    return _first(db, reach, search)


def _first(db: Database, reach: str | None, search: Search) -> Listed:
    found = page(db, reach, search, 1)
    if not found:
        raise NotFound("There is no such message.")
    return found[0]


def content(db: Database, message: Listed) -> bytes:
    """Its bytes. Raises `NotFound` if it is gone by now."""
    with db.read() as connection:
        found = connection.scalar(select(MailboxContent.content).where(MailboxContent.id == message.id))
    if found is None:
        raise NotFound("There is no such message.")
    return bytes(found)


def mark(db: Database, reach: str | None, search: Search, *, read: bool) -> None:
    """Note that somebody has looked at these messages, or that nobody has."""
    sort_in_all(db, reach)
    changed = update(Kept).where(_meant(reach, search), Kept.read != read).values(read=read)
    with db.write(durable=False) as connection:
        connection.execute(changed)


def remove(db: Database, reach: str | None, search: Search) -> int:
    """Delete these messages, and return how many they were."""
    if search.conditions:
        sort_in_all(db, reach)
    mine = true() if reach is None else MailboxArrival.caller_id == reach
    with db.write() as connection:
        gone = 0
        if not search.conditions:
            gone = sum(connection.scalars(delete(MailboxArrival).where(mine).returning(MailboxArrival.messages)))
        gone += connection.execute(delete(Kept).where(_meant(reach, search))).rowcount
        record(connection, db.clock(connection), Act.DELETE_MESSAGES, None, messages=gone)
    return gone


def with_ids(ids: Sequence[int]) -> Search:
    """The messages of these ids."""
    return Search((Kept.id.in_(ids),))


def _listed(reach: str | None, search: Search) -> Select[*tuple[Any, ...]]:
    return select(*_SHOWN, *_SHOWN_TOO, _BEGIN).join(MailboxContent).where(_meant(reach, search))


def _meant(reach: str | None, search: Search) -> ColumnElement[bool]:
    mine = true() if reach is None else Kept.caller_id == reach
    return and_(true(), mine, *search.conditions)
