"""Take over from a journal what a restored backup does not know: who was sent to since, and what people wished.

Unsubscribes and what takes them back are replayed in the order of their times; of blocks the last counts. Where it is
not sure, nobody is written to: nothing is taken back that was wished later or less than `LEEWAY` before, and nothing at
all if it is not on record from when the backup is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from sqlalchemy import Connection, func, select

from mailer.campaigns.people.erasure import erase
from mailer.directory.changes import addresses_in
from mailer.errors import InvalidState
from mailer.messages.addresses import comparable
from mailer.messages.template import delivery_id
from mailer.storage.database import Database
from mailer.storage.erased.key import Of, digest, known_key
from mailer.storage.erased.people import remember_hashes
from mailer.storage.journal.reader import Entry, Read
from mailer.storage.journal.writer import Wished, fingerprint
from mailer.storage.models import Event, RefusedAddress, User, Wish, WishOf
from mailer.suppression.blocked_addresses import block
from mailer.suppression.list_files import ListedAddress, ListedPerson
from mailer.suppression.suppressed_addresses import lift
from mailer.suppression.unsubscribe_lists import unsubscribe_listed
from mailer.suppression.unsubscribes import resubscribe, resubscribe_address
from mailer.suppression.wishes import of_address
from mailer.timeline.events import Kind
from mailer.workspace.scheduled_sync import SPOOL

BY = "journal"  # who has brought what is taken over
REASON = "blocked before the backup was restored, as the journal says"
LEEWAY = 5000  # ms: two processes may write in another order than they commit
MARGIN = 3_600_000  # ms: a wish may have its time from before the backup, and its commit from after it

Addresses = Mapping[str, str]  # those that are known here, by their hashes


@dataclass(slots=True)
class TakenOver:
    """How many wishes of each kind hold now that did not before, and how many are about addresses that nobody here has.

    `unknown` ones are taken over by another run, once the users of after the backup are in the directory again.
    `refused` says for which users an erasure has to wait, and why.
    """

    counts: dict[str, int] = field(default_factory=dict)
    unknown: int = 0
    refused: dict[str, str] = field(default_factory=dict)

    def add(self, wish: Wished, count: int) -> None:
        """Count these too."""
        self.counts[wish.value] = self.counts.get(wish.value, 0) + count


def proved(found: Read) -> Iterator[str]:
    """The ids of the deliveries that were sent."""
    return (delivery_id(campaign_id, user_id) for campaign_id, user_id in found.sent)


def take_over(db: Database, wishes: Sequence[Entry], *, spool_path: Path = SPOOL) -> TakenOver:
    """Have the wishes hold that were made since the backup; it may be said again and again.

    Raises `InvalidState` where the hashes were made under another key than this database has.
    """
    with db.read() as connection:
        key, made_at = known_key(connection), _made_at(connection)
        _require_key(key, wishes)
        known = _known_addresses(connection, key or b"")
    told, backs = TakenOver(), made_at is not None
    since = [one for one in wishes if one.at >= (made_at or MARGIN) - MARGIN]
    _replay(db, [one for one in since if backs or one.wish is not Wished.SUBSCRIBE], known, told)
    _blocks(db, [one for one in since if backs or one.wish is not Wished.LIFT], known, told)
    for entry in since:
        if entry.wish is Wished.ERASE and entry.user_id is not None:
            _erase(db, entry.user_id, entry.hashes, told, spool_path)
    return told


def _require_key(key: bytes | None, wishes: Iterable[Entry]) -> None:
    known = set() if key is None else {fingerprint(key)}
    if {entry.key for entry in wishes if entry.hashes} - known:
        raise InvalidState("The journal's hashes are not of this database: the backup is older than the journal.")


def _made_at(connection: Connection) -> int | None:
    """When the backup was made that this database was restored from last; None: that is not on record."""
    restored = select(Event.details).where(Event.kind == Kind.RESTORED.value).order_by(Event.id.desc()).limit(1)
    details = connection.scalar(restored)
    return None if details is None else int(details["made_at"])


def _known_addresses(connection: Connection, key: bytes) -> Addresses:
    """Every address that the database has anywhere, by its hash."""
    found: set[str] = set(connection.scalars(select(RefusedAddress.address)))
    found |= set(connection.scalars(select(Wish.value).where(Wish.kind != WishOf.USER)))
    for document, email in connection.execute(select(User.document, User.email)):
        found |= addresses_in(document) | ({comparable(email)} if email else set())
    return {digest(key, Of.ADDRESS, one): one for one in found}


def _replay(db: Database, wishes: Iterable[Entry], known: Addresses, told: TakenOver) -> None:
    """Unsubscribes and what takes them back, in order; of two at the same time the unsubscribe comes last."""
    unsubscribes = (Wished.SUBSCRIBE, Wished.UNSUBSCRIBE)
    theirs = [one for one in wishes if one.wish in unsubscribes]
    in_order = sorted(theirs, key=lambda one: (one.at, unsubscribes.index(one.wish)))
    for wish, some in groupby(in_order, key=lambda one: one.wish):
        if wish is Wished.SUBSCRIBE:
            told.add(wish, sum(_take_back(db, one, known, told) for one in some))
            continue
        people = [person for one in some for person in _people(one, known, told)]
        told.add(wish, unsubscribe_listed(db, people, by=BY, source=BY).unsubscribed if people else 0)


def _people(entry: Entry, known: Addresses, told: TakenOver) -> Iterator[ListedPerson]:
    """Whom an unsubscribe is about, as lists name them."""
    addresses = [known[one] for one in entry.hashes if one in known]
    told.unknown += len(entry.hashes) - len(addresses)
    if not addresses and entry.user_id is not None:
        yield ListedPerson(entry.user_id, None, entry.at)
    for address in addresses:
        yield ListedPerson(entry.user_id, address, entry.at)


def _take_back(db: Database, entry: Entry, known: Addresses, told: TakenOver) -> bool:
    """Have somebody written to again, whose wish is older than that they took it back."""
    address = next((known[one] for one in entry.hashes if one in known), None)
    if entry.user_id is None and address is None:
        told.unknown += 1
        return False
    with db.read() as connection:
        wished_at = _wished_at(connection, entry.user_id, address)
    if wished_at is None or wished_at + LEEWAY > entry.at:
        return False
    if entry.user_id is not None:
        return resubscribe(db, entry.user_id, merged=bool(entry.hashes))
    return resubscribe_address(db, address or "") is not None


def _wished_at(connection: Connection, user_id: str | None, address: str | None) -> int | None:
    """When a user, or for an address alone whoever has it, unsubscribed last, in ms; None: they have not."""
    newest = select(func.max(Wish.unsubscribed_at))
    if user_id is None:
        return connection.scalar(newest.where(of_address(address or "")))
    marked = connection.scalar(select(User.unsubscribed_at).where(User.id == user_id))
    return marked or connection.scalar(newest.where(Wish.kind == WishOf.USER, Wish.value == user_id))


def _blocks(db: Database, wishes: Iterable[Entry], known: Addresses, told: TakenOver) -> None:
    """Of each address the last block or lift; a block that is there already keeps its reason."""
    last: dict[str, tuple[int, Wished]] = {}
    for entry in wishes:
        if entry.wish in (Wished.BLOCK, Wished.LIFT):
            at = entry.at + (LEEWAY if entry.wish is Wished.BLOCK else 0)  # a lift comes last only well after it
            for one in entry.hashes:
                last[one] = max(last.get(one, (0, entry.wish)), (at, entry.wish))
    told.unknown += sum(wish is Wished.BLOCK and one not in known for one, (_, wish) in last.items())
    wanted = {known[one]: each for one, each in last.items() if one in known}
    with db.read() as connection:
        times = select(RefusedAddress.address, RefusedAddress.blocked_at, RefusedAddress.suppressed_at)
        there = {address: (blocked, suppressed) for address, blocked, suppressed in connection.execute(times)}
    nothing = (None, None)
    new = [one for one, (_, wish) in wanted.items() if wish is Wished.BLOCK and there.get(one, nothing)[0] is None]
    told.add(Wished.BLOCK, block(db, map(ListedAddress, new), by=BY, reason=REASON).blocked if new else 0)
    over = [one for one, (at, wish) in wanted.items() if wish is Wished.LIFT and _is_older(there.get(one, nothing), at)]
    told.add(Wished.LIFT, lift(db, over).lifted if over else 0)


def _is_older(times: tuple[int | None, int | None], at: int) -> bool:
    return all(one is None or one + LEEWAY <= at for one in times)


def _erase(db: Database, user_id: str, hashes: Collection[str], told: TakenOver, spool_path: Path) -> None:
    with db.read() as connection:
        there = connection.scalar(select(User.id).where(User.id == user_id)) is not None
    try:
        if there:
            erase(db, user_id, spool_path=spool_path)
    except InvalidState as error:
        told.refused[user_id] = error.text
        return
    with db.write() as connection:
        new = remember_hashes(connection, db.clock(connection), user_id, hashes)
    told.add(Wished.ERASE, int(there or new))
