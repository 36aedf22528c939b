"""Pause a campaign of which too many recipients fail for good, before it burns the rest."""

from __future__ import annotations

from sqlalchemy import Connection, and_, func, select, update

from mailer.storage.models import Batch, Campaign, CampaignState
from mailer.timeline.events import Kind, happened

TOO_MANY = "MAILER_MAX_FAILURE_RATE"  # a campaign whose reason names this setting was paused by it
ENOUGH_TO_JUDGE = 100  # outcomes before a campaign's share of failures means anything


def pause_if_failing(connection: Connection, campaign_id: str, max_rate: float, now: int) -> None:
    """Pause the campaign at `now` (ms since 1970) if more than `max_rate`, a share from 0 to 1, of those done failed.

    A campaign that a person has resumed after such a pause goes on.
    """
    sums = select(func.sum(Batch.sent), func.sum(Batch.failed)).where(Batch.campaign_id == campaign_id)
    sent, failed = connection.execute(sums).one()
    if sent + failed >= ENOUGH_TO_JUDGE and failed > max_rate * (sent + failed):
        reason = f"{failed} of {sent + failed} recipients failed, more than {TOO_MANY} allows"
        going = Campaign.state.in_([CampaignState.RUNNING, CampaignState.RESTING])
        mine = and_(Campaign.id == campaign_id, going, ~Campaign.failures_known)
        pausing = update(Campaign).where(mine).values(state=CampaignState.PAUSED, reason=reason)
        if connection.execute(pausing).rowcount:
            happened(connection, now, Kind.PAUSED, campaign_id, reason=reason, limit=TOO_MANY)
