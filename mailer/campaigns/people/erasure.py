"""Somebody is erased: their name, document and addresses go everywhere, and their hashes keep them away.

What came of them in campaigns stays, by their id alone, so that sums stay what they were.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select

from mailer.audit.log import Act, record
from mailer.campaigns.people.erasers import ERASERS, Leaving
from mailer.campaigns.people.mentions import elsewhere, in_campaigns
from mailer.campaigns.people.mentions.spellings import Traces, is_distinctive
from mailer.campaigns.people.outcomes import all_outcomes
from mailer.directory.changes import addresses_in
from mailer.directory.users import find_id
from mailer.errors import NotFound
from mailer.messages.addresses import comparable
from mailer.storage.database import AnyRow, Database
from mailer.storage.dialects import in_turn
from mailer.storage.erased.key import made_key
from mailer.storage.erased.people import remember
from mailer.storage.journal.writer import Wished
from mailer.storage.models import User, Wish, WishOf, comparable_address
from mailer.suppression import wishes
from mailer.workspace import spool
from mailer.workspace.scheduled_sync import SPOOL


@dataclass(frozen=True, slots=True)
class ErasedPerson:
    """Who was erased, and in how many campaigns there are outcomes of theirs, which stay."""

    user_id: str
    campaigns: int


def erase(db: Database, name: str, *, spool_path: Path = SPOOL) -> ErasedPerson:
    """Erase the user with this id or, if nobody has it, with this user name.

    `spool_path` is where a sync on this machine keeps what it has read. Raises `NotFound`, and `InvalidState` where a
    campaign that is not over has their name or an address of theirs in what it says, or is sent as them.
    """
    with db.read() as connection:  # what takes long is looked for before others have to wait
        user_id = _found(connection, name)
        traces = _known(connection, user_id).traces
        said = in_campaigns.mentioning(connection, traces), elsewhere.found(connection, traces)
    with db.write() as connection:
        wishes.lock(connection, listing=True)
        in_turn(connection, f"user {user_id}")
        known, now = _known(connection, _found(connection, user_id)), db.clock(connection)
        leaving = Leaving(user_id, *known, *said, made_key(connection), now)
        remember(connection, leaving.key, now, user_id, leaving.addresses)
        for eraser in ERASERS:
            eraser(connection, leaving)
        record(connection, now, Act.ERASE_USER, user_id, campaigns=len(leaving.campaign_ids))
        if db.journal is not None:
            db.journal.wish(Wished.ERASE, now, user_id, sorted(leaving.addresses))
    spool.empty(spool_path)
    return ErasedPerson(user_id, len(leaving.campaign_ids))


def _found(connection: Connection, name: str) -> str:
    found = find_id(connection, name)
    if found is None:
        raise NotFound(f"There is no user with the id or the username {name}.")
    return found


class _Known(NamedTuple):
    """The addresses and the name of somebody, as `Leaving` has them, and the campaigns with an outcome of theirs."""

    addresses: Collection[str]
    traces: Traces
    shared: Collection[str]
    campaign_ids: Sequence[str]


def _known(connection: Connection, user_id: str) -> _Known:
    mine = User.id == user_id
    row = connection.execute(select(User.document, User.email, User.name, User.username).where(mine)).one()
    document = _addresses_of(row)
    written = {str(one["address"]) for one in document["emails"] if one.get("address")}
    current = addresses_in(document)
    outcomes = list(all_outcomes(connection, user_id))
    left = {comparable(one.address) for one in outcomes if one.address and not one.dry_run}
    left |= {*_left_behind(connection, user_id)}
    of_others = _of_others(connection, user_id, current | left)
    addresses = current | (left - of_others)  # who has a former address now has it for themselves
    campaign_ids = [one.campaign_id for one in outcomes]
    traces = Traces(addresses | written, _own_name(connection, user_id, row.name or ""), row.username or "")
    return _Known(addresses, traces, of_others & current, campaign_ids)


def _own_name(connection: Connection, user_id: str, name: str) -> str:
    """The name, if it tells one person and nobody else in the directory has it."""
    namesakes = select(User.id).where(func.lower(User.name) == func.lower(name), User.id != user_id).limit(1)
    return name if is_distinctive(name) and connection.scalar(namesakes) is None else ""


def _addresses_of(row: AnyRow) -> Mapping[str, Any]:
    """The addresses in a user's document, and the one that is written to, as a document has them."""
    emails = row.document.get("emails") or []
    return {"emails": [*emails, *([{"address": row.email}] if row.email else [])]}


def _left_behind(connection: Connection, user_id: str) -> Iterable[str]:
    """Addresses that the user has left with a wish."""
    mine = (Wish.kept_by == user_id, Wish.source == wishes.LEFT_BEHIND, Wish.kind != WishOf.USER)
    return connection.scalars(select(Wish.value).where(*mine)).all()


def _of_others(connection: Connection, user_id: str, addresses: Collection[str]) -> set[str]:
    theirs = select(comparable_address()).where(comparable_address().in_(sorted(addresses)), User.id != user_id)
    return set(connection.scalars(theirs))
