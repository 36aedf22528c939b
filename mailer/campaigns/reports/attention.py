"""Which campaigns wait for a person, in numbers: for alerts, metrics and the health of the service."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, and_, func, or_, select

from mailer.campaigns.control import BY_HAND
from mailer.storage.database import Database
from mailer.storage.models import Campaign, CampaignState

RECENT = 24 * 60 * 60 * 1000  # ms for which a failed campaign counts as needing attention


def needing_attention(db: Database) -> Mapping[str, int]:
    """Count by state the campaigns that rest, that the service itself has paused, or that failed within a day."""
    with db.read() as connection:
        return attention_needed(connection, db.clock(connection))


def attention_needed(connection: Connection, now: int) -> Mapping[str, int]:
    """Return what `needing_attention` does; `now` is in ms since 1970."""
    failed = and_(Campaign.state == CampaignState.FAILED, Campaign.finished_at > now - RECENT)
    stopped = and_(Campaign.state == CampaignState.PAUSED, Campaign.reason.not_in(BY_HAND))
    query = select(Campaign.state, func.count()).where(or_(Campaign.state == CampaignState.RESTING, stopped, failed))
    return dict(connection.execute(query.group_by(Campaign.state).order_by(Campaign.state.desc())).all())
