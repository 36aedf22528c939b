"""Who had an earlier campaign: what `reached` and `notReached` of a POST select, beside its query.

It stands in the stored selector, under `$reached` and `$notReached`. Nobody can write these names in a query. A version
that does not know them refuses such a campaign, where it would otherwise write to everybody.

Somebody had the campaign whose user id has one of the outcomes, or that of any user who has their address now. So one
who shares an address, or came back under another id, does not get twice what the address got. It depends on nothing
that a purge forgets. If there is no record of the campaign at all, nobody is selected.

A campaign may be mended twice. The second one goes to those who have not had the first, so who had either has had it:
`notReached` leaves out also whoever had a campaign that the named one was itself for the others of, and so on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, and_, exists, not_, select
from sqlalchemy.orm import aliased

from mailer.audience.bounds import RECIPIENTS
from mailer.selector import compile_selector
from mailer.storage.models import Campaign, Delivery, DeliveryStatus, User, comparable_address

REACHED, NOT_REACHED = "$reached", "$notReached"
MOST_BEFORE = 5  # campaigns before the named one, each of which the next was for the others of
USUAL = (DeliveryStatus.SENT, DeliveryStatus.UNCERTAIN)  # whoever has one of these may have the message


@dataclass(frozen=True, slots=True)
class Earlier:
    """Those who have one of `outcomes` in the campaign with this id."""

    campaign_id: str
    outcomes: Sequence[DeliveryStatus] = USUAL

    def stored(self) -> dict[str, Any]:
        """As it stands in a stored selector: the same whatever the order of the outcomes, and how often each is."""
        return {"campaign": self.campaign_id, "outcomes": [one.value for one in DeliveryStatus if one in self.outcomes]}


def narrowed(query: Mapping[str, Any], reached: Earlier | None, not_reached: Earlier | None) -> Mapping[str, Any]:
    """The selector that selects of those whom `query` selects only who were `reached`, and nobody `not_reached`."""
    asked = {REACHED: reached, NOT_REACHED: not_reached}
    more = {name: earlier.stored() for name, earlier in asked.items() if earlier is not None}
    return {**query, **more} if more else query


def divided(query: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Earlier]]:
    """What `narrowed` has joined: the query, and by `REACHED` and `NOT_REACHED` what is asked for beside it.

    How many people are expected is left out: it selects nobody.
    """
    asked = {name: _read(query[name]) for name in (REACHED, NOT_REACHED) if name in query}
    beside = {*asked, RECIPIENTS} & query.keys()
    return {name: value for name, value in query.items() if name not in beside} if beside else query, asked


def _read(stored: Mapping[str, Any]) -> Earlier:
    return Earlier(stored["campaign"], tuple(map(DeliveryStatus, stored["outcomes"])))


def selected(query: Mapping[str, Any], user: type[User] = User) -> ColumnElement[bool]:
    """A condition: the stored selector selects the user. `user` may be an alias. Raises `InvalidQuery`."""
    plain, asked = divided(query)
    conditions = [compile_selector(plain, user)]
    for name, earlier in asked.items():
        on_record = exists().where(Campaign.id == earlier.campaign_id)
        conditions += [on_record, _had(earlier, user) if name == REACHED else not_(_had(earlier, user, mended=True))]
    return and_(*conditions)


def _had(earlier: Earlier, user: type[User], *, mended: bool = False) -> ColumnElement[bool]:
    """One look into the index of addresses, which finds the user too, and one into the campaign's deliveries for each.

    The looks are nested, so that SQLite does not begin with the deliveries, of which there may be a million.
    """
    twin = aliased(User)
    ids = [earlier.campaign_id, *(_before(earlier.campaign_id) if mended else ())]
    theirs = and_(Delivery.campaign_id.in_(ids), Delivery.user_id == twin.id)
    outcome = exists().where(theirs, Delivery.status.in_(list(earlier.outcomes)))
    return exists().where(comparable_address(twin) == comparable_address(user), outcome)


def _before(campaign_id: str) -> Iterator[ScalarSelect[Any]]:
    """The ids of the campaigns before, each looked up once for the whole query; null where there are no more."""
    last: Any = campaign_id
    for _ in range(MOST_BEFORE):
        one = aliased(Campaign)
        last = select(one.not_reached).where(one.id == last).scalar_subquery()
        yield last
