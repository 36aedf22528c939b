"""The mailbox forgets its oldest messages, and all of them once it is turned off: in small steps."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, func, select

from mailer.storage.database import AnyRow, Database
from mailer.storage.models import MailboxArrival, MailboxMessage
from mailer.storage.steps.small_steps import Steps, delete_in_steps
from mailer.storage.steps.stepwise_task import StepwiseTask

TASK = "mailbox"  # its name among the scheduled tasks
PERIOD = 10 * 60 * 1000  # ms from one look to the next; while messages come, whoever brings them trims
_HIGHEST = (1 << 63) - 1  # of all ids that can be
MOST_BYTES = 1 << 30  # of all messages together


def trimming(db: Database, keep: int, most_bytes: int = MOST_BYTES) -> Steps:
    """Delete all but the last `keep` messages, and of these what is more than `most_bytes` together.

    Those that arrived together go together.
    """
    with db.read() as connection:
        last = _newest_to_go(connection, keep, most_bytes)
    if last is not None:
        yield from delete_in_steps(db, MailboxArrival, MailboxArrival.id <= last)
        yield from delete_in_steps(db, MailboxMessage, MailboxMessage.id <= last)


def mailbox_trimming(db: Database, keep: int, lease: int) -> StepwiseTask:
    """The trimming as a task that all processes share; `lease` is in ms."""
    return StepwiseTask(db, TASK, lambda: trimming(db, keep), lease=lease, period=PERIOD)


def _newest_to_go(connection: Connection, keep: int, most_bytes: int) -> int | None:
    """The id of the newest message that is too much; None: there is none.

    Arrivals are taken as newer than all others, which holds but for some that arrived in the same moment.
    """
    if not keep:
        return _HIGHEST
    arrivals = select(MailboxArrival.id, MailboxArrival.messages, MailboxArrival.size)
    room, octets = keep, most_bytes
    for message, count, size in connection.execute(arrivals.order_by(MailboxArrival.id.desc())):
        if room <= 0 or octets <= 0:
            return message
        room, octets = room - count, octets - size
    return _newest_beyond(connection, max(0, room), max(0, octets))


def _newest_beyond(connection: Connection, room: int, octets: int) -> int | None:
    newest_first = select(MailboxMessage.id, MailboxMessage.size).order_by(MailboxMessage.id.desc())
    if (connection.scalar(select(func.sum(MailboxMessage.size))) or 0) > octets:
        return _beyond_size(connection.execute(newest_first), room, octets)
    found: int | None = connection.scalar(newest_first.offset(room).limit(1))
    return found


def _beyond_size(found: Iterable[AnyRow], room: int, octets: int) -> int | None:
    for number, (message, size) in enumerate(found):
        octets -= size
        if number >= room or octets < 0:
            return int(message)
    return None
