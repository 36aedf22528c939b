"""Take over such a list: wishes become wishes, and all other reasons suppress the address at once.

All of the list is taken over or, on an error, nothing. Of what is known already the earlier time counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Insert, and_, bindparam, case, func, or_, select

from mailer.audit.log import Act, record
from mailer.messages.addresses import comparable
from mailer.storage.database import Database
from mailer.storage.dialects import NewRow, Upsert, new_row
from mailer.storage.erased.people import erased_addresses
from mailer.storage.journal.writer import Wished
from mailer.storage.models import RefusedAddress, Wish, WishOf
from mailer.suppression.exchange.entries import WISHES, Entry, Why
from mailer.suppression.exchange.judging import Sieve
from mailer.suppression.exchange.spool import Spool
from mailer.suppression.list_files import ListedPerson
from mailer.suppression.suppressed_addresses import SUPPRESSED
from mailer.suppression.unsubscribe_lists import unsubscribe_listed

CHUNK = 500  # rows
UNNAMED = "an imported list"  # what a list is called that has no name
TIMES = ("bounced_at", "complained_at", "blocked_at")


@dataclass(frozen=True, slots=True)
class Imported:
    """What a list held, by reason, and what came of it.

    `suppressed` addresses are newly not written to, and so are `newly_unsubscribed` users. `unmatched` rows of wishes
    name nobody yet, and are kept. `erased` rows are about people who were erased, and were left out. All four are 0
    where nothing was done. `left_out` rows are bounces that say nothing against the address, and `such_as` is what the
    first of them says.
    """

    unsubscribed: int
    refused: int
    bounced: int
    complained: int
    blocked: int
    newly_unsubscribed: int = 0
    suppressed: int = 0
    unmatched: int = 0
    erased: int = 0
    left_out: int = 0
    such_as: str = ""


def import_entries(
    db: Database, entries: Iterable[Entry], *, by: str, source: str, dry_run: bool = False, everything: bool = False
) -> Imported:
    """Take over all entries or, on an error, none. With `dry_run` they are only read.

    `by` is who brings them, and `source` what the list is called. Bounces that are not about the address are left out,
    unless `everything` is taken.
    """
    sieve = Sieve(entries, everything=everything)
    with Spool(sieve) as spool:
        read = _counted(spool, sieve)
        if dry_run or not (spool.counts or sieve.left_out):
            return read
        suppressing = _Suppressing(db, spool, by, source, sieve)
        people = (_person(entry) for entry in spool if entry.reason is Why.UNSUBSCRIBED)
        done = unsubscribe_listed(db, people, by=by, source=source, besides=suppressing)
        effect: dict[str, Any] = {"newly_unsubscribed": done.unsubscribed, "unmatched": done.unmatched}
        return replace(read, **effect, suppressed=suppressing.new, erased=done.erased + suppressing.erased)


def left_out(count: int, such_as: str) -> str:
    """A sentence about the rows that were left out."""
    what = f"{count} rows" if count > 1 else "1 row"
    return f"{what} not about the address, or not for good, such as: {such_as or 'no code and no words'}"


def _counted(spool: Spool, sieve: Sieve) -> Imported:
    counts = {why.value: spool.counts[why] for why in (Why.REFUSED, Why.BOUNCED, Why.COMPLAINED, Why.BLOCKED)}
    wishes = sum(spool.counts[why] for why in WISHES)
    return Imported(wishes, **counts, left_out=sieve.left_out, such_as=sieve.example)


def _person(entry: Entry) -> ListedPerson:
    return ListedPerson(entry.user_id, entry.address, entry.since)


class _Suppressing:
    """Suppresses the addresses of a list, in a transaction that is called with its connection and the time."""

    def __init__(self, db: Database, spool: Spool, by: str, source: str, sieve: Sieve) -> None:
        self._db, self._spool, self._by, self._source = db, spool, by, source
        self._left_out = {"leftOut": sieve.left_out} if sieve.left_out else {}  # no words: they may name somebody
        self.new = self.erased = 0

    def __call__(self, connection: Connection, now: int) -> None:
        before, self.erased, addresses = _suppressed(connection), 0, 0
        for some in _chunks(entry for entry in self._spool if entry.reason is not Why.UNSUBSCRIBED):
            erased = erased_addresses(connection, {comparable(entry.address or "") for entry in some})
            left = [entry for entry in some if comparable(entry.address or "") not in erased]
            self.erased += len(some) - len(left)
            self._share(connection, now, [entry for entry in left if entry.reason is Why.SHARED])
            addresses += self._suppress(connection, now, [entry for entry in left if entry.reason not in WISHES])
        self.new = _suppressed(connection) - before
        if addresses or self._left_out:
            counts = {"addresses": addresses, "blocked": self.new, **self._left_out}
            record(connection, now, Act.BLOCK_ADDRESSES, **counts, list=self._source)

    def _suppress(self, connection: Connection, now: int, entries: list[Entry]) -> int:
        rows = [_row(entry, now, self._by, self._source) for entry in entries]
        if rows:
            _SUPPRESS.run(connection, rows)
        if rows and self._db.journal is not None:
            self._db.journal.wishes(Wished.BLOCK, now, ((None, [row["address"]]) for row in rows))
        return len(rows)

    def _share(self, connection: Connection, now: int, entries: list[Entry]) -> None:
        kept = {"kind": WishOf.SHARED.value, "kept_at": now, "kept_by": self._by, "source": self._source}
        rows = [
            {**kept, "value": comparable(entry.address or ""), "unsubscribed_at": _earlier(entry.since, now)}
            for entry in entries
        ]
        if rows:
            connection.execute(new_row(connection.dialect.name, Wish).on_conflict_do_nothing(), rows)


def _row(entry: Entry, now: int, by: str, source: str) -> dict[str, Any]:
    """The values of an address's row; times that do not apply are None."""
    since = _earlier(entry.since, now)
    blocked = entry.reason is Why.BLOCKED
    times = {
        "bounced_at": since if entry.reason is Why.BOUNCED else None,
        "complained_at": since if entry.reason is Why.COMPLAINED else None,
        "blocked_at": since if blocked else None,
    }
    teller = entry.provider.partition(",")[0] or source
    why = {"blocked_by": entry.by or by, "block_reason": entry.words or teller} if blocked else {}
    about_it = entry.reason in (Why.REFUSED, Why.BOUNCED)  # about the address; of a complaint nothing is said
    said = {"reply": entry.words, "rule": _rule(entry, teller)} if about_it else {}
    counted = {Why.REFUSED: max(1, entry.campaigns), Why.BOUNCED: entry.campaigns}.get(entry.reason, 0)
    return {
        "address": comparable(entry.address or ""),
        "since": since,
        "campaigns": counted,
        **times,
        **{"blocked_by": None, "block_reason": None, **why},
        **{"reply": "", "rule": "", **said},
    }


