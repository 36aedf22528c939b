"""Accept a campaign: one row, one commit, whatever the audience."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

from sqlalchemy import Connection, Table, and_, insert, select, update

from mailer.errors import IdempotencyConflict
from mailer.storage.database import Database
from mailer.storage.dialects import in_turn
from mailer.storage.models import Campaign, CampaignState, IdempotencyKey

ENDED_EARLY = (CampaignState.CANCELLED, CampaignState.FAILED)  # who posts it again after that wants it sent
KEY_LIFETIME = 24 * 60 * 60 * 1000

_ACCEPT = cast(Table, Campaign.__table__).insert()  # built once, and without the ORM's part in it


@dataclass(frozen=True, slots=True)
class Order:
    """What a caller asked for, checked. `sender` is an address in its envelope form."""

    sender_name: str
    sender: str
    subject: str
    body: str
    query: Mapping[str, Any]
    dry_run: bool


@dataclass(frozen=True, slots=True)
class Accepted:
    """The campaign of a POST; `replayed`: it is that of an earlier one, and nothing was added."""

    campaign_id: str
    replayed: bool = False


def accept(db: Database, caller_id: str, order: Order, key: str | None = None, *, repeat_window: int = 0) -> Accepted:
    """Commit the order as a campaign: one row, whatever the audience.

    The same `key` and order of the same caller within 24 hours give the same campaign; another order under the key
    raises `IdempotencyConflict`. Without a key, so does the same live order within `repeat_window` ms, unless what
    became of the earlier one (`ENDED_EARLY`) makes this one a new wish.
    """
    fingerprint = None if order.dry_run else _fingerprint(order)

    def write(connection: Connection) -> Accepted:
        now = db.clock(connection)
        campaign_id = f"{now:011x}{secrets.token_hex(6)}"
        if key is not None:
            earlier = _claim_key(connection, caller_id, key, order, campaign_id, now)
        elif fingerprint is not None and repeat_window:
            earlier = _repeated(connection, caller_id, fingerprint, now, repeat_window)
        else:
            earlier = None
        if earlier is not None:
            return Accepted(earlier, replayed=True)
        values = {"subject": order.subject, "body": order.body, "query": order.query, "dry_run": order.dry_run}
        values |= {"sender_name": order.sender_name, "sender": order.sender, "caller_id": caller_id}
        values |= {"state": CampaignState.ACCEPTED, "created_at": now, "due_at": now, "fence": 0}
        connection.execute(_ACCEPT, {"id": campaign_id, "fingerprint": fingerprint, **values})
        return Accepted(campaign_id)

    return db.write_shared(write)


def _repeated(connection: Connection, caller_id: str, fingerprint: str, now: int, window: int) -> str | None:
    """The newest campaign of the same order within the window that stands.

    One from after `now` was accepted before the clock was set back, and by more than the window is no repetition.
    """
    in_turn(connection, f"{caller_id} {fingerprint}")
    lately = and_(Campaign.created_at > now - window, Campaign.created_at < now + window)
    same = (Campaign.caller_id == caller_id, Campaign.fingerprint == fingerprint, lately)
    newest = select(Campaign.id).where(*same, Campaign.state.not_in(ENDED_EARLY)).order_by(Campaign.id.desc())
    return connection.scalar(newest.limit(1))


def _fingerprint(order: Order, *, sort_keys: bool = False) -> str:
    return hashlib.sha256(json.dumps(asdict(order), sort_keys=sort_keys).encode()).hexdigest()


def _claim_key(
    connection: Connection, caller_id: str, key: str, order: Order, campaign_id: str, now: int
) -> str | None:
    """Take the key for `campaign_id`; return the campaign that has it already."""
    table = IdempotencyKey
    in_turn(connection, f"{caller_id} {key}")
    mine = and_(table.caller_id == caller_id, table.key == key)
    fingerprint = _fingerprint(order, sort_keys=True)
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
