"""Purge finished campaigns: delete what they said and their addresses, keep their counts and each outcome.

`mailer purge` does it at once, and `MAILER_RETENTION` has the service do it by itself. Both take the same steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, or_, select, update

from mailer.audit.log import Act, record
from mailer.campaigns import draft
from mailer.delivery import minutes, same_refusals
from mailer.delivery.tallies import answers, domains
from mailer.mailbox.forgetting import forget_campaign
from mailer.storage.database import Database
from mailer.storage.models import (
    Batch,
    BatchState,
    Campaign,
    CampaignText,
    Delivery,
    IdempotencyKey,
    RateLimit,
    RefusedAddress,
)
from mailer.storage.steps.small_steps import STEP, Steps, delete_in_steps, run_steps
from mailer.storage.steps.stepwise_task import StepwiseTask

TASK = "retention"  # its name among the scheduled tasks
PERIOD = 60 * 60 * 1000  # ms from one look for what is too old to the next

DAY = 24 * 60 * 60 * 1000  # ms
TOGETHER = 50  # small campaigns in a step: each takes some 2 ms, and alone it would take a commit and a pause


@dataclass(frozen=True, slots=True)
class Purged:
    """How many campaigns were purged, and from how many of their deliveries an address or a reply was deleted."""

    campaigns: int
    deliveries: int


def purge(db: Database, older_than: int, key_lifetime: int = DAY) -> Purged:
    """Purge as `purging` does, all of it now."""
    done = run_steps(purging(db, older_than, key_lifetime))
    purged = {"campaigns": done["campaigns"], "deliveries": done["deliveries"]}
    with db.write() as connection:
        record(connection, db.clock(connection), Act.PURGE_CAMPAIGNS, older_than_days=older_than // DAY, **purged)
    return Purged(done["campaigns"], done["deliveries"])


def purgeable(db: Database, older_than: int) -> Purged:
    """What `purge` would do to campaigns and their deliveries now. Changes nothing."""
    with db.read() as connection:
        over = _over(db.clock(connection) - older_than)
        campaigns = select(func.count()).select_from(Campaign).where(over)
        with_text = and_(Delivery.campaign_id == Campaign.id, _has_text())
        deliveries = select(func.count()).select_from(Campaign).join(Delivery, with_text).where(over)
        return Purged(connection.scalar(campaigns) or 0, connection.scalar(deliveries) or 0)


def retention_task(db: Database, older_than: int, lease: int, key_lifetime: int = DAY) -> StepwiseTask:
    """The purge as a task that all processes share; all times are in ms."""
    return StepwiseTask(db, TASK, lambda: purging(db, older_than, key_lifetime), lease=lease, period=PERIOD)


def purging(db: Database, older_than: int, key_lifetime: int = DAY) -> Steps:
    """Purge every campaign that ended more than `older_than` ms ago, a step at a time.

    An Idempotency-Key stays for `key_lifetime` ms at least, however soon campaigns are purged.

    It deletes what the campaign said (its draft, and each version of its text), its reason, its minutes, its counts by
    answer and domain, its messages in the mailbox, and the addresses and replies of its deliveries, since replies quote
    addresses. Ids, states, counts and times stay, so that a later campaign can still be for those who have not had it.
    Suppressed addresses stay too, until a person lifts them. Recorded refusals of other addresses are deleted when they
    are as old. A purge that was interrupted can be run again: a campaign's draft goes last, and until then the campaign
    is found.
    """
    with db.read() as connection:
        cutoff = db.clock(connection) - older_than
        campaign_ids = connection.scalars(select(Campaign.id).where(_over(cutoff)).order_by(Campaign.id)).all()
    yield from _strip_all(db, campaign_ids)
    forgotten = and_(RefusedAddress.refused_at < cutoff, RefusedAddress.suppressed_at.is_(None))
    expired = IdempotencyKey.created_at < cutoff - max(0, key_lifetime - older_than)
    yield from delete_in_steps(db, IdempotencyKey, expired)
    yield from delete_in_steps(db, RefusedAddress, forgotten)
    yield from delete_in_steps(db, RateLimit, RateLimit.expires_at < cutoff)


def _over(cutoff: int) -> ColumnElement[bool]:
    """A condition: the campaign ended before `cutoff` (ms since 1970), and is not purged yet."""
    return and_(Campaign.finished_at < cutoff, Campaign.body != "")


def _strip_all(db: Database, campaign_ids: Iterable[str]) -> Steps:
    """Strip small campaigns together, and each of the others in steps of its own."""
    small: list[str] = []
    room = STEP
    for campaign_id in campaign_ids:
        first = _unstripped(db, campaign_id, "")
        if small and (len(small) == TOGETHER or len(first) > room):
            yield _strip_small(db, small)
            small, room = [], STEP
        if len(first) < STEP:
            small, room = [*small, campaign_id], room - len(first)
        else:
            yield from _strip(db, campaign_id, first)
    if small:
        yield _strip_small(db, small)


def _strip_small(db: Database, campaign_ids: Iterable[str]) -> dict[str, int]:
    """Strip these whole. One that somebody has locked is left for the next look: they may wait for another of them."""
    done = {"deliveries": 0, "campaigns": 0}
    with db.write() as connection:
        for campaign_id in campaign_ids:
            if _lock_ended(connection, campaign_id, skip_locked=True):
                done["deliveries"] += _strip_deliveries(connection, Delivery.campaign_id == campaign_id)
                done["campaigns"] += _forget_draft(connection, campaign_id)
    return done


def _strip(db: Database, campaign_id: str, user_ids: list[str]) -> Iterator[dict[str, int]]:
    """Strip a large one, a range at a time; `user_ids` are the first that `_unstripped` has found."""
    while user_ids:
        stripped = _strip_range(db, campaign_id, user_ids[0], user_ids[-1])
        if stripped is None:
            return
        yield {"deliveries": stripped}
        user_ids = _unstripped(db, campaign_id, user_ids[-1])
    with db.write() as connection:
        forgotten = _lock_ended(connection, campaign_id) and _forget_draft(connection, campaign_id)
    yield {"campaigns": int(forgotten)}


def _unstripped(db: Database, campaign_id: str, last: str) -> list[str]:
    """The ids of the next users after `last` whose deliveries still have an address or a reply."""
    mine = and_(Delivery.campaign_id == campaign_id, Delivery.user_id > last, _has_text())
    with db.read() as connection:
        return list(connection.scalars(select(Delivery.user_id).where(mine).order_by(Delivery.user_id).limit(STEP)))


def _strip_range(db: Database, campaign_id: str, first_id: str, last_id: str) -> int | None:
    """Purge these deliveries and return how many they were; None if the campaign has begun again meanwhile."""
    ids = (Delivery.user_id >= first_id, Delivery.user_id <= last_id)
    with db.write(durable=False) as connection:  # the last step of the campaign is durable, and with it all before it
        if not _lock_ended(connection, campaign_id):
            return None
        return _strip_deliveries(connection, Delivery.campaign_id == campaign_id, *ids)


def _strip_deliveries(connection: Connection, *which: ColumnElement[bool]) -> int:
    connection.execute(update(Delivery).where(*which, Delivery.bounce_reply != "").values(bounce_reply=""))
    return connection.execute(update(Delivery).where(*which, _has_text()).values(address=None, reply="")).rowcount


def _forget_draft(connection: Connection, campaign_id: str) -> int:
    same_refusals.forget(connection, campaign_id)
    minutes.forget(connection, campaign_id)
    answers.forget(connection, campaign_id)
    domains.forget(connection, campaign_id)
    connection.execute(delete(CampaignText).where(CampaignText.campaign_id == campaign_id))
    forget_campaign(connection, campaign_id)
    nothing = {**draft.forgotten(), "reason": None, "fingerprint": None}
    return connection.execute(update(Campaign).where(Campaign.id == campaign_id).values(**nothing)).rowcount


def _lock_ended(connection: Connection, campaign_id: str, *, skip_locked: bool = False) -> bool:
    """Lock the campaign, so that it cannot begin again; False if it has not ended or a worker holds a batch of it."""
    at_work = exists().where(Batch.campaign_id == campaign_id, Batch.state == BatchState.RUNNING)
    ended = select(Campaign.id).where(Campaign.id == campaign_id, Campaign.finished_at.is_not(None), ~at_work)
    locked = ended.with_for_update(of=Campaign, skip_locked=skip_locked)
    return connection.execute(locked).one_or_none() is not None


def _has_text() -> ColumnElement[bool]:
    return or_(Delivery.address.is_not(None), Delivery.reply != "", Delivery.bounce_reply != "")
