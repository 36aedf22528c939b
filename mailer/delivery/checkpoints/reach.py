"""Who of those that may be written to gets no mail in staging, as `mailer.interception` says: they are skipped.

A redirected campaign sends only so many messages. Its workers count them together: what is on record, and what others
have in hand. They do so one after the other, so that no two take the same place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, and_, func, select

from mailer.delivery import ledger
from mailer.delivery.checkpoints.permission import Permission
from mailer.delivery.worklist import Claim, Result, WorkItem
from mailer.interception.rules import ENOUGH, MOST_REDIRECTED, NOT_LISTED, Interception
from mailer.storage.dialects import in_turn, is_postgresql
from mailer.storage.models import Batch, BatchState, DeliveryStatus

_TRIED = [counter for status, counter in ledger.COUNTERS.items() if status is not DeliveryStatus.SKIPPED]


def within(
    connection: Connection, claim: Claim, may: Permission, results: Sequence[Result], interception: Interception
) -> Permission:
    """Return `may` without those whom no mail reaches. `results` are outcomes that are about to be recorded."""
    if interception.redirect_to:
        return _first_ones(connection, claim, may, results)
    if not interception:
        return may
    items = [item for item in may.items if interception.reaches(item.recipient.address)]
    return without_others(may, items, NOT_LISTED)


def _first_ones(connection: Connection, claim: Claim, may: Permission, results: Sequence[Result]) -> Permission:
    """Those who have been tried before, and as many others as the campaign has messages left."""
    fresh = sum(item.status is None for item in may.items)
    if not fresh:
        return may
    in_turn(connection, f"redirected {claim.campaign_id}")
    room = MOST_REDIRECTED - _tried(connection, claim, results)
    items = []
    for item in may.items:
        if item.status is None:
            room -= 1
        if item.status is not None or room >= 0:
            items.append(item)
    return without_others(may, items, ENOUGH)


def _tried(connection: Connection, claim: Claim, results: Sequence[Result]) -> int:
    """How many recipients of the campaign have been tried, or may just be tried by others."""
    on_record = select(func.coalesce(func.sum(sum(_TRIED[1:], start=_TRIED[0])), 0))
    recorded = int(connection.scalar(on_record.where(Batch.campaign_id == claim.campaign_id)) or 0)
    length = func.jsonb_array_length if is_postgresql(connection) else func.json_array_length
    others = and_(Batch.campaign_id == claim.campaign_id, Batch.number != claim.number)
    held = select(func.coalesce(func.sum(length(Batch.attempting)), 0)).where(others, Batch.state == BatchState.RUNNING)
    mine = sum(result.item.status is None and result.status is not DeliveryStatus.SKIPPED for result in results)
    return recorded + int(connection.scalar(held) or 0) + mine


def without_others(may: Permission, items: Sequence[WorkItem], reason: str) -> Permission:
    """Return `may` with `items` alone; the others are skipped for this reason."""
    kept = {item.recipient.user_id for item in items}
    lost = [item for item in may.items if item.recipient.user_id not in kept]
    skipped = [Result(item, DeliveryStatus.SKIPPED, item.attempts, item.uncertain_attempts, reason) for item in lost]
    return replace(may, items=items, skipped=[*may.skipped, *skipped])
