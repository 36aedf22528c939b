"""Events are forgotten when they are older than their retention: in small steps, by one process at a time."""

from __future__ import annotations

from sqlalchemy import and_

from mailer.storage.database import Database
from mailer.storage.models import Event
from mailer.storage.steps.small_steps import Steps, delete_in_steps
from mailer.storage.steps.stepwise_task import StepwiseTask
from mailer.timeline.events import Kind

TASK = "event retention"  # its name among the scheduled tasks
PERIOD = 60 * 60 * 1000  # ms from one run to the next


def forgetting(db: Database, older_than: int) -> Steps:
    """Delete the events that are more than `older_than` ms old, a step at a time.

    A transfer stays: without it the timeline would tell that the new owner accepted the campaign.
    """
    with db.read() as connection:
        cutoff = db.clock(connection) - older_than
    yield from delete_in_steps(db, Event, and_(Event.at < cutoff, Event.kind != Kind.TRANSFERRED.value))


def event_retention(db: Database, older_than: int, lease: int) -> StepwiseTask:
    """The forgetting as a task that all processes share; both times are in ms."""
    return StepwiseTask(db, TASK, lambda: forgetting(db, older_than), lease=lease, period=PERIOD)
