"""What a restored backup begins with: all sending held, and every campaign of before paused.

The backup does not know what was sent after it was made. So nothing of before may go out until a person has decided,
for each campaign, whether it may have been sent already. Nor does it know which tokens were ended since: none of them
works until an operator says so.
"""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select, update

from mailer.audit.actor import current_actor
from mailer.audit.log import Act, record
from mailer.callers import held_tokens
from mailer.storage.models import (
    Batch,
    BatchState,
    Campaign,
    CampaignState,
    LoginLink,
    PageSession,
    ScheduledTask,
    SeenWorker,
    SendingHold,
)
from mailer.storage.models.states import ACTIVE
from mailer.timeline.events import Kind, happened
from mailer.times import to_iso

EPOCH = 1_000_000  # by which fences rise: no process of before can have come so far, so none can write any more


def stamp(connection: Connection, made_at: int, now: int) -> None:
    """Begin a new epoch in a database that was restored from a backup of `made_at`. Times are in ms since 1970."""
    moment = to_iso(made_at, precision="seconds")
    reason = f"restored from a backup of {moment}; it may have been sent since: see `mailer reconcile`"
    open_now = Campaign.state.in_(ACTIVE)
    paused = {"state": CampaignState.PAUSED, "reason": reason}
    happened(connection, now, Kind.RESTORED, made=moment, made_at=made_at, by=current_actor().who)
    for campaign_id in connection.scalars(select(Campaign.id).where(open_now)).all():
        happened(connection, now, Kind.PAUSED, campaign_id, reason=reason)
    count = connection.execute(update(Campaign).where(open_now).values(**paused)).rowcount
    for table in (Campaign, Batch):
        connection.execute(update(table).values(fence=table.fence + EPOCH))
    nobodys = update(Batch).where(Batch.state == BatchState.RUNNING)  # no worker of before holds a batch any more
    connection.execute(nobodys.values(due_at=0))
    connection.execute(update(ScheduledTask).values(lease_ends_at=None))
    held_tokens.hold(connection)
    for gone in (SeenWorker, LoginLink, PageSession, SendingHold):
        connection.execute(delete(gone))
    held = {"reason": f"restored from a backup of {moment}", "since": now, "held_by": current_actor().who}
    connection.execute(insert(SendingHold).values(id=1, **held))
    happened(connection, now, Kind.HELD, reason=held["reason"], by=held["held_by"])
    record(connection, now, Act.RESTORE, made_at=moment, paused=count)
