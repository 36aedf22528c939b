"""An operator holds all sending: one row of the database, which every process sees at its next claim and checkpoint.

While the row is there nothing is claimed, dry runs included, and a batch in hand ends after its checkpoint and is given
back with nobody's attempts used up. Accepting and planning go on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, select

from mailer.audit.actor import current_actor
from mailer.audit.log import Act, record
from mailer.storage.database import Database
from mailer.storage.dialects import Upsert
from mailer.storage.models import Batch, BatchState, SendingHold
from mailer.storage.notifications import announce_work
from mailer.text import is_one_line
from mailer.timeline.events import Kind, happened
from mailer.times import to_iso

MAX_REASON = 1000  # characters

_HOLD = select(SendingHold.since, SendingHold.held_by, SendingHold.reason)
_FIRST = Upsert(SendingHold, lambda new: new.on_conflict_do_nothing())


@dataclass(frozen=True, slots=True)
class Hold:
    """Sending is held since `since` (ms since 1970), by a caller or a user of the system, for a reason."""

    since: int
    by: str
    reason: str

    def __str__(self) -> str:
        """Since when and why, for everybody."""
        return f"held since {to_iso(self.since, precision='seconds')}: {self.reason}"


def is_reason(text: str) -> bool:
    """Whether `text` can be why all sending is held: a line with something in it."""
    return bool(text.strip()) and len(text) <= MAX_REASON and is_one_line(text)


def current_hold(connection: Connection) -> Hold | None:
    """The hold on all sending; None: there is none."""
    found = connection.execute(_HOLD).one_or_none()
    return Hold(*found) if found else None


def held(db: Database) -> Hold | None:
    """The same of the database, by itself."""
    with db.read() as connection:
        return current_hold(connection)


def hold(db: Database, reason: str) -> Hold:
    """Have nothing sent from the next checkpoint on. If sending is held already, that hold stays; it is returned."""
    with db.write() as connection:
        now = db.clock(connection)
        by, before = current_actor().who, current_hold(connection)
        _FIRST.run(connection, {"id": 1, "reason": reason, "since": now, "held_by": by})
        if before is None:
            happened(connection, now, Kind.HELD, reason=reason, by=by)
        record(connection, now, Act.HOLD_SENDING, reason=reason)
        return current_hold(connection) or Hold(now, by, reason)


def release(db: Database) -> Hold | None:
    """Have everything go on where it stopped, and return the hold that ends; None: there was none."""
    with db.write() as connection:
        ended = current_hold(connection)
        connection.execute(delete(SendingHold))
        held = {"since": to_iso(ended.since), "reason": ended.reason} if ended else {}
        now = db.clock(connection)
        record(connection, now, Act.RELEASE_SENDING, **held)
        if ended is not None:
            told: dict[str, Any] = {"reason": ended.reason, "since": ended.since, "held_by": ended.by}
            happened(connection, now, Kind.RELEASED, by=current_actor().who, **told)
        announce_work(connection)
        return ended


def batches_in_hand(connection: Connection, now: int) -> int:
    """How many batches are being sent at `now` (ms). After a hold they end within a checkpoint each."""
    held = select(func.count()).where(Batch.state == BatchState.RUNNING, Batch.due_at > now)
    return connection.execute(held).scalar_one()
