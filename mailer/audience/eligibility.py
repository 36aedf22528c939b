"""Who may still be written to, asked at every checkpoint just before messages are sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select

from mailer.audience.conditions import eligible_and_refused
from mailer.audience.shared_addresses import ADDRESS_UNSUBSCRIBED, ADDRESS_WRITTEN_TO
from mailer.storage.models import RefusedAddress, User, comparable_address

UNSUBSCRIBED = "Unsubscribed."
DEACTIVATED = "Deactivated, or no longer in the directory."
NO_ADDRESS = "No valid address."

# built once: every checkpoint runs the first of them
_AMONG = User.id.in_(bindparam("ids", expanding=True))
_ELIGIBLE = eligible_and_refused(_AMONG)
_LOST = select(User.id, User.active, User.unsubscribed_at).where(_AMONG)
WHY_SUPPRESSED = (RefusedAddress.campaigns, RefusedAddress.block_reason, RefusedAddress.complained_at)
_SUPPRESSED = select(User.id, *WHY_SUPPRESSED).where(
    _AMONG, RefusedAddress.address == comparable_address(), RefusedAddress.suppressed_at.is_not(None)
)


@dataclass(frozen=True, slots=True)
class Eligible:
    """Who of some users may be written to, and why the others may not.

    `refused` has those who may, each with whether refusals of their address are on record.
    """

    refused: Mapping[str, bool]
    reasons: Mapping[str, str]


def among(connection: Connection, campaign_id: str, user_ids: Sequence[str], *, merged: bool) -> Eligible:
    """Return who of these users may be written to now, in this campaign.

    With `merged`, only one of the users who share an address gets the message.
    """
    found: dict[str, str | None] = dict(connection.execute(_ELIGIBLE, {"ids": user_ids}).all())
    taken = _barred(connection, campaign_id, user_ids) if merged else {}
    refused = {user_id: address is not None for user_id, address in found.items() if user_id not in taken}
    lost = [user_id for user_id in user_ids if user_id not in refused]
    return Eligible(refused, _reasons(connection, lost, taken) if lost else {})


def _barred(connection: Connection, campaign_id: str, ids: Sequence[str]) -> dict[str, str]:
    """Who must not be written to because of another user with the same address: ids with the reason."""
    asked = {"campaign_id": campaign_id, "ids": ids}
    taken = dict.fromkeys(
        connection.scalars(ADDRESS_WRITTEN_TO, asked), "Another user with the address has been written to."
    )
    return taken | dict.fromkeys(
        connection.scalars(ADDRESS_UNSUBSCRIBED, {"ids": ids}), "Somebody at the address has unsubscribed."
    )


def _reasons(connection: Connection, lost: Sequence[str], barred: Mapping[str, str]) -> Mapping[str, str]:
    reasons = dict.fromkeys(lost, DEACTIVATED)
    for user_id, active, unsubscribed_at in connection.execute(_LOST, {"ids": lost}):
        if active:
            reasons[user_id] = NO_ADDRESS if unsubscribed_at is None else UNSUBSCRIBED
    reasons |= barred
    for user_id, campaigns, blocked, complained in connection.execute(_SUPPRESSED, {"ids": lost}):
        reasons[user_id] = suppressed_because(campaigns, blocked, complained)
    return reasons


def suppressed_because(campaigns: int, blocked: str | None, complained_at: int | None) -> str:
    """Why an address is suppressed, by `WHY_SUPPRESSED`: an operator has `blocked` it for a reason, somebody there
    complained, or so many campaigns had it refused or bounced.
    """
    why = f"refused in {campaigns} campaigns" if blocked is None else f"blocked by an operator ({blocked})"
    if blocked is None and complained_at is not None:
        why = "complained, which is marking a message as spam"
    return f"The address is suppressed: {why}."
