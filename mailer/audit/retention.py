"""The audit log forgets what is older than its retention: in small steps, by one process at a time.

So does the history of unsubscriptions, but for the last event of each person, which tells why they are as they are.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, exists, or_
from sqlalchemy.orm import aliased

from mailer.storage.database import Database
from mailer.storage.models import AuditEntry, PersonNote, UnsubscribeEvent
from mailer.storage.steps.small_steps import Steps, delete_in_steps
from mailer.storage.steps.stepwise_task import StepwiseTask

TASK = "audit retention"  # its name among the scheduled tasks
PERIOD = 60 * 60 * 1000  # ms from one run to the next


def forgetting(db: Database, older_than: int) -> Steps:
    """Delete the acts that are more than `older_than` ms old, their notes, and past events, a step at a time."""
    with db.read() as connection:
        cutoff = db.clock(connection) - older_than
    yield from delete_in_steps(db, PersonNote, PersonNote.at < cutoff)  # first: SQLite gives an act's number again
    yield from delete_in_steps(db, AuditEntry, AuditEntry.at < cutoff)
    yield from delete_in_steps(db, UnsubscribeEvent, and_(UnsubscribeEvent.at < cutoff, _has_a_later()))


def _has_a_later() -> ColumnElement[bool]:
    """A condition: the same person has a later event or, where it belongs to nobody, the same address has."""
    later = aliased(UnsubscribeEvent)
    nobodys = and_(later.user_id.is_(None), UnsubscribeEvent.user_id.is_(None))
    same = or_(later.user_id == UnsubscribeEvent.user_id, and_(nobodys, later.address == UnsubscribeEvent.address))
    return exists().where(same, later.id > UnsubscribeEvent.id)


def audit_retention(db: Database, older_than: int, lease: int) -> StepwiseTask:
    """The forgetting as a task that all processes share; both times are in ms."""
    return StepwiseTask(db, TASK, lambda: forgetting(db, older_than), lease=lease, period=PERIOD)
