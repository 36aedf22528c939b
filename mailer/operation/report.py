"""What went on while nobody looked: outages, what was late and by how much, and what waits for a person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mailer.campaigns.control import BY_HAND
from mailer.campaigns.reports.bounces import NOTHING_REPORTED, ReportedCounts, reported_since
from mailer.campaigns.reports.standstills import Late, Standstill, late, looked_at, standstills
from mailer.errors import InvalidParams
from mailer.operation.standing import standing
from mailer.settings import Settings
from mailer.storage.database import AnyRow, Database
from mailer.storage.models import CampaignState
from mailer.timeline.events import Kind, latest
from mailer.times import to_iso

NIGHT = 12 * 60 * 60 * 1000  # ms
ROWS = 1000  # lost workers that are counted at most


@dataclass(frozen=True, slots=True)
class Report:
    """From `since` to `now` (ms since 1970).

    `outages` is what stood still in that time. `late` are the campaigns that were open in it and stood still for a
    minute or longer. `workers_lost` is how many batches were taken over from a worker that died or was frozen.
    `needs_a_person` has a sentence each for what does not go on by itself; empty: nothing. `reported` is how many
    messages were reported as bounced or marked as spam in that time, whenever they were sent.
    """

    since: int
    now: int
    outages: tuple[Standstill, ...]
    late: tuple[Late, ...]
    workers_lost: int
    needs_a_person: tuple[str, ...]
    reported: ReportedCounts = NOTHING_REPORTED


def report(db: Database, settings: Settings, since: int | None = None) -> Report:
    """The report of the time from `since` on, in ms since 1970; None: of the last twelve hours.

    Raises `InvalidParams` for a time to come.
    """
    with db.read() as connection:
        now = db.clock(connection)
        since = now - NIGHT if since is None else since
        if since > now:
            raise InvalidParams("since: Is still to come.", field="since")
        campaigns = looked_at(connection, since)
        found = standstills(connection, campaigns, since)
        lost = len(latest(connection, kinds=(Kind.WORKER_LOST,), since=since, count=ROWS))
        reported = reported_since(connection, since)
    outages = tuple(one for one in found if (one.until is None or one.until >= since) and one.cause != "failed")
    wrong = (*standing(db, settings).needs_a_person, *filter(None, map(_waits, campaigns)))
    return Report(since, now, outages, tuple(late(campaigns, found, now)), lost, wrong, reported)


def _waits(campaign: AnyRow) -> str | None:
    """Why a campaign waits for a person; None: it does not."""
    if campaign.state == CampaignState.FAILED:
        return f"campaign {campaign.id} failed: {campaign.reason}; `mailer campaigns retry-failed` goes on with it"
    if campaign.state == CampaignState.PAUSED:
        who = campaign.reason if campaign.reason in BY_HAND else f"paused: {campaign.reason}"
        return f"campaign {campaign.id} is {who}; `mailer campaigns resume` or `cancel`"
    if campaign.state == CampaignState.COMPLETED_WITH_ISSUES:
        return f"campaign {campaign.id} ended with issues; `mailer campaigns show` counts them"
    return None


def night(found: Report) -> dict[str, Any]:
    """The report as the API answers it: its names, times as ISO 8601, and how late in seconds."""
    return {
        "since": to_iso(found.since),
        "until": to_iso(found.now),
        "outages": [_outage(one) for one in found.outages],
        "late": [_late(one) for one in found.late],
        "workersLost": found.workers_lost,
        **found.reported._asdict(),
        "needsAPerson": list(found.needs_a_person),
    }


def _outage(one: Standstill) -> dict[str, Any]:
    until = None if one.until is None else to_iso(one.until)
    about = {"reason": one.reason, "tries": one.tries, "by": one.by, "campaign": one.campaign_id}
    return {"cause": one.cause, "since": to_iso(one.since), "until": until, **about}


def _late(one: Late) -> dict[str, Any]:
    whose = {"campaign": one.campaign_id, "callerId": one.caller_id, "state": one.state}
    return {**whose, "lateSeconds": one.late // 1000, "causes": list(one.causes)}
