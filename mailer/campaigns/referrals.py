"""What a campaign that refers to an earlier one needs: one that its caller may see, and that sends nothing meanwhile.

While the earlier campaign sends, who has had it changes all the time, and who has not would get both. So it must be
paused or have ended. Once another campaign goes to those who have not had it, it is neither resumed nor tried again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, and_, exists, or_, select

from mailer.audience.earlier import MOST_BEFORE, NOT_REACHED, REACHED, Earlier, divided
from mailer.errors import InvalidParams, InvalidState
from mailer.storage.database import AnyRow, Database
from mailer.storage.models import Batch, BatchState, Campaign, CampaignState
from mailer.storage.models.campaigns import NO_TEXT
from mailer.storage.models.states import UNFINISHED

FIELDS = {REACHED: "reached", NOT_REACHED: "notReached"}
GOING = tuple(state for state in UNFINISHED if state != CampaignState.PAUSED)


def verify_now(db: Database, query: Mapping[str, Any], reach: str | None) -> None:
    """Do as `verify` does, before anything is written."""
    if divided(query)[1]:
        with db.read() as connection:
            verify(connection, query, reach)


def verify(connection: Connection, query: Mapping[str, Any], reach: str | None) -> None:
    """Raise unless each campaign that the stored selector refers to can be referred to; the text names the field.

    `reach` is whose campaigns the caller may see; None: everybody's. Those referred to stay as they are until the end
    of a transaction that writes. Raises `InvalidParams`, or `InvalidState` for a campaign that may still send.
    """
    _, asked = divided(query)
    if len({earlier.campaign_id for earlier in asked.values()}) < len(asked):
        raise _refused("notReached", "The campaign of `reached` too. Name the outcomes that are meant in one of them.")
    for name, earlier in asked.items():
        _verify_one(connection, FIELDS[name], earlier, reach)


def _verify_one(connection: Connection, field: str, earlier: Earlier, reach: str | None) -> None:
    campaign = _find(connection, earlier.campaign_id)
    if campaign is None or reach not in (None, campaign.caller_id):
        raise _refused(field, f"There is no campaign {earlier.campaign_id}.")
    if campaign.dry_run:
        raise _refused(field, "It was a dry run, which reaches nobody but its sender.")
    if campaign.version == NO_TEXT:
        raise _refused(field, "It was lost when a backup was restored, so nobody knows whom it has reached.")
    _require_still(field, campaign)
    if field == FIELDS[NOT_REACHED]:
        _verify_before(connection, field, campaign)


def _verify_before(connection: Connection, field: str, campaign: AnyRow) -> None:
    """The same of the campaigns that this one was for the others of, whoever owns them."""
    for _ in range(MOST_BEFORE):
        if campaign.not_reached is None:
            return
        before = _find(connection, campaign.not_reached)
        if before is None:
            raise _refused(field, f"There is no campaign {campaign.not_reached}.")
        campaign = before
        _require_still(field, campaign)
    if campaign.not_reached is not None:
        raise _refused(field, "It has been mended too often. Write a new campaign.")


def _require_still(field: str, campaign: AnyRow) -> None:
    if campaign.state in GOING:
        problem = f"The campaign is {campaign.state}. Pause or cancel it first."
    elif campaign.in_hand:
        problem = "The last messages of the campaign are not on record yet. Try again in a minute."
    else:
        return
    raise InvalidState(f"{field}.campaign: {problem}", field=f"{field}.campaign", state=campaign.state)


def _find(connection: Connection, campaign_id: str) -> AnyRow | None:
    """The campaign, which nobody can change before this transaction ends; `in_hand`: a worker holds a batch of it."""
    held = exists().where(Batch.campaign_id == campaign_id, Batch.state == BatchState.RUNNING)
    columns = (Campaign.caller_id, Campaign.state, Campaign.dry_run, Campaign.version, Campaign.not_reached)
    facts = select(*columns, held.label("in_hand"))
    return connection.execute(facts.where(Campaign.id == campaign_id).with_for_update(read=True)).one_or_none()


def _refused(field: str, problem: str) -> InvalidParams:
    return InvalidParams(f"{field}.campaign: {problem}", field=f"{field}.campaign")


def not_reached_by(query: Mapping[str, Any]) -> str | None:
    """The id of the campaign whose missing recipients the stored selector selects; None: it names none."""
    earlier = divided(query)[1].get(NOT_REACHED)
    return earlier.campaign_id if earlier else None


def refuse_if_followed(connection: Connection, campaign_id: str, action: str, state: str) -> None:
    """Raise `InvalidState` if another campaign is for those who have not had this one, and may have reached somebody.

    Those would get this one as well. So would those of a campaign that is for the others of that one, and so on. The
    caller must hold a lock on the campaign's row.
    """
    reached = exists().where(Batch.campaign_id == Campaign.id, Batch.sent + Batch.uncertain > 0)
    risky = or_(Campaign.state.in_(UNFINISHED), reached).label("risky")
    followed = [campaign_id]
    while followed:
        theirs = and_(Campaign.not_reached.in_(followed), ~Campaign.dry_run)
        followers = connection.execute(select(Campaign.id, risky).where(theirs)).all()
        follower = next((one.id for one in followers if one.risky), None)
        if follower is not None:
            problem = f"Those who have not had it get the campaign {follower} instead, so it cannot be {action}."
            raise InvalidState(problem, state=state)
        followed = [one.id for one in followers]
