"""Whether a batch goes on, and who of its recipients may still be written to.

In the usual case one statement finds that nothing is in the way, for all recipients together. If anything is, or might
be, it is looked at one by one. Both ways say the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Select, bindparam, func, select

from mailer.audience.conditions import eligible_and_refused
from mailer.audience.eligibility import among
from mailer.audience.named_addresses import withheld
from mailer.audience.overlapping_batches import left_to_others
from mailer.delivery.circuit_breaker import HELD
from mailer.delivery.worklist import Claim, Result, WorkItem
from mailer.pacing.admission import Admission
from mailer.storage.dialects import Statement, one_of
from mailer.storage.models import Campaign, CampaignState, DeliveryStatus, User


@dataclass(frozen=True, slots=True)
class Permission:
    """`running`: the batch goes on, with `items`. Those who may not be written to any more are `skipped`.

    `gone` is how many recipients now belong to other batches.
    """

    running: bool
    items: Sequence[WorkItem]
    skipped: Sequence[Result] = ()
    gone: int = 0


def _state_and_counts(kind: str) -> Select[*tuple[object, ...]]:
    eligible = eligible_and_refused(one_of(kind, User.id, "ids")).subquery()
    counts = (func.count(eligible.c.id), func.count(eligible.c.address))
    return select(_STATE.scalar_subquery(), HELD, *counts).select_from(eligible)


_STATE = select(Campaign.state).where(Campaign.id == bindparam("campaign"))
_STATE_AND_HOLD = Statement(lambda _kind: _STATE.add_columns(HELD))
_ALL_AT_ONCE = Statement(_state_and_counts)


def ask(
    connection: Connection, claim: Claim, ahead: Sequence[WorkItem], ids: str, now: int, admission: Admission
) -> Permission:
    """Who of those `ahead` may be attempted `now` (ms since 1970). `ids` are their user ids, as a JSON array."""
    if _nothing_in_the_way(connection, claim, len(ahead), ids) and admission.lets(claim.priority, now):
        return Permission(running=True, items=ahead)
    state, held = _STATE_AND_HOLD.row(connection, {"campaign": claim.campaign_id})
    running = state == CampaignState.RUNNING or (claim.campaign_rests and state == CampaignState.RESTING)
    if not running or held or not admission.lets(claim.priority, now):
        return Permission(running=False, items=[])
    mine = still_own(connection, claim, ahead)
    items, skipped = still_eligible(connection, claim, mine)
    return Permission(running, items, skipped, len(ahead) - len(mine))


def _nothing_in_the_way(connection: Connection, claim: Claim, count: int, ids: str) -> bool:
    """Whether the campaign runs, and all `count` of `ids` may be written to, without refusals of theirs on record."""
    if claim.dry_run or claim.merged or claim.overlaps:
        return False
    state, held, eligible, refused = _ALL_AT_ONCE.row(connection, {"campaign": claim.campaign_id, "ids": ids})
    return state == CampaignState.RUNNING and not held and eligible == count and not refused


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

    The sender of a dry run may always be written to.
    """
    if claim.dry_run:
        return _still_testable(connection, claim, items)
    if not items:
        return items, []
    ids = [item.recipient.user_id for item in items]
    eligible = among(connection, claim.campaign_id, ids, merged=claim.merged)
    refused = eligible.refused
    if len(refused) == len(ids) and not any(refused.values()):
        return items, []
    left = [item for item in items if item.recipient.user_id in refused]
    known = [item._replace(refused_before=refused[item.recipient.user_id]) for item in left]
    lost = [item for item in items if item.recipient.user_id not in refused]
    return known, [_skip(item, eligible.reasons[item.recipient.user_id]) for item in lost]


def _still_testable(
    connection: Connection, claim: Claim, items: Sequence[WorkItem]
) -> tuple[Sequence[WorkItem], Sequence[Result]]:
    """Those whom the caller has named for a dry run are asked by their address: they need be no users."""
    if not connection.scalar(select(Campaign.test_recipients).where(Campaign.id == claim.campaign_id)):
        return items, []
    reasons = withheld(connection, [item.recipient.address for item in items])
    left = [item for item in items if item.recipient.address not in reasons]
    lost = [item for item in items if item.recipient.address in reasons]
    return left, [_skip(item, reasons[item.recipient.address]) for item in lost]


def _skip(item: WorkItem, reason: str) -> Result:
    return Result(item, DeliveryStatus.SKIPPED, item.attempts, item.uncertain_attempts, reason)
