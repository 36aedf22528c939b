"""Who may still be written to, asked at every checkpoint just before the messages are sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, bindparam, select

from mailer.audience.conditions import eligible_and_refused
from mailer.audience.overlapping_batches import left_to_others
from mailer.audience.shared_addresses import ADDRESS_UNSUBSCRIBED, ADDRESS_WRITTEN_TO
from mailer.delivery.worklist import Claim, Result, WorkItem
from mailer.storage.models import DeliveryStatus, RefusedAddress, User, comparable_address

# built once: every checkpoint runs the first of them
_AMONG = User.id.in_(bindparam("ids", expanding=True))
_ELIGIBLE = eligible_and_refused(_AMONG)
_SUPPRESSED = select(User.id, RefusedAddress.campaigns, RefusedAddress.block_reason).where(
    _AMONG, RefusedAddress.address == comparable_address(), RefusedAddress.suppressed_at.is_not(None)
)


def still_own(connection: Connection, claim: Claim, items: Sequence[WorkItem]) -> Sequence[WorkItem]:
    """Return those of `items` who still belong to this batch, where others overlap with it."""
    if not claim.overlaps or not items:
        return items
    fresh = [item.recipient.user_id for item in items if item.status is None]
    gone = left_to_others(connection, claim, fresh)
    return [item for item in items if item.recipient.user_id not in gone] if gone else items


def still_eligible(
    connection: Connection, claim: Claim, items: Sequence[WorkItem]
) -> tuple[Sequence[WorkItem], Sequence[Result]]:
    """Divide `items` into those who may still be written to, and the others, as skipped and with the reason.

    The recipient of a dry run may always be written to.
    """
    if claim.dry_run:
        return items, []
    ids = [item.recipient.user_id for item in items]
    found: dict[str, str | None] = dict(connection.execute(_ELIGIBLE, {"ids": ids}).all())
    taken = _barred(connection, claim.campaign_id, ids) if claim.merged else {}
    if len(found) == len(ids) and not taken and not any(found.values()):
        return items, []
    left = [item for item in items if item.recipient.user_id in found and item.recipient.user_id not in taken]
    kept = {item.recipient.user_id for item in left}
    lost = [item for item in items if item.recipient.user_id not in kept]
    known = [item._replace(refused_before=found[item.recipient.user_id] is not None) for item in left]
    return known, _skipped(connection, lost, taken)


def _barred(connection: Connection, campaign_id: str, ids: Sequence[str]) -> dict[str, str]:
    """Who must not be written to because of another user with the same address: ids with the reason."""
    among = {"campaign_id": campaign_id, "ids": ids}
    taken = dict.fromkeys(
        connection.scalars(ADDRESS_WRITTEN_TO, among), "Another user with the address has been written to."
    )
    return taken | dict.fromkeys(
        connection.scalars(ADDRESS_UNSUBSCRIBED, {"ids": ids}), "Somebody at the address has unsubscribed."
    )


def _skipped(connection: Connection, lost: Sequence[WorkItem], barred: Mapping[str, str]) -> list[Result]:
    if not lost:
        return []
    reasons = dict(barred)
    ids = [item.recipient.user_id for item in lost]
    for user_id, campaigns, blocked in connection.execute(_SUPPRESSED, {"ids": ids}):
        why = f"refused in {campaigns} campaigns" if blocked is None else f"blocked by an operator ({blocked})"
        reasons[user_id] = f"The address is suppressed: {why}."
    return [_skip(item, reasons.get(item.recipient.user_id)) for item in lost]


def _skip(item: WorkItem, reason: str | None) -> Result:
    reply = reason or "No longer subscribed, active or with an address."
    return Result(item, DeliveryStatus.SKIPPED, item.attempts, item.uncertain_attempts, reply)
