"""Campaigns that rest after trouble of their own, while other campaigns go on.

Whether a campaign rests stands in its row, where all processes see it. When its `due_at` has come, one worker tries it
with one batch. Then the campaign goes on, or rests for longer. In the end it is paused, if its sender was refused each
time, or it has failed, if each try met an unexpected error.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, select, update

from mailer.delivery import circuit_breaker
from mailer.delivery.retry import error_back_off, sender_back_off
from mailer.delivery.trouble import Trouble
from mailer.delivery.worklist import Claim
from mailer.storage.models import Batch, Campaign, CampaignState
from mailer.timeline.events import Kind, happened

AT_WORK = (CampaignState.PLANNING, CampaignState.RUNNING)
_KINDS = {
    CampaignState.RESTING: Kind.RESTED,
    CampaignState.PAUSED: Kind.PAUSED,
    CampaignState.FAILED: Kind.FAILED,
}


def due(now: ColumnElement[int]) -> ColumnElement[bool]:
    """A condition: the campaign rests, and a worker may try it now."""
    return and_(Campaign.state == CampaignState.RESTING, Campaign.due_at <= now)


def reserve_try(connection: Connection, campaign_id: str, now: int, until: int) -> bool:
    """Reserve a resting campaign for the caller until `until` (ms); return False if another worker tries it already."""
    mine = (Campaign.id == campaign_id, Campaign.state == CampaignState.RESTING, Campaign.due_at <= now)
    free = select(Campaign.id).where(*mine).with_for_update(skip_locked=True)  # not to wait with a batch locked
    if connection.execute(free).one_or_none() is None:
        return False
    connection.execute(update(Campaign).where(Campaign.id == campaign_id).values(due_at=until))
    return True


def rest(connection: Connection, campaign_id: str, trouble: Trouble, now: int, *, tried: bool) -> int:
    """Have the campaign rest, and return how often in a row it has rested for this kind of trouble.

    `tried` means that the caller tried the campaign after a rest, so that the next rest is longer. Otherwise a campaign
    that rests already is left as it is: its other batches in hand met the same trouble. Returns 0 when nothing changed,
    also because the campaign was paused, cancelled or finished meanwhile.
    """
    facts = select(Campaign.state, Campaign.rests, Campaign.errors).where(Campaign.id == campaign_id)
    row = connection.execute(facts.with_for_update(key_share=True)).one()
    if row.state not in AT_WORK and not (tried and row.state == CampaignState.RESTING):
        return 0
    if trouble.error is not None:
        step = int(row.errors) + 1
        values = _after_error(step, trouble.error, now)
    else:
        step = int(row.rests) + 1
        values = _after_refusal(step, trouble.sender or "", now)
    connection.execute(update(Campaign).where(Campaign.id == campaign_id).values(**values))
    happened(connection, now, _KINDS[values["state"]], campaign_id, reason=values["reason"], tries=step)
    return step


def rest_unclaimed(connection: Connection, campaign_id: str, error: str, now: int, until: int) -> int:
    """Have the campaign rest because its next batch cannot be claimed; return how often in a row it has rested.

    In any case its batches are not due again before `until` (ms), so that others get their turn.
    """
    times = rest(connection, campaign_id, Trouble(error=error), now, tried=True)
    behind = update(Batch).where(Batch.campaign_id == campaign_id, Batch.due_at <= now)
    connection.execute(behind.values(due_at=until))
    return times


def _after_refusal(step: int, reply: str, now: int) -> dict[str, Any]:
    wait = sender_back_off(step)
    if wait is not None:
        reason = f"the sender was refused: {reply}"
        return {"state": CampaignState.RESTING, "rests": step, "due_at": now + wait, "reason": reason}
    reason = f"the sender was refused {step} times in a row, last: {reply}"
    return {"state": CampaignState.PAUSED, "rests": 0, "reason": reason}


def _after_error(step: int, error: str, now: int) -> dict[str, Any]:
    wait = error_back_off(step)
    if wait is not None:
        return {"state": CampaignState.RESTING, "errors": step, "due_at": now + wait, "reason": error}
    return {"state": CampaignState.FAILED, "errors": step, "finished_at": now, "reason": error}


def end(connection: Connection, campaign_id: str, now: int, *, answered: bool, ended: bool) -> None:
    """Let a resting campaign go on at `now` (ms since 1970), and set back the counters of its trouble.

    `answered`: a recipient got a reply, so the sender is no longer refused. `ended`: a batch was worked off, so there
    are no unexpected errors any more.
    """
    over: dict[str, int] = ({"rests": 0} if answered else {}) | ({"errors": 0} if ended else {})
    mine = Campaign.id == campaign_id
    resting = and_(mine, Campaign.state == CampaignState.RESTING)
    if over:
        connection.execute(update(Campaign).where(mine).values(**over))
    going = update(Campaign).where(resting).values(state=CampaignState.RUNNING, reason=None)
    if connection.execute(going).rowcount:
        happened(connection, now, Kind.WENT_ON, campaign_id)


def settle(
    connection: Connection,
    claim: Claim,
    trouble: Trouble | None,
    now: int,
    *,
    ended: bool,
    answered: bool = False,
) -> int:
    """Draw the conclusions of a batch: `trouble` opens the breaker or makes the campaign rest, none lets both go on.

    `ended`: the batch was worked off. `answered`: a recipient got a reply, and the batch goes on. Returns how often in
    a row the campaign has rested for this; 0: it does not rest.
    """
    if trouble is None:
        if claim.half_open:
            circuit_breaker.close(connection, now)
        if claim.campaign_rests or (claim.errors and ended):
            end(connection, claim.campaign_id, now, answered=answered, ended=ended)
        return 0
    if trouble.transport is not None:
        wait = trouble.retry_after
        circuit_breaker.trip(connection, trouble.transport, now, half_open=claim.half_open, retry_after=wait)
    elif claim.half_open and trouble.error is None:
        circuit_breaker.close(connection, now)
    if trouble.sender is None and trouble.error is None:
        return 0
    return rest(connection, claim.campaign_id, trouble, now, tried=claim.campaign_rests)
