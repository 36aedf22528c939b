"""Campaigns that rest after trouble of their own, while others go on. All processes read it from the row.

Once its `due_at` has come, one worker tries a resting campaign with one batch. Then it goes on, or rests for longer. In
the end it is paused (its sender stays refused) or failed (each try meets an unexpected error).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, select, update

from mailer.delivery import circuit_breaker
from mailer.delivery.retry import error_back_off, sender_back_off
from mailer.delivery.trouble import Trouble
from mailer.delivery.worklist import Claim
from mailer.storage.models import Campaign, CampaignState

AT_WORK = (CampaignState.PLANNING, CampaignState.RUNNING)


def due(now: ColumnElement[int]) -> ColumnElement[bool]:
    """A condition: the campaign rests and may be tried."""
    return and_(Campaign.state == CampaignState.RESTING, Campaign.due_at <= now)


def reserve_try(connection: Connection, campaign_id: str, now: int, until: int) -> bool:
    """Keep the other workers away until `until` (ms), while the caller tries; False: another does already."""
    mine = (Campaign.id == campaign_id, Campaign.state == CampaignState.RESTING, Campaign.due_at <= now)
    free = select(Campaign.id).where(*mine).with_for_update(skip_locked=True)  # no wait: the caller has a batch locked
    if connection.execute(free).one_or_none() is None:
        return False
    connection.execute(update(Campaign).where(Campaign.id == campaign_id).values(due_at=until))
    return True


def rest(connection: Connection, campaign_id: str, trouble: Trouble, now: int, *, tried: bool) -> int:
    """Have the campaign rest, and return how often it did so for this trouble; 0: it rests already, or is stopped.

    `tried`: the caller tried it after a rest, so the next rest is longer. The same trouble of other batches, which were
    in hand before, changes nothing.
    """
    facts = select(Campaign.state, Campaign.rests, Campaign.errors).where(Campaign.id == campaign_id)
    row = connection.execute(facts.with_for_update()).one()
    if row.state not in AT_WORK and not (tried and row.state == CampaignState.RESTING):
        return 0
    if trouble.error is not None:
        step = int(row.errors) + 1
        values = _after_error(step, trouble.error, now)
    else:
        step = int(row.rests) + 1
        values = _after_refusal(step, trouble.sender or "", now)
    connection.execute(update(Campaign).where(Campaign.id == campaign_id).values(**values))
    return step


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


def end(connection: Connection, campaign_id: str, *, answered: bool, ended: bool) -> None:
    """Let the campaign go on.

    `answered`: somebody got a reply, so its sender is no longer refused. `ended`: a batch came to its end, so its
    unexpected errors are over.
    """
    over: dict[str, int] = ({"rests": 0} if answered else {}) | ({"errors": 0} if ended else {})
    mine = Campaign.id == campaign_id
    resting = and_(mine, Campaign.state == CampaignState.RESTING)
    if over:
        connection.execute(update(Campaign).where(mine).values(**over))
    connection.execute(update(Campaign).where(resting).values(state=CampaignState.RUNNING, reason=None))


def settle(connection: Connection, claim: Claim, trouble: Trouble | None, now: int, *, ended: bool) -> int:
    """After a batch: open the breaker or have the campaign rest for the `trouble` there was, or let both go on.

    `ended`: the batch has come to its end. Returns how often in a row the campaign rested for this; 0: it does not.
    """
    if trouble is None:
        if claim.half_open:
            circuit_breaker.close(connection)
        if claim.campaign_rests or (claim.errors and ended):
            end(connection, claim.campaign_id, answered=False, ended=ended)
        return 0
    if trouble.transport is not None:
        circuit_breaker.trip(connection, trouble.transport, now, half_open=claim.half_open)
    elif claim.half_open and trouble.error is None:
        circuit_breaker.close(connection)
    if trouble.sender is None and trouble.error is None:
        return 0
    return rest(connection, claim.campaign_id, trouble, now, tried=claim.campaign_rests)
