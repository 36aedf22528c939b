"""How many campaigns in a row bounced at an address, where that is known only later than the message was taken.

A relay takes nearly every message, so taking one says nothing of the address. It begins to say something when no bounce
has come for seven days. Once two campaigns in a row have passed so, the count of those before them is over.

Nothing runs for that by itself. The row of an address keeps which campaigns count against it, and which have been taken
since, with the times. When another bounce or refusal is to be counted, and when another message is taken, it is worked
out from these what still counts. Nothing depends on it in between. Campaigns are in the order of their ids, which is
that in which they were accepted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, select, update

from mailer.messages.addresses import comparable
from mailer.storage.dialects import Upsert
from mailer.storage.models import Campaign, Delivery, DeliveryStatus, RefusedAddress

PROVED = 7 * 86_400_000  # ms after which a message without a bounce has probably arrived
ENOUGH = 2  # campaigns in a row
KEPT = 4  # of those that were taken one after the other: enough, and two more in case one of them bounces late

Taken = Mapping[str, int | None]  # campaigns, each with when it was sent (ms); None: it bounced, in a way not counted
_MINE = (RefusedAddress.campaign_ids, RefusedAddress.taken)
_BLANK = Upsert(RefusedAddress, lambda new: new.on_conflict_do_nothing())


class Bounce(NamedTuple):
    """A permanent bounce about `address`, of a message to the user `user_id`; `rule` is its status code."""

    campaign_id: str
    user_id: str
    address: str
    reply: str
    rule: str


def still_counted(campaigns: Collection[str], taken: Taken, now: int) -> list[str]:
    """Those of `campaigns` that still count against an address at `now` (ms since 1970). Pure."""
    counted: list[str] = []
    clean = 0
    for one in sorted({*campaigns, *taken}):
        since = None if one in campaigns else taken[one]
        clean = 0 if since is None or since + PROVED > now else clean + 1
        if one in campaigns:
            counted.append(one)
        elif clean == ENOUGH:
            counted = []
    return counted


def worth_keeping(counted: Collection[str], taken: Taken) -> Taken:
    """What of `taken` can still end the count: of each stretch between two that count, some in a row. Pure."""
    later = [one for one in sorted({*counted, *taken}) if counted and one >= min(counted)]
    kept: dict[str, int | None] = {}
    for between, some in groupby(later, key=lambda one: one not in counted):
        kept |= _in_a_row(list(some), taken) if between else {}
    return kept


def _in_a_row(stretch: Sequence[str], taken: Taken) -> dict[str, int | None]:
    """The first few that were taken one after the other, and the last, which others may follow.

    What is left out between them leaves one that was not taken, so that they do not seem to be in one row.
    """
    rows = [list(some) for there, some in groupby(stretch, key=lambda one: taken[one] is not None) if there]
    first = next((row for row in rows if len(row) >= ENOUGH), [])[:KEPT]
    last = rows[-1][-ENOUGH:] if rows and taken[stretch[-1]] is not None else []
    left_out = [one for one in stretch if first and one > first[-1] and one not in last]
    kept: dict[str, int | None] = {one: taken[one] for one in (*first, *last)}
    return kept | dict.fromkeys(left_out[:1])


def count(connection: Connection, bounce: Bounce, now: int, limit: int) -> None:
    """Count a bounce against its address at `now` (ms); in `limit` campaigns it is suppressed. 0: none is counted."""
    if not limit:
        return
    address = comparable(bounce.address)
    _BLANK.run(connection, blank(address, now))
    mine = RefusedAddress.address == address
    facts = select(*_MINE, RefusedAddress.suppressed_at).where(mine).with_for_update()
    [ids, said, suppressed_at] = connection.execute(facts).one()
    taken = dict(_parsed(said) if ids else _taken_since(connection, bounce))
    taken.pop(bounce.campaign_id, None)
    counted = still_counted({*ids.split(), bounce.campaign_id}, taken, now)
    if not counted and suppressed_at is None:
        connection.execute(delete(RefusedAddress).where(mine))
        return
    values: dict[str, Any] = {"reply": bounce.reply, "rule": bounce.rule, "refused_at": now, "bounced_at": now}
    values["suppressed_at"] = now if suppressed_at is None and len(counted) >= limit else suppressed_at
    connection.execute(update(RefusedAddress).where(mine).values(**values, **_counting(counted, taken)))


def uncounted(connection: Connection, campaign_id: str, address: str) -> None:
    """Note that a campaign bounced at an address in a way that does not count, so that it was not taken either."""
    mine = RefusedAddress.address == comparable(address)
    said = connection.scalar(select(RefusedAddress.taken).where(mine).with_for_update())
    if said is not None:
        taken = {**_parsed(said), campaign_id: None}
        connection.execute(update(RefusedAddress).where(mine).values(taken=_written(taken)))


def took(connection: Connection, campaign_id: str, addresses: Collection[str], now: int) -> None:
    """Note that these addresses (`comparable`) took a message of the campaign, and end the counts that are over."""
    _settle(connection, addresses, now, {campaign_id: now})


def settle(connection: Connection, addresses: Collection[str], now: int) -> None:
    """End the counts of these addresses that are over, before another refusal is counted."""
    _settle(connection, addresses, now, {})


def blank(address: str, now: int) -> dict[str, Any]:
    """The values of a row with nothing against the address yet."""
    return {"address": address, "campaigns": 0, "campaign_ids": "", "reply": "", "rule": "", "refused_at": now}


def _settle(connection: Connection, addresses: Collection[str], now: int, new: Taken) -> None:
    among = (RefusedAddress.address.in_(sorted(addresses)), RefusedAddress.suppressed_at.is_(None))
    known = [] if new else [RefusedAddress.taken != ""]
    found = select(RefusedAddress.address, *_MINE).where(*among, *known).order_by(RefusedAddress.address)
    for address, ids, said in connection.execute(found.with_for_update()).all():
        taken = {**new, **_parsed(said)}
        counted = still_counted(ids.split(), taken, now)
        mine = RefusedAddress.address == address
        if counted:
            connection.execute(update(RefusedAddress).where(mine).values(**_counting(counted, taken)))
        else:
            connection.execute(delete(RefusedAddress).where(mine))


def _counting(counted: Collection[str], taken: Taken) -> dict[str, Any]:
    kept = _written(worth_keeping(counted, taken))
    return {"campaigns": len(counted), "campaign_ids": " ".join(counted), "taken": kept}


def _taken_since(connection: Connection, bounce: Bounce) -> Taken:
    """What the same user got at the address after the message, before its bounce was known."""
    query = select(Delivery.campaign_id, Delivery.updated_at, Delivery.bounced_at, Delivery.address)
    query = query.join(Campaign, Campaign.id == Delivery.campaign_id).where(Campaign.id > bounce.campaign_id)
    theirs = (Delivery.user_id == bounce.user_id, Delivery.status == DeliveryStatus.SENT, ~Campaign.dry_run)
    rows = connection.execute(query.where(*theirs).order_by(Campaign.id).limit(KEPT)).all()
    there = [row for row in rows if comparable(row.address or "") == comparable(bounce.address)]
    return {row.campaign_id: None if row.bounced_at else row.updated_at for row in there}


def _parsed(text: str) -> dict[str, int | None]:
    pairs: Iterable[tuple[str, str, str]] = (one.partition(":") for one in text.split())
    return {name: int(at) if at else None for name, _, at in pairs}


def _written(taken: Taken) -> str:
    return " ".join(f"{name}:{'' if at is None else at}" for name, at in sorted(taken.items()))
