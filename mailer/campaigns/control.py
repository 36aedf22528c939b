"""Pause a campaign, resume it, cancel it, or try its failures again.

With `caller_id`, only a campaign of this caller is found. Every function raises `NotFound` if there is no such
campaign, and `InvalidState` if its state does not allow the change. One that another campaign follows, for those who
have not had it, sends nothing more.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select, update

from mailer.audience.bounds import RECIPIENTS
from mailer.audit.actor import Via, current_actor
from mailer.audit.log import Act, record
from mailer.campaigns import referrals
from mailer.delivery import ledger, same_refusals
from mailer.delivery.checkpoints.failing import TOO_MANY
from mailer.delivery.minutes import RecordedOutcomes
from mailer.delivery.tallies import answers, domains
from mailer.errors import InvalidState, NotFound
from mailer.storage.database import AnyRow, Database
from mailer.storage.models import Campaign, CampaignState, DeliveryStatus
from mailer.storage.models.states import BEGUN, UNFINISHED, WITH_ISSUES
from mailer.storage.notifications import announce_work
from mailer.timeline.events import Kind, happened

BY_A_PERSON = "paused by a person"
BY_AN_OPERATOR = "paused by an operator"
BY_HAND = (BY_A_PERSON, BY_AN_OPERATOR)


def pause(db: Database, campaign_id: str, caller_id: str | None = None) -> None:
    """Send nothing from the next checkpoint on. The campaign must run or rest; if it is paused, nothing changes."""
    with db.write() as connection:
        campaign = _lock(connection, campaign_id, caller_id)
        _require(campaign, "paused", *BEGUN)
        if campaign.state != CampaignState.PAUSED:
            _set(connection, campaign_id, state=CampaignState.PAUSED, reason=_by(campaign))
            _tell(connection, db.clock(connection), Kind.PAUSED, campaign_id)
        record(connection, db.clock(connection), Act.PAUSE_CAMPAIGN, campaign_id)


def _by(campaign: AnyRow) -> str:
    """Why it is paused: its caller should see when it was somebody else."""
    actor = current_actor()
    return BY_AN_OPERATOR if actor.via in (Via.API, Via.PAGE) and actor.who != campaign.caller_id else BY_A_PERSON


def resume(db: Database, campaign_id: str, caller_id: str | None = None) -> None:
    """Continue a paused or resting campaign at once, where it stopped.

    A campaign that was paused for the share of its failures is not paused for that again. One that was paused for the
    number of its recipients goes to those who were planned.
    """
    with db.write() as connection:
        campaign = _lock(connection, campaign_id, caller_id)
        _require(campaign, "resumed", CampaignState.PAUSED, CampaignState.RESTING)
        referrals.refuse_if_followed(connection, campaign_id, "resumed", campaign.state)
        paused_itself = campaign.state == CampaignState.PAUSED and campaign.reason not in BY_HAND
        reason = f"resumed by a person; was paused: {campaign.reason}" if paused_itself else None
        known = {"failures_known": True} if TOO_MANY in (campaign.reason or "") else {}
        now = db.clock(connection)
        _set(connection, campaign_id, reason=reason, **known, **_going(campaign, now))
        if campaign.expected is not None:
            ledger.complete_campaign(connection, campaign_id, now)  # at once, if it was planned for nobody
        announce_work(connection)
        _tell(connection, now, Kind.RESUMED, campaign_id)
        record(connection, now, Act.RESUME_CAMPAIGN, campaign_id)


def _going(campaign: AnyRow, now: int) -> dict[str, Any]:
    """What to write to the columns of a campaign that continues: with planning if it has no batches yet."""
    state = CampaignState.ACCEPTED if campaign.started_at is None else CampaignState.RUNNING
    return {"state": state, "due_at": now, "rests": 0, "errors": 0}


def cancel(db: Database, campaign_id: str, caller_id: str | None = None) -> int:
    """Send nothing more, from the next checkpoint on. What was sent stays on record.

    Returns how many recipients are skipped who were waiting for another attempt.
    """
    outcomes = RecordedOutcomes()
    with db.write() as connection:
        campaign = _lock(connection, campaign_id, caller_id)
        _require(campaign, "cancelled", *UNFINISHED)
        now = db.clock(connection)
        skipped = ledger.close_waiting(connection, campaign_id, now)
        _set(connection, campaign_id, state=CampaignState.CANCELLED, reason=None, finished_at=now)
        outcomes.add(campaign_id, now, {DeliveryStatus.SKIPPED: skipped})
        outcomes.store(connection)
        _tell(connection, now, Kind.CANCELLED, campaign_id, skipped=skipped)
        record(connection, now, Act.CANCEL_CAMPAIGN, campaign_id)
    return skipped


def retry_failed(db: Database, campaign_id: str, caller_id: str | None = None, *, uncertain: bool = False) -> int:
    """Try all failed recipients again, and with `uncertain` those who may have the message; return how many they are.

    A completed campaign runs again, and a failed one goes on. Raises `InvalidState` if the campaign was cancelled or
    purged, has not begun, or was completed without failures.
    """
    statuses = [DeliveryStatus.FAILED, *([DeliveryStatus.UNCERTAIN] if uncertain else [])]
    with db.write() as connection:
        campaign = _lock(connection, campaign_id, caller_id)
        _require(campaign, "tried again", *BEGUN, *WITH_ISSUES)
        if not campaign.body:
            raise InvalidState("The campaign's body was purged.", state=campaign.state)
        referrals.refuse_if_followed(connection, campaign_id, "tried again", campaign.state)
        now = db.clock(connection)
        moved = domains.reopening(connection, campaign_id, statuses)
        count = ledger.reopen(connection, campaign_id, statuses, now)
        if count:
            same_refusals.forget(connection, campaign_id)
        announce_work(connection)
        if count or campaign.state == CampaignState.FAILED:
            _tell(connection, now, Kind.RETRIED, campaign_id, recipients=count)
        if campaign.state == CampaignState.FAILED or (count and campaign.state in WITH_ISSUES):
            _set(connection, campaign_id, reason=None, finished_at=None, **_going(campaign, now))
            ledger.complete_campaign(connection, campaign_id, now)  # at once, if it failed after its last message
        record(connection, now, Act.RETRY_CAMPAIGN, campaign_id, retried=count, uncertain=uncertain)
        answers.reopening(connection, campaign_id)
        domains.add(connection, campaign_id, moved)
    return count


def _tell(connection: Connection, now: int, kind: Kind, campaign_id: str, **details: Any) -> None:
    happened(connection, now, kind, campaign_id, by=current_actor().who, **details)


def _lock(connection: Connection, campaign_id: str, caller_id: str | None) -> AnyRow:
    facts = (Campaign.state, Campaign.reason, Campaign.body, Campaign.started_at, Campaign.caller_id)
    query = select(*facts, Campaign.query[RECIPIENTS].label("expected")).where(Campaign.id == campaign_id)
    if caller_id is not None:
        query = query.where(Campaign.caller_id == caller_id)
    campaign = connection.execute(query.with_for_update(key_share=True)).one_or_none()
    if campaign is None:
        raise NotFound(f"There is no campaign {campaign_id}.")
    return campaign


def _require(campaign: AnyRow, action: str, *states: CampaignState) -> None:
    if campaign.state not in states:
        raise InvalidState(f"The campaign is {campaign.state}, so it cannot be {action}.", state=campaign.state)


def _set(connection: Connection, campaign_id: str, **values: Any) -> None:
    connection.execute(update(Campaign).where(Campaign.id == campaign_id).values(**values))
