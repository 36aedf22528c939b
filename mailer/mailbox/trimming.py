"""The mailbox forgets its oldest messages, and all of them once it is turned off: in small steps."""

from __future__ import annotations

from sqlalchemy import Connection, desc, false, literal, select, true, union_all

from mailer.storage.database import Database
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

    Arrivals and messages that have rows of their own are counted in one order: whoever looks at the mailbox sorts in
    its newest arrivals, and older ones stay packed behind them.
    """
    if not keep:
        return _HIGHEST
    arrivals = select(MailboxArrival.id, MailboxArrival.messages, MailboxArrival.size, true().label("packed"))
    sorted_in = select(MailboxMessage.id, literal(1), MailboxMessage.size, false())
    room, octets = keep, most_bytes
    for row in connection.execute(union_all(arrivals, sorted_in).order_by(desc("id"))):
        # of those that arrived together all stay while there is room for one
        too_large = octets <= 0 if row.packed else octets < row.size
        if room <= 0 or too_large:
            return int(row.id)
        room, octets = room - row.messages, octets - row.size
    return None
