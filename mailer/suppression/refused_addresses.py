"""Refusals counted for each address: after enough campaigns in a row the address is suppressed.

An address counts one for each campaign in which the other side refused it for good, however often that campaign tried.
Only answers about the address itself count, none about a mailbox, a message or the sender. Once the address has taken a
message, counting begins anew, unless bounces are read, which may come later. Dry runs are not counted.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Connection, Insert, Integer, bindparam, case, delete, func, literal

from mailer.messages.addresses import comparable
from mailer.storage.dialects import NewRow, Upsert
from mailer.storage.models import RefusedAddress
from mailer.suppression import bounces_in_a_row


class AddressOutcome(NamedTuple):
    """What the other side said about an address: `refusal` is its reply, None: it took a message.

    `refused_before`: earlier refusals of the address are on record.
    """

    address: str
    refusal: str | None
    refused_before: bool = False


_ENHANCED = re.compile(r"(?<![\d.])5\.\d{1,3}\.\d{1,3}(?![\d.])")
_CODE = re.compile(r"(?<![\d.])5\d\d(?![\d.])")


def count(
    connection: Connection,
    campaign_id: str,
    outcomes: Sequence[AddressOutcome],
    now: int,
    limit: int,
    *,
    bounces: bool = False,
) -> None:
    """Record which addresses refused a message of the campaign, and which took one after all, at `now` (ms).

    To be called in the transaction that records these outcomes, and not for a dry run. An address refused in `limit`
    campaigns is suppressed; 0: refusals are not counted. Where `bounces` are read, or one was counted for the address,
    taking a message alone does not end its count (see `bounces_in_a_row`).
    """
    taken, refused = _last_outcomes(outcomes)
    if taken:
        theirs = (RefusedAddress.address.in_(sorted(taken)), RefusedAddress.suppressed_at.is_(None))
        if not bounces:
            connection.execute(delete(RefusedAddress).where(*theirs, RefusedAddress.bounced_at.is_(None)))
        bounces_in_a_row.took(connection, campaign_id, taken, now)
    if refused and limit:
        bounces_in_a_row.settle(connection, refused, now)
        same = {"campaign_id": campaign_id, "now": now, "limit": limit}
        rows = [{"address": one, "reply": said, "rule": rule_of(said), **same} for one, said in sorted(refused.items())]
        _COUNT.run(connection, rows)


def rule_of(reply: str) -> str:
    """What in a refusal says that it is about the address: its code, or else the transport's judgement."""
    if found := _ENHANCED.search(reply):
        return found[0]
    found = _CODE.search(reply)
    return f"{found[0]} without a code of its own" if found else "as the transport says"


def _last_outcomes(outcomes: Sequence[AddressOutcome]) -> tuple[Collection[str], dict[str, str]]:
    """The addresses that took a message after refusals, and those that refused last, each with the reply.

    Users may share an address: the last of its outcomes counts.
    """
    taken: set[str] = set()
    refused: dict[str, str] = {}
    for address, refusal, refused_before in outcomes:
        if refusal is not None:
            refused[comparable(address)] = refusal
        elif refused or refused_before:
            refused.pop(comparable(address), None)
            taken.add(comparable(address))
    return taken, refused


def _counting(new: NewRow) -> Insert:
    """One upsert, so that two campaigns that have an address refused at the same moment both count."""
    now = bindparam("now", type_=BigInteger)
    first = {"address": bindparam("address"), "campaign_ids": bindparam("campaign_id"), "campaigns": 1}
    last = {"reply": bindparam("reply"), "rule": bindparam("rule"), "refused_at": now}
    new = new.values(**first, **last, suppressed_at=_since(literal(1), now))
    known = RefusedAddress.campaign_ids.contains(new.excluded.campaign_ids)
    campaigns = RefusedAddress.campaigns + case((known, 0), else_=1)
    with_this = RefusedAddress.campaign_ids + " " + new.excluded.campaign_ids
    again = {
        "campaigns": campaigns,
        "campaign_ids": case((known, RefusedAddress.campaign_ids), else_=with_this),
        "suppressed_at": func.coalesce(RefusedAddress.suppressed_at, _since(campaigns, now)),
    }
    again |= {name: new.excluded[name] for name in last}
    return new.on_conflict_do_update(index_elements=["address"], set_=again)


def _since(campaigns: ColumnElement[int], now: ColumnElement[int]) -> ColumnElement[int | None]:
    return case((campaigns >= bindparam("limit", type_=Integer), now))


_COUNT = Upsert(RefusedAddress, _counting)
