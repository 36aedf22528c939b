"""Accept a campaign, pause it, resume it, cancel it."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, and_, func, insert, select, update

from mailer.database import Database
from mailer.errors import IdempotencyConflict, InvalidState, NotFound
from mailer.models import Batch, BatchState, Campaign, CampaignState, IdempotencyKey

KEY_LIFETIME = 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class Order:
    """What a caller asked for, checked. `sender` is an address in its envelope form."""

    sender_name: str
    sender: str
    subject: str
    body: str
    query: Mapping[str, Any]
    dry_run: bool


def accept(db: Database, caller_id: str, order: Order, key: str | None = None) -> str:
    """Commit the order as a campaign and return its id: one row, whatever the audience.

    The same `key` and order of the same caller within 24 hours give the same campaign; another order under the key
    raises `IdempotencyConflict`.
    """
    with db.write() as connection:
        now = db.clock(connection)
        campaign_id = f"{now:011x}{secrets.token_hex(6)}"
        if key is not None:
            earlier = _claim_key(connection, caller_id, key, order, campaign_id, now)
            if earlier is not None:
                return earlier
        values = {"subject": order.subject, "body": order.body, "query": order.query, "dry_run": order.dry_run}
        values |= {"sender_name": order.sender_name, "sender": order.sender, "caller_id": caller_id}
        values |= {"state": CampaignState.ACCEPTED, "created_at": now, "due_at": now, "fence": 0}
        connection.execute(insert(Campaign).values(id=campaign_id, **values))
    return campaign_id


def _claim_key(
    connection: Connection, caller_id: str, key: str, order: Order, campaign_id: str, now: int
) -> str | None:
    """Take the key for `campaign_id`; return the campaign that has it already."""
    table = IdempotencyKey
    if connection.dialect.name == "postgresql":  # the second of two at once waits here for the first
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"{caller_id} {key}", 0))))
    mine = and_(table.caller_id == caller_id, table.key == key)
    fingerprint = hashlib.sha256(json.dumps(asdict(order), sort_keys=True).encode()).hexdigest()
    values = {"fingerprint": fingerprint, "campaign_id": campaign_id, "created_at": now}
    earlier = connection.execute(
        select(table.fingerprint, table.campaign_id, table.created_at).where(mine)
    ).one_or_none()
    if earlier is None:
        connection.execute(insert(table).values(caller_id=caller_id, key=key, **values))
        return None
    if earlier.created_at <= now - KEY_LIFETIME:
        connection.execute(update(table).where(mine).values(**values))
        return None
    if earlier.fingerprint != fingerprint:
        raise IdempotencyConflict
    return str(earlier.campaign_id)


def pause(db: Database, campaign_id: str) -> None:
    """Hold from the next checkpoint on; `InvalidState` unless it is running, or paused already."""
    pausable = {CampaignState.RUNNING, CampaignState.PAUSED}
    _change(db, campaign_id, CampaignState.PAUSED, pausable, reason="paused by a person")


def resume(db: Database, campaign_id: str) -> None:
    """Go on where it was paused."""
    _change(db, campaign_id, CampaignState.RUNNING, {CampaignState.PAUSED}, reason=None)


def cancel(db: Database, campaign_id: str) -> None:
    """Send nothing more, from the next checkpoint on; what was sent stays sent and on record."""
    open_states = {CampaignState.ACCEPTED, CampaignState.PLANNING, CampaignState.RUNNING, CampaignState.PAUSED}
    _change(db, campaign_id, CampaignState.CANCELLED, open_states, reason=None)


def _change(db: Database, campaign_id: str, to: CampaignState, of: set[CampaignState], *, reason: str | None) -> None:
    with db.write() as connection:
        now = db.clock(connection)
        state = connection.scalar(select(Campaign.state).where(Campaign.id == campaign_id).with_for_update())
        if state is None:
            raise NotFound
        if state not in of:
            raise InvalidState(f"The campaign is {state}, so it cannot become {to}.", state=state)
        values: dict[str, Any] = {"state": to, "reason": reason}
        if to is CampaignState.CANCELLED:
            values["finished_at"] = now
            waiting = and_(Batch.campaign_id == campaign_id, Batch.state == BatchState.WAITING)
            connection.execute(update(Batch).where(waiting).values(state=BatchState.DONE))
        connection.execute(update(Campaign).where(Campaign.id == campaign_id).values(**values))
