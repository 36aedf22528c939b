"""A campaign in numbers: its pace, and what came of it by domain and by answer. Quick, however many it was for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, func, select

from mailer.campaigns.progress import CANCELLING, Progress
from mailer.campaigns.reports.bounces import BounceCount, bounce_counts
from mailer.delivery.minutes import MINUTE, elapsed, lately
from mailer.delivery.tallies.answers import AnswerCount, answer_counts
from mailer.delivery.tallies.domains import DomainCounts, domain_counts
from mailer.storage.database import AnyRow, Database
from mailer.storage.models import Campaign, CampaignMinute, CampaignState, DeliveryStatus

STOPPED = (CampaignState.CANCELLED, CANCELLING)
CANCELLED = "The campaign was cancelled."  # as the deliveries have it


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a campaign is: messages sent a minute, lately or, once it has ended, over all its minutes.

    `seconds_left` follows from it; None: nothing is sent now, or nobody is left.
    """

    per_minute: int
    seconds_left: int | None = None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """How many were skipped for the same reason, in words."""

    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class Report:
    """The numbers of one campaign.

    `failures` are grouped by the answer, without what differs between recipients; `bounces`, which came back after they
    were sent, by their code. `left_out` are those who were skipped while it was sent. `from_the_start` counts by reason
    whom the query selected and who could not be written to when it was planned; they are in no other count.
    """

    pace: Pace
    domains: Sequence[DomainCounts]
    failures: Sequence[AnswerCount]
    left_out: Sequence[LeftOut]
    from_the_start: Mapping[str, int]
    bounces: Sequence[BounceCount] = ()


def report(db: Database, one: Progress) -> Report:
    """Return the report of the campaign that `one` shows."""
    with db.read() as connection:
        now = db.clock(connection)
        pace = _average(connection, one) if one.finished_at is not None else _lately(connection, one, now)
        domains, answers = domain_counts(connection, one.id), answer_counts(connection, one.id)
        bounces = bounce_counts(connection, one.id, one.bounced) if one.bounced else []
        without = connection.scalar(select(Campaign.left_out).where(Campaign.id == one.id))
    if one.state in STOPPED:  # it has skipped whoever was to be tried again
        domains = [replace(each, skipped=each.skipped + each.deferred, deferred=0) for each in domains]
    failures = [each for each in answers if each.status == DeliveryStatus.FAILED]
    return Report(pace, domains, failures, _left_out(one, answers), without or {}, bounces)


def _lately(connection: Connection, one: Progress, now: int) -> Pace:
    final = CampaignMinute.sent + CampaignMinute.failed + CampaignMinute.skipped
    counts = (func.sum(CampaignMinute.sent), func.sum(final), func.min(CampaignMinute.minute))
    mine = (CampaignMinute.campaign_id == one.id, CampaignMinute.minute >= lately(now))
    row: AnyRow = connection.execute(select(*counts).where(*mine)).one()
    sent, recent, first = row
    if first is None:
        return Pace(0)
    time = elapsed(first, one.started_at, now)
    left = one.planned - one.sent - one.failed - one.skipped
    seconds = math.ceil(left * time / (1000 * int(recent))) if one.state == CampaignState.RUNNING and recent else None
    return Pace(round(int(sent) * MINUTE / time), seconds)


def _average(connection: Connection, one: Progress) -> Pace:
    """Over the minutes in which something was sent: what it rested or was paused is no part of its pace."""
    with_some = (CampaignMinute.campaign_id == one.id, CampaignMinute.sent > 0)
    counts = (func.sum(CampaignMinute.sent), func.count(CampaignMinute.minute.distinct()))
    sent, minutes = connection.execute(select(*counts).where(*with_some)).one()
    return Pace(round(int(sent or 0) / minutes) if minutes else 0)


def _left_out(one: Progress, answers: Sequence[AnswerCount]) -> list[LeftOut]:
    """By reason. What a cancellation has skipped at once is no answer of its own, and is what is left over."""
    told = [LeftOut(each.answer, each.count) for each in answers if each.status == DeliveryStatus.SKIPPED]
    rest = one.skipped - sum(each.count for each in told)
    return [*told, *([LeftOut(CANCELLED, rest)] if rest > 0 and one.state in STOPPED else [])]
