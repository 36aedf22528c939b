"""Which messages to one person came back, or were marked as spam by them, for the export of what is known of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, or_, select

from mailer.storage.models import Campaign, Delivery
from mailer.times import to_iso

PAGE = 500  # campaigns looked through together
_FACTS = (Delivery.bounced_at, Delivery.bounce_about, Delivery.bounce_permanent)
_WORDS = (Delivery.bounce_status, Delivery.bounce_reply, Delivery.complained_at)


def came_back(connection: Connection, user_id: str) -> list[dict[str, Any]]:
    """Each of them with the names of the API and times in ISO 8601, in the order of the campaigns."""
    return [_as_json(row) for row in _all(connection, user_id)]


def _all(connection: Connection, user_id: str) -> Iterator[Any]:
    """Look each campaign up among the deliveries, page by page: they have no index by user."""
    last = ""
    there = or_(Delivery.bounced_at.is_not(None), Delivery.complained_at.is_not(None))
    while ids := connection.scalars(
        select(Campaign.id).where(Campaign.id > last).order_by(Campaign.id).limit(PAGE)
    ).all():
        last = ids[-1]
        mine = (Delivery.campaign_id.in_(ids), Delivery.user_id == user_id, there)
        found = select(Delivery.campaign_id, *_FACTS, *_WORDS).where(*mine).order_by(Delivery.campaign_id)
        yield from connection.execute(found).all()


def _as_json(row: Any) -> dict[str, Any]:
    bounce = {"about": row.bounce_about, "permanent": row.bounce_permanent}
    bounce |= {"status": row.bounce_status, "reply": row.bounce_reply}
    times = {"bouncedAt": _iso(row.bounced_at), "complainedAt": _iso(row.complained_at)}
    return {"campaignId": row.campaign_id, **times, "bounce": bounce if row.bounced_at is not None else None}


def _iso(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else to_iso(milliseconds)
