"""Messages that have arrived get rows of their own, so that they can be listed, found and read.

That is done for whoever looks, and no more than they look at. The row of arrivals is deleted in the transaction that
writes its messages, so that each is there once, whoever else looks at the same time.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, delete, select

from mailer.mailbox.heads import Head, head_of
from mailer.mailbox.packing import Packed, campaign_and_person, unpack
from mailer.messages.recipient import DIGEST_SIZE
from mailer.storage.database import AnyRow, Database
from mailer.storage.dialects import RowUpsert
from mailer.storage.erased.people import erased_addresses
from mailer.storage.models import MailboxArrival, MailboxContent, MailboxMessage, User

_COLUMNS = ("id", "message_id", "campaign_id", "caller_id", "received_at", "person", *Head._fields, "read")
_PERSON, _ADDRESS = _COLUMNS.index("person"), _COLUMNS.index("address")
_HEADS = RowUpsert(MailboxMessage, _COLUMNS, lambda new: new)
_CONTENTS = RowUpsert(MailboxContent, ("id", "content"), lambda new: new)
_NEXT = select(MailboxArrival.id).order_by(MailboxArrival.id.desc()).limit(1)


def next_unsorted(connection: Connection, reach: str | None, before: int | None = None) -> int | None:
    """The newest arrivals with an id below `before`, of campaigns of the caller `reach`; None: everybody's."""
    wanted = _NEXT if before is None else _NEXT.where(MailboxArrival.id < before)
    return connection.scalar(wanted if reach is None else wanted.where(MailboxArrival.caller_id == reach))


def sort_in(db: Database, arrival: int) -> None:
    """Give the messages of one row of arrivals rows of their own, if nobody has done so yet."""
    with db.write(durable=False) as connection:
        _sort_in(connection, arrival)


def sort_in_all(db: Database, reach: str | None) -> None:
    """Do the same for all arrivals of campaigns of the caller `reach`; None: everybody's. Later ones are left."""
    arrival: int | None = None
    while True:
        with db.read() as connection:
            arrival = next_unsorted(connection, reach, arrival)
        if arrival is None:
            return
        sort_in(db, arrival)


def sort_in_within(connection: Connection) -> None:
    """Do the same for all arrivals, in the caller's transaction."""
    for arrival in connection.scalars(select(MailboxArrival.id).order_by(MailboxArrival.id)).all():
        _sort_in(connection, arrival)


def _sort_in(connection: Connection, arrival: int) -> None:
    taken = delete(MailboxArrival).where(MailboxArrival.id == arrival).returning(MailboxArrival)
    row = connection.execute(taken).one_or_none()
    if row is None:
        return
    messages = list(enumerate(unpack(row.packed), start=row.id))
    rows = _of_the_known(connection, [_row(row, number, message) for number, message in messages])
    if not rows:
        return
    _HEADS.run(connection, rows)
    kept = {one[0] for one in rows}
    _CONTENTS.run(connection, [(number, message.content) for number, message in messages if number in kept])


def _of_the_known(connection: Connection, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Those for nobody who was erased while the message was on its way.

    Whom it is for counts, also where it was redirected. Who has the address of somebody erased as well gets theirs.
    """
    erased = erased_addresses(connection, {one[_ADDRESS] for one in rows})
    if not erased:
        return rows
    persons = {one[_PERSON][: 2 * DIGEST_SIZE] for one in rows if one[_ADDRESS] in erased}
    here = set(connection.scalars(select(User.digest).where(User.digest.in_(persons))))
    return [one for one in rows if one[_ADDRESS] not in erased or one[_PERSON][: 2 * DIGEST_SIZE] in here]


def _row(arrival: AnyRow, number: int, message: Packed) -> tuple[Any, ...]:
    person = campaign_and_person(message.message_id)[1]
    place = (number, message.message_id, arrival.campaign_id, arrival.caller_id, arrival.received_at)
    return (*place, person, *head_of(message.content, message.recipient), False)
