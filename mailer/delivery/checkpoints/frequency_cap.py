"""No person gets more campaigns in a time than `MAILER_MAX_PER_PERSON` says; who would is skipped, with the reason.

A row of `recent_mails` says that a campaign is about to be sent to a user, or was. It counts while the message may
still go out, and once it may have arrived: not if it failed, or its campaign ended first. Checkpoints follow one
another, so that each sees what the others are about to send. Urgent campaigns and dry runs neither wait nor count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select

from mailer.audience.conditions import audience
from mailer.delivery.checkpoints.permission import Permission
from mailer.delivery.checkpoints.reach import without_others
from mailer.delivery.worklist import Claim
from mailer.settings.per_person import FrequencyCap
from mailer.storage.database import Database
from mailer.storage.dialects import Upsert, in_turn
from mailer.storage.models import Campaign, Delivery, DeliveryStatus, Priority, RecentMail, User
from mailer.storage.models.states import UNFINISHED
from mailer.storage.steps.small_steps import Steps, delete_in_steps
from mailer.storage.steps.stepwise_task import StepwiseTask

TASK = "recent mails"  # its name among the scheduled tasks
PERIOD = 60 * 60 * 1000  # ms from one run to the next
COUNTING = (DeliveryStatus.SENT, DeliveryStatus.UNCERTAIN, DeliveryStatus.DEFERRED)

_RESERVE = Upsert(
    RecentMail,
    lambda new: new.on_conflict_do_update(index_elements=["user_id", "campaign_id"], set_={"at": new.excluded.at}),
)


def wait_in_line(connection: Connection, claim: Claim, cap: FrequencyCap | None) -> None:
    """Wait for the checkpoints of others, if there is a cap. It is done before anything else is locked."""
    if cap is not None and _concerns(claim):
        in_turn(connection, "frequency cap")


def within(connection: Connection, claim: Claim, may: Permission, now: int, cap: FrequencyCap | None) -> Permission:
    """Return `may` without those who had enough campaigns by `now` (ms since 1970), and note the others."""
    if cap is None or not _concerns(claim) or not may.items:
        return may
    ids = [item.recipient.user_id for item in may.items]
    over = _over(connection, claim.campaign_id, ids, now - cap.span, cap.count)
    items = [item for item in may.items if item.recipient.user_id not in over]
    rows = [{"user_id": one.recipient.user_id, "campaign_id": claim.campaign_id, "at": now} for one in items]
    if rows:
        _RESERVE.run(connection, rows)
    return without_others(may, items, f"Has had {cap.count} within a {cap.unit} (MAILER_MAX_PER_PERSON).")


def who_had_enough(db: Database, query: Mapping[str, Any], cap: FrequencyCap, limit: float) -> int:
    """How many of the audience of `query` would be skipped now, since they had enough. `limit` is in seconds.

    Raises `QueryTimeout`.
    """
    with db.read(limit=limit) as connection:
        since = db.clock(connection) - cap.span
        had = _had(since, counting=or_(Delivery.status.in_(COUNTING), _COMING)).group_by(RecentMail.user_id)
        enough = had.with_only_columns(RecentMail.user_id).having(func.count() >= cap.count)
        mine = select(func.count()).select_from(User).where(User.id.in_(enough), audience(query))
        return connection.scalar(mine) or 0


def forgetting(db: Database, span: int) -> Steps:
    """Delete what is more than `span` ms old, a step at a time."""
    with db.read() as connection:
        cutoff = db.clock(connection) - span
    yield from delete_in_steps(db, RecentMail, RecentMail.at <= cutoff)


def forgetting_task(db: Database, cap: FrequencyCap | None, lease: int) -> StepwiseTask:
    """The forgetting as a task that all processes share. Without a cap, everything is forgotten. `lease` is in ms."""
    span = 0 if cap is None else cap.span
    return StepwiseTask(db, TASK, lambda: forgetting(db, span), lease=lease, period=PERIOD)


def _concerns(claim: Claim) -> bool:
    return not claim.dry_run and claim.priority is not Priority.URGENT


_COMING = and_(Delivery.status.is_(None), Campaign.state.in_(UNFINISHED))


def _had(since: int, *, counting: ColumnElement[bool]) -> Select[str, str]:
    """Who had which campaign after `since`, of those rows that count."""
    theirs = and_(Delivery.campaign_id == RecentMail.campaign_id, Delivery.user_id == RecentMail.user_id)
    query = select(RecentMail.user_id, RecentMail.campaign_id).outerjoin(Delivery, theirs)
    return query.outerjoin(Campaign, Campaign.id == RecentMail.campaign_id).where(RecentMail.at > since, counting)


def _over(connection: Connection, campaign_id: str, ids: Collection[str], since: int, most: int) -> set[str]:
    """Who of `ids` had `most` other campaigns after `since`. Whom this one reserved a place for keeps it."""
    counts = or_(RecentMail.campaign_id == campaign_id, Delivery.status.in_(COUNTING), _COMING)
    rows = connection.execute(_had(since, counting=counts).where(RecentMail.user_id.in_(ids))).all()
    mine = {row.user_id for row in rows if row.campaign_id == campaign_id}
    had = Counter(row.user_id for row in rows if row.campaign_id != campaign_id)
    return {user_id for user_id, count in had.items() if count >= most and user_id not in mine}
