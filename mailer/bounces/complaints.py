"""Somebody marked a message as spam: their address gets no more mail, and neither does a campaign go on that annoys.

Three complaints, and more than one in a thousand messages, are what large receivers begin to refuse a sender for.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Insert, bindparam, func, select, update

from mailer.messages.addresses import comparable
from mailer.storage.dialects import NewRow, Upsert
from mailer.storage.models import Batch, Campaign, CampaignState, Delivery, Event, RefusedAddress
from mailer.suppression.bounces_in_a_row import blank
from mailer.timeline.events import Kind, happened

FEWEST = 3  # complaints before a campaign's share of them means anything
ONE_IN = 1000  # messages


def suppress(connection: Connection, address: str, now: int) -> None:
    """Write to this address no more from `now` on (ms since 1970), until a person lifts it."""
    _SUPPRESS.run(connection, {**blank(comparable(address), now), "now": now})


def pause_if_many(connection: Connection, campaign_id: str, now: int) -> None:
    """Pause the campaign if too many complain; if it does not run, note it. The caller has locked its row.

    After it was resumed, or noted, it is so again when there are twice as many.
    """
    mine = (Delivery.campaign_id == campaign_id, Delivery.complained_at.is_not(None))
    complaints = connection.scalar(select(func.count()).select_from(Delivery).where(*mine)) or 0
    sent = connection.scalar(select(func.sum(Batch.sent)).where(Batch.campaign_id == campaign_id)) or 0
    if complaints < max(FEWEST, 2 * _told(connection, campaign_id)) or complaints * ONE_IN <= sent:
        return
    reason = f"{complaints} of {sent} recipients marked the message as spam, more than one in {ONE_IN}"
    going = Campaign.state.in_([CampaignState.RUNNING, CampaignState.RESTING])
    pausing = update(Campaign).where(Campaign.id == campaign_id, going)
    paused = connection.execute(pausing.values(state=CampaignState.PAUSED, reason=reason)).rowcount
    kind = Kind.PAUSED if paused else Kind.COMPLAINED
    happened(connection, now, kind, campaign_id, reason=reason, complaints=complaints)


def _told(connection: Connection, campaign_id: str) -> int:
    """How many complaints there were when they were told of last."""
    kinds = Event.kind.in_([Kind.PAUSED.value, Kind.COMPLAINED.value])
    events = select(Event.details).where(Event.campaign_id == campaign_id, kinds)
    return max((details.get("complaints", 0) for details in connection.scalars(events)), default=0)


def _suppressing(new: NewRow) -> Insert:
    now = bindparam("now", type_=RefusedAddress.complained_at.type)
    values: dict[str, Any] = {name: bindparam(name) for name in ("address", "campaigns", "campaign_ids")}
    values |= {name: bindparam(name) for name in ("reply", "rule", "refused_at")}
    times = ("suppressed_at", "complained_at")
    since = {name: func.coalesce(getattr(RefusedAddress, name), now) for name in times}
    new = new.values(**values, **dict.fromkeys(times, now))
    return new.on_conflict_do_update(index_elements=["address"], set_=since)


_SUPPRESS = Upsert(RefusedAddress, _suppressing)
