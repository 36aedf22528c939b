"""The audit log forgets what is older than its retention: in small steps, by one process at a time."""

from __future__ import annotations

from mailer.storage.database import Database
from mailer.storage.models import AuditEntry, PersonNote
from mailer.storage.steps.small_steps import Steps, delete_in_steps
from mailer.storage.steps.stepwise_task import StepwiseTask

TASK = "audit retention"  # its name among the scheduled tasks
PERIOD = 60 * 60 * 1000  # ms from one run to the next


def forgetting(db: Database, older_than: int) -> Steps:
    """Delete the acts that are more than `older_than` ms old, and their notes, a step at a time."""
    with db.read() as connection:
        cutoff = db.clock(connection) - older_than
    yield from delete_in_steps(db, PersonNote, PersonNote.at < cutoff)  # first: SQLite gives an act's number again
    yield from delete_in_steps(db, AuditEntry, AuditEntry.at < cutoff)


def audit_retention(db: Database, older_than: int, lease: int) -> StepwiseTask:
    """The forgetting as a task that all processes share; both times are in ms."""
    return StepwiseTask(db, TASK, lambda: forgetting(db, older_than), lease=lease, period=PERIOD)
