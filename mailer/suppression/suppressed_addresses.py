"""Addresses that are not written to, whoever has them: listed, looked up, and lifted by a person."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from sqlalchemy import Connection, Select, and_, bindparam, delete, func, or_, select

from mailer.audit.log import Act, Note, record_addresses
from mailer.files.exports import Cell
from mailer.messages.addresses import comparable, envelope_address
from mailer.storage.database import AnyRow, Database
from mailer.storage.journal.writer import Wished
from mailer.storage.models import RefusedAddress, User, comparable_address
from mailer.suppression import hashed_wishes
from mailer.suppression.list_files import ListedAddress
from mailer.times import to_iso

CHUNK = 500  # addresses looked up together
SUPPRESSED = RefusedAddress.suppressed_at.is_not(None)
REPORTED = (RefusedAddress.bounced_at, RefusedAddress.complained_at)
BLOCK = (RefusedAddress.blocked_by, RefusedAddress.block_reason)


@dataclass(frozen=True, slots=True)
class SuppressedAddress:
    """An address that is not written to since `suppressed_at` (ms), and why.

    `campaigns` in a row had it refused, or their message came back. `reply` is the last refusal's or bounce's text, and
    `rule` what in it says that it is about the address. If an operator has blocked it, `blocked_by` and `reason` say
    who and why. `users` counts the users who have the address. `bounced_at` is when a bounce counted last,
    `complained_at` when somebody there marked a message as spam (ms); None: never.
    """

    COLUMNS: ClassVar[tuple[str, ...]] = (
        "address",
        "suppressedAt",
        "campaigns",
        "rule",
        "reply",
        "blockedBy",
        "reason",
        "users",
        "bouncedAt",
        "complainedAt",
    )
    address: str
    suppressed_at: int
    campaigns: int
    rule: str
    reply: str
    blocked_by: str | None
    reason: str | None
    users: int
    bounced_at: int | None = None
    complained_at: int | None = None

    def cells(self) -> tuple[Cell, ...]:
        """In the order of `COLUMNS`; times are ISO 8601 in UTC."""
        refused = (self.campaigns, self.rule, self.reply)
        reported = (_iso(self.bounced_at), _iso(self.complained_at))
        return self.address, to_iso(self.suppressed_at), *refused, self.blocked_by, self.reason, self.users, *reported


class After(NamedTuple):
    """The last address of the page before, and when it was suppressed (ms)."""

    suppressed_at: int
    address: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """In how many campaigns in a row an address was refused, the last reply, and since when (ms) it is suppressed.

    `suppressed_at` None: it is still written to. If an operator has blocked it, `blocked_by` and `reason` say who and
    why. `bounced_at`, `complained_at` and `rule` are as of a `SuppressedAddress`.
    """

    campaigns: int
    reply: str
    suppressed_at: int | None
    blocked_by: str | None
    reason: str | None
    bounced_at: int | None = None
    complained_at: int | None = None
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Lifted:
    """How many addresses were lifted, so that they are written to again, and how many were not suppressed at all."""

    lifted: int
    unmatched: int


def suppressed_addresses(db: Database, *, after: str | None = None, count: int = 1000) -> list[SuppressedAddress]:
    """A page of the suppressed addresses, in their order, from the one after `after` on."""
    query = _suppressed()
    if after is not None:
        query = query.where(RefusedAddress.address > after)
    with db.read() as connection:
        return [
            SuppressedAddress(*row) for row in connection.execute(query.order_by(RefusedAddress.address).limit(count))
        ]


def newest_suppressed(db: Database, *, after: After | None = None, count: int) -> list[SuppressedAddress]:
    """A page of them, the newest first; those of one moment are in the order of the addresses.

    All suppressed addresses are read for it: there is no index by time.
    """
    since, address, query = RefusedAddress.suppressed_at, RefusedAddress.address, _suppressed()
    if after is not None:
        same = and_(since == after.suppressed_at, address > after.address)
        query = query.where(or_(since < after.suppressed_at, same))
    with db.read() as connection:
        found = connection.execute(query.order_by(since.desc(), address).limit(count))
        return [SuppressedAddress(*row) for row in found]


def _suppressed() -> Select[*tuple[Any, ...]]:
    users = select(func.count()).where(comparable_address() == RefusedAddress.address).scalar_subquery()
    refused = (RefusedAddress.campaigns, RefusedAddress.rule, RefusedAddress.reply)
    facts = (RefusedAddress.address, RefusedAddress.suppressed_at, *refused, *BLOCK, users, *REPORTED)
    return select(*facts).where(SUPPRESSED)


def all_suppressed_addresses(db: Database) -> Iterator[SuppressedAddress]:
    """All suppressed addresses, read page by page."""
    after: str | None = None
    while page := suppressed_addresses(db, after=after):
        yield from page
        after = page[-1].address


def refusal_of(connection: Connection, user_id: str) -> Refusal | None:
    """What is on record of the address of a user; None: neither a refusal nor a block."""
    counted = (RefusedAddress.campaigns, RefusedAddress.reply, RefusedAddress.suppressed_at)
    mine = (User.id == user_id, RefusedAddress.address == comparable_address())
    row = connection.execute(select(*counted, *BLOCK, *REPORTED, RefusedAddress.rule).where(*mine)).one_or_none()
    return Refusal(*row) if row else None


def lift(db: Database, addresses: Collection[str], *, note: Note | None = None) -> Lifted:
    """Write to these addresses again, whatever their case, and count their refusals anew. `note` is kept of it."""
    wanted = {comparable(envelope_address(one) or one) for one in addresses}
    one_by_one = delete(RefusedAddress).where(RefusedAddress.address == bindparam("wanted"), SUPPRESSED)
    with db.write() as connection:  # a list may have more than one statement can name
        hashed_wishes.learn(connection, wanted)
        gone = [
            row for one in sorted(wanted) for row in connection.execute(one_by_one.returning(*_WAS), {"wanted": one})
        ]
        lifted, was = len(gone), {row.address: _was(row) for row in gone}
        now = db.clock(connection)
        record_addresses(connection, now, Act.LIFT_ADDRESSES, wanted, note, each=was, lifted=lifted)
    if lifted and db.journal is not None:  # once it is committed, as every taking back
        db.journal.wishes(Wished.LIFT, now, ((None, [address]) for address in sorted(wanted)))
    return Lifted(lifted, unmatched=len(wanted) - lifted)


_WAS = (RefusedAddress.address, RefusedAddress.suppressed_at, RefusedAddress.campaigns, RefusedAddress.blocked_by)


def _was(row: AnyRow) -> dict[str, Any]:
    """What the audit log keeps of a suppression that is lifted: the row itself is gone."""
    by = {} if row.blocked_by is None else {"blocked": row.blocked_by}
    return {"since": row.suppressed_at, "campaigns": row.campaigns, **by}


def lift_listed(db: Database, listed: Iterable[ListedAddress]) -> Lifted:
    """Lift the addresses of a list: each as it literally stands there if that is suppressed, else as it is meant."""
    wanted = list(listed)
    forms = [comparable(form) for one in wanted for form in (*one.literally, one.address)]
    with db.read() as connection:
        places = range(0, len(forms), CHUNK)
        suppressed = {address for place in places for address in _among(connection, forms[place : place + CHUNK])}
    return lift(db, [_meant(one, suppressed) for one in wanted])


def _among(connection: Connection, addresses: Sequence[str]) -> Sequence[str]:
    """Which of the addresses are suppressed."""
    found = select(RefusedAddress.address).where(RefusedAddress.address.in_(addresses), SUPPRESSED)
    return connection.scalars(found).all()


def _meant(one: ListedAddress, suppressed: Collection[str]) -> str:
    return next((form for form in one.literally if comparable(form) in suppressed), one.address)


def _iso(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else to_iso(milliseconds)