def _rule(entry: Entry, teller: str) -> str:
    """By what it counts, and who says so; a rule of our own export stays as it is."""
    if entry.rule and not entry.provider:
        return entry.rule
    return f"{entry.rule}, as {teller} says" if entry.rule else f"as {teller} says"


def _earlier(since: int | None, now: int) -> int:
    """A time that lies ahead, or is not known, is now."""
    return now if since is None else min(since, now)


def _suppressed(connection: Connection) -> int:
    return connection.execute(select(func.count()).select_from(RefusedAddress).where(SUPPRESSED)).scalar_one()


def _chunks(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    rest = iter(entries)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk


def _suppressing(new: NewRow) -> Insert:
    since = bindparam("since", type_=BigInteger)
    texts: dict[str, Any] = {
        name: bindparam(name) for name in ("address", "reply", "rule", "blocked_by", "block_reason")
    }
    times = {name: bindparam(name, type_=BigInteger) for name in TIMES}
    new = new.values(
        **texts, **times, campaigns=bindparam("campaigns"), campaign_ids="", refused_at=since, suppressed_at=since
    )
    kept: dict[str, Any] = {name: _earliest(new, name) for name in (*TIMES, "suppressed_at")}
    for name in ("blocked_by", "block_reason"):
        kept[name] = func.coalesce(getattr(RefusedAddress, name), new.excluded[name])
    for name in ("reply", "rule"):  # what has suppressed it says why
        own = getattr(RefusedAddress, name)
        first = and_(new.excluded[name] != "", or_(own == "", RefusedAddress.suppressed_at.is_(None)))
        kept[name] = case((first, new.excluded[name]), else_=own)
    more = new.excluded["campaigns"] > RefusedAddress.campaigns
    kept["campaigns"] = case((more, new.excluded["campaigns"]), else_=RefusedAddress.campaigns)
    return new.on_conflict_do_update(index_elements=["address"], set_=kept)


def _earliest(new: NewRow, name: str) -> ColumnElement[int | None]:
    """The earlier of the times on record and of the list; None: neither knows one."""
    own, its = getattr(RefusedAddress, name), new.excluded[name]
    return case((own.is_(None), its), (its.is_(None), own), (its < own, its), else_=own)


_SUPPRESS = Upsert(RefusedAddress, _suppressing)
