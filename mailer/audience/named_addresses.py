"""Addresses that a caller names for a dry run: which of them are not written to, and why.

They need be in no directory. Whoever has one of them and wants no mail, or may get none, gets no test either.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, func, or_, select

from mailer.audience.eligibility import DEACTIVATED, UNSUBSCRIBED, WHY_SUPPRESSED, suppressed_because
from mailer.messages.addresses import comparable
from mailer.storage.erased.people import erased_addresses
from mailer.storage.models import RefusedAddress, User, Wish, comparable_address
from mailer.suppression.wishes import of_address

MOST = 5  # addresses that a dry run goes to
ERASED = "Erased: nothing is sent there."


def withheld(connection: Connection, addresses: Collection[str]) -> Mapping[str, str]:
    """Which of the addresses are not written to now, as they are given, each with the reason."""
    wanted = {comparable(one): one for one in addresses}
    reasons = dict.fromkeys(_of_the_inactive(connection, wanted), DEACTIVATED)
    reasons |= dict.fromkeys(_unsubscribed(connection, wanted), UNSUBSCRIBED)
    reasons |= dict.fromkeys(erased_addresses(connection, wanted), ERASED)
    suppressed = select(RefusedAddress.address, *WHY_SUPPRESSED).where(
        RefusedAddress.address.in_(wanted), RefusedAddress.suppressed_at.is_not(None)
    )
    for address, campaigns, blocked, complained in connection.execute(suppressed):
        reasons[address] = suppressed_because(campaigns, blocked, complained)
    return {wanted[one]: reason for one, reason in reasons.items()}


def _of_the_inactive(connection: Connection, wanted: Collection[str]) -> Collection[str]:
    """Those that users have of whom none is active."""
    count = func.count().filter(User.active)
    having = select(comparable_address()).where(comparable_address().in_(wanted)).group_by(comparable_address())
    return connection.scalars(having.having(count == 0)).all()


def _unsubscribed(connection: Connection, wanted: Collection[str]) -> Collection[str]:
    """Those at which somebody has unsubscribed, in the directory or before they came to it."""
    theirs = select(comparable_address()).where(comparable_address().in_(wanted), User.unsubscribed_at.is_not(None))
    kept = select(Wish.value).where(or_(*map(of_address, wanted)))
    return [*connection.scalars(theirs), *connection.scalars(kept)]
