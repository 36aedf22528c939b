"""What must always be true of campaigns, batches and deliveries. Each check is one statement, so it sees one moment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Text, and_, cast, exists, func, or_, select
from sqlalchemy.orm import aliased

from mailer.delivery import ledger
from mailer.storage.database import Database
from mailer.storage.models import (
    Batch,
    BatchState,
    Campaign,
    CampaignDomain,
    CampaignMinute,
    CampaignState,
    Delivery,
    DeliveryStatus,
)

MAX_UNCERTAIN_ATTEMPTS = 2  # copies that a recipient may get, unless a person has them tried again
FINISHED = (CampaignState.COMPLETED, CampaignState.COMPLETED_WITH_ISSUES)
Query = Select[*tuple[Any, ...]]
# how many of a batch's recipients have an outcome, by its counters
COUNTED = sum((getattr(Batch, status) for status in DeliveryStatus), start=0 * Batch.planned)
NAMED = 20  # findings of one kind that are listed at most


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken invariant: what is wrong, in which campaign, and in which batch if it concerns a single one."""

    problem: str
    campaign_id: str
    batch: int | None = None

    def __str__(self) -> str:
        place = f"campaign {self.campaign_id}" + ("" if self.batch is None else f" batch {self.batch}")
        return f"{place}: {self.problem}"


def examine(db: Database) -> list[Finding]:
    """Return the broken invariants, at most `NAMED` of each kind. An empty list means that all is well."""
    with db.read() as connection:
        return [finding for problem, query in _checks().items() for finding in _findings(connection, problem, query)]


@cache
def _checks() -> dict[str, Query]:
    return {**_batch_checks(), **_delivery_checks(), **_campaign_checks(), **_minute_checks(), **_domain_checks()}


def _findings(connection: Connection, problem: str, query: Query) -> list[Finding]:
    return [Finding(problem, *row) for row in connection.execute(query.limit(NAMED))]


def _batch_checks() -> dict[str, Query]:
    place = select(Batch.campaign_id, Batch.number)
    twin = aliased(Batch)
    overlapping = and_(
        twin.campaign_id == Batch.campaign_id,
        twin.number != Batch.number,
        twin.domain == Batch.domain,
        twin.first_id <= Batch.last_id,
        twin.last_id >= Batch.first_id,
    )
    held = cast(Batch.attempting, Text) != "[]"
    return {
        "its counters are not those of its deliveries": _miscounted(),
        "it has more outcomes than were planned": place.where(Batch.planned < COUNTED),
        "a counter is below zero": place.where(or_(*(getattr(Batch, status) < 0 for status in DeliveryStatus))),
        "it overlaps with another batch": place.where(exists().where(overlapping)),
        "it is held by nobody and has messages being attempted": place.where(Batch.state != BatchState.RUNNING, held),
        "it is done and has outcomes missing": _ended().where(Batch.state == BatchState.DONE, Batch.planned != COUNTED),
        "it is done and has a delivery that is to be tried again": place.where(
            Batch.state == BatchState.DONE, exists().where(_of_batch(), Delivery.due_at.is_not(None))
        ),
    }


def _ended() -> Query:
    not_cancelled = and_(Campaign.id == Batch.campaign_id, Campaign.state != CampaignState.CANCELLED)
    return select(Batch.campaign_id, Batch.number).join(Campaign, not_cancelled)


def _miscounted() -> Query:
    counts = [func.count().filter(Delivery.status == status) for status in DeliveryStatus]
    counters = [getattr(Batch, status) for status in DeliveryStatus]
    found = select(Batch.campaign_id, Batch.number).outerjoin(Delivery, _of_batch())
    found = found.group_by(Batch.campaign_id, Batch.number, *counters)
    return found.having(or_(*(counter != count for counter, count in zip(counters, counts, strict=True))))


def _delivery_checks() -> dict[str, Query]:
    final = Delivery.status.in_([DeliveryStatus.SENT, DeliveryStatus.FAILED, DeliveryStatus.SKIPPED])
    due = Delivery.due_at.is_not(None)
    return {
        "a delivery belongs to no batch": _deliveries(~exists().where(_of_batch())),
        "a final delivery is to be tried again": _deliveries(and_(final, due)),
        "a deferred delivery is never to be tried again": _deliveries(
            and_(Delivery.status == DeliveryStatus.DEFERRED, ~due)
        ),
        "a bounce has no time, or does not say whom it is about": _deliveries(
            Delivery.bounced_at.is_(None) != Delivery.bounce_about.is_(None)
        ),
        "a bounce or a complaint is on record of a dry run": _deliveries(
            and_(
                or_(Delivery.bounced_at.is_not(None), Delivery.complained_at.is_not(None)),
                exists().where(Campaign.id == Delivery.campaign_id, Campaign.dry_run),
            )
        ),
        "a recipient may have had more copies than are allowed": _deliveries(
            Delivery.uncertain_attempts > MAX_UNCERTAIN_ATTEMPTS
        ),
    }


def _campaign_checks() -> dict[str, Query]:
    campaign = select(Campaign.id)
    batches = exists().where(Batch.campaign_id == Campaign.id)
    unfinished = exists().where(Batch.campaign_id == Campaign.id, Batch.state != BatchState.DONE)
    waiting = exists().where(Batch.campaign_id == Campaign.id, Batch.state == BatchState.WAITING)
    early = Campaign.state.in_([CampaignState.ACCEPTED, CampaignState.PLANNING])
    ended = Campaign.state.in_([*FINISHED, CampaignState.CANCELLED, CampaignState.FAILED])
    return {
        "it is not planned yet and has batches": campaign.where(early, batches),
        "it is completed and has a batch that is not done": campaign.where(Campaign.state.in_(FINISHED), unfinished),
        "it is cancelled and has a batch that waits": campaign.where(
            Campaign.state == CampaignState.CANCELLED, waiting
        ),
        "it is running and has no batch left to run": campaign.where(
            Campaign.state == CampaignState.RUNNING, ~unfinished
        ),
        "it is over and has no end on record": campaign.where(ended, Campaign.finished_at.is_(None)),
        "it has an end on record and is not over": campaign.where(~ended, Campaign.finished_at.is_not(None)),
    }


def _minute_checks() -> dict[str, Query]:
    """Less than the batches say is no fault: an earlier version keeps no minutes, and may run beside this one."""
    final = (DeliveryStatus.SENT, DeliveryStatus.SKIPPED)  # the others may be tried again, and then count once more
    checks = {}
    for status in final:
        counted = select(func.sum(getattr(Batch, status))).where(Batch.campaign_id == CampaignMinute.campaign_id)
        told = select(CampaignMinute.campaign_id).group_by(CampaignMinute.campaign_id)
        more = func.sum(getattr(CampaignMinute, status)) > counted.scalar_subquery()
        checks[f"its minutes have more outcomes that are {status} than its batches"] = told.having(more)
    return checks


def _domain_checks() -> dict[str, Query]:
    """Less is no fault here either."""
    counted = select(func.sum(Batch.sent)).where(Batch.campaign_id == CampaignDomain.campaign_id)
    told = select(CampaignDomain.campaign_id).group_by(CampaignDomain.campaign_id)
    more = told.having(func.sum(CampaignDomain.sent) > counted.scalar_subquery())
    return {"its domains have more outcomes that are sent than its batches": more}


def _deliveries(condition: ColumnElement[bool]) -> Query:
    return select(Delivery.campaign_id).where(condition).distinct()


def _of_batch() -> ColumnElement[bool]:
    return and_(Delivery.campaign_id == Batch.campaign_id, ledger.of_batch())
