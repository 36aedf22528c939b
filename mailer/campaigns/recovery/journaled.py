"""Take over from a journal what a restored backup does not know: who was sent to since, and what people wished.

Of unsubscribes and of what takes them back the last of each person counts (`net_wishes`), and of blocks the last of
each address. Where it is not sure, nobody is written to: nothing is taken back that was wished later or less than
`LEEWAY` before, and nothing at all if it is not on record from when the backup is. Who was deactivated since becomes
inactive again; who was made active since is only told.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, select

from mailer.callers import held_tokens
from mailer.campaigns.people.erasure import erase
from mailer.campaigns.recovery import net_wishes, taken_over
from mailer.campaigns.recovery.net_wishes import LEEWAY, Directory
from mailer.campaigns.recovery.taken_over import BY
from mailer.directory.changes import addresses_in
from mailer.directory.users import deactivate_user
from mailer.errors import InvalidState, MailerError
from mailer.messages.addresses import comparable
from mailer.messages.template import delivery_id
from mailer.storage.database import Database
from mailer.storage.erased.key import Of, digest, known_key
from mailer.storage.erased.people import remember_hashes
from mailer.storage.journal.reader import Entry, Read
from mailer.storage.journal.writer import Wished, fingerprint
from mailer.storage.models import Erased, Event, RefusedAddress, User, Wish, WishOf
from mailer.suppression import hashed_wishes
from mailer.suppression.blocked_addresses import block
from mailer.suppression.hashed_wishes import REASON
from mailer.suppression.list_files import ListedAddress
from mailer.suppression.suppressed_addresses import lift
from mailer.suppression.wishes import lock
from mailer.timeline.events import Kind
from mailer.workspace.scheduled_sync import SPOOL

MINUTE = 60_000  # ms
MARGIN = 3_600_000  # ms: a wish may have its time from before the backup, and its commit from after it


class Restored(NamedTuple):
    """When a database was restored, and when its backup was made, in ms since 1970."""

    at: int
    made_at: int


@dataclass(slots=True)
class TakenOver:
    """How many wishes of each kind hold now that did not before.

    `unknown` ones are about addresses that nobody here has: they are kept, by the hash, for whoever comes. `refused`
    says for which users an erasure or a deactivation has to wait, and why. `deactivated` are users who are inactive now
    by the journal, `returned` are inactive here and were made active after the backup, and `absent` were deactivated
    and are not here. `revoked` counts the tokens that the journal ends.
    """

    counts: dict[str, int] = field(default_factory=dict)
    unknown: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    deactivated: list[str] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    revoked: int = 0

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
        key, moments = known_key(connection), restored(connection)
        _require_key(key, wishes)
    made_at = moments and moments.made_at
    told, backs = TakenOver(), made_at is not None
    begun = (made_at or MARGIN) - MARGIN
    since = [one for one in wishes if one.at >= begun]
    _net(db, [one for one in since if backs or one.wish is not Wished.SUBSCRIBE], key or b"", begun, told)
    _blocks(db, [one for one in since if backs or one.wish is not Wished.LIFT], key or b"", told)
    if moments is not None:
        _activity(db, [one for one in since if moments.made_at - MINUTE <= one.at <= moments.at], told)
    for entry in since:
        if entry.wish is Wished.ERASE and entry.user_id is not None:
            _erase(db, entry.user_id, entry.hashes, told, spool_path)
    with db.read() as connection:
        told.unknown = hashed_wishes.count(connection)
    return told


def end_revoked(db: Database, journal: Read, told: TakenOver) -> None:
    """End those tokens of the backup that were ended after it."""
    with db.write() as connection:
        told.revoked = held_tokens.end(connection, journal.revoked)


def _require_key(key: bytes | None, wishes: Iterable[Entry]) -> None:
    known = set() if key is None else {fingerprint(key)}
    if {entry.key for entry in wishes if entry.hashes} - known:
        raise InvalidState("The journal's hashes are not of this database: the backup is older than the journal.")


def restored(connection: Connection) -> Restored | None:
    """When this database was restored last, and from what; None: that is not on record."""
    events = select(Event.at, Event.details).where(Event.kind == Kind.RESTORED.value)
    found = connection.execute(events.order_by(Event.id.desc()).limit(1)).one_or_none()
    return None if found is None else Restored(found.at, int(found.details["made_at"]))


def _directory(connection: Connection, key: bytes) -> Directory:
    """Everybody in the directory, and every address that the database has anywhere, by its hash."""
    found: set[str] = set(connection.scalars(select(RefusedAddress.address)))
    found |= set(connection.scalars(select(Wish.value).where(Wish.kind.in_([WishOf.ADDRESS, WishOf.SHARED]))))
    users_at: dict[str, list[str]] = defaultdict(list)
    address_of: dict[str, str | None] = {}
    for user_id, document, email in connection.execute(select(User.id, User.document, User.email)):
        address = address_of[user_id] = comparable(email) if email else None
        found |= addresses_in(document) | ({address} if address else set())
        if address is not None:
            users_at[address].append(user_id)
    hashes = {one: digest(key, Of.ADDRESS, one) for one in found}
    return Directory({hashed: one for one, hashed in hashes.items()}, hashes, users_at, address_of)


def _net(db: Database, wishes: Iterable[Entry], key: bytes, begun: int, told: TakenOver) -> None:
    """Unsubscribes and what takes them back: what is left of them in the end, where that is not known here."""
    theirs = [one for one in wishes if one.wish in (Wished.SUBSCRIBE, Wished.UNSUBSCRIBE)]
    with db.write() as connection:
        lock(connection, listing=True)  # whoever comes after this finds what is kept for them
        directory = _directory(connection, key)
        hashed_wishes.learn(connection, list(directory.hashes))
        last = net_wishes.last_of_each(theirs, directory)
        what = taken_over.known(connection, directory, begun)
        counts = taken_over.hold_all(connection, db.clock(connection), last, directory, what)
    for wish, count in counts.items():
        told.add(wish, count)


def _blocks(db: Database, wishes: Iterable[Entry], key: bytes, told: TakenOver) -> None:
    """Of each address the last block or lift; a block that is there already keeps its reason."""
    last: dict[str, tuple[int, Wished, Entry]] = {}
    for entry in wishes:
        if entry.wish in (Wished.BLOCK, Wished.LIFT):
            at = entry.at + (LEEWAY if entry.wish is Wished.BLOCK else 0)  # a lift comes last only well after it
            for one in entry.hashes:
                before = last.get(one)
                if before is None or (at, entry.wish) >= before[:2]:
                    last[one] = (at, entry.wish, entry)
    with db.write() as connection:
        lock(connection, listing=True)
        known = _directory(connection, key).addresses
        for hashed, (_, wish, entry) in last.items():
            if hashed not in known:
                told.add(wish, int(_unknown(connection, hashed, entry, db.clock(connection))))
    _known_blocks(db, {known[one]: each for one, each in last.items() if one in known}, told)


def _unknown(connection: Connection, hashed: str, entry: Entry, now: int) -> bool:
    """Keep the block of an address that nobody here has, or forget it; whether that makes a difference."""
    if entry.wish is Wished.LIFT:
        return hashed_wishes.forget(connection, WishOf.BLOCKED, hashed, until=entry.at - LEEWAY)
    if connection.scalar(select(Erased.digest).where(Erased.digest == hashed)) is not None:
        return False
    return hashed_wishes.keep(connection, WishOf.BLOCKED, hashed, entry.at, now, entry.who or BY)


def _known_blocks(db: Database, wanted: Mapping[str, tuple[int, Wished, Entry]], told: TakenOver) -> None:
    with db.read() as connection:
        times = select(RefusedAddress.address, RefusedAddress.blocked_at, RefusedAddress.suppressed_at)
        there = {address: (blocked, suppressed) for address, blocked, suppressed in connection.execute(times)}
    nothing = (None, None)
    new: dict[str, list[str]] = defaultdict(list)
    for one, (_, wish, entry) in wanted.items():
        if wish is Wished.BLOCK and there.get(one, nothing)[0] is None:
            new[entry.who or BY].append(one)
    told.add(Wished.BLOCK, sum(block(db, map(ListedAddress, new[by]), by=by, reason=REASON).blocked for by in new))
    over = [
        one for one, (at, wish, _) in wanted.items() if wish is Wished.LIFT and _is_older(there.get(one, nothing), at)
    ]
    told.add(Wished.LIFT, lift(db, over).lifted if over else 0)


def _is_older(times: tuple[int | None, int | None], at: int) -> bool:
    return all(one is None or one + LEEWAY <= at for one in times)


def _activity(db: Database, wishes: Iterable[Entry], told: TakenOver) -> None:
    """Deactivate whom the journal has as deactivated last; whoever became active since is for a person to look at."""
    last: dict[str, Entry] = {}
    for entry in sorted(wishes, key=lambda one: one.at + (LEEWAY if one.wish is Wished.DEACTIVATE else 0)):
        if entry.wish in (Wished.DEACTIVATE, Wished.ACTIVATE) and entry.user_id is not None:
            last[entry.user_id] = entry
    with db.read() as connection:
        active = {row.id: row.active for row in connection.execute(select(User.id, User.active))}
    for user_id, entry in sorted(last.items()):
        if entry.wish is Wished.ACTIVATE:
            told.returned += [user_id] if active.get(user_id) is False else []
        elif user_id not in active:
            told.absent.append(user_id)
        elif active[user_id]:
            _deactivate(db, user_id, told)


def _deactivate(db: Database, user_id: str, told: TakenOver) -> None:
    try:
        deactivate_user(db, user_id)
    except MailerError as error:  # a document that today's rules refuse
        told.refused[user_id] = error.text
    else:
        told.deactivated.append(user_id)


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
        for kind in hashed_wishes.KINDS:  # the hash of who was erased keeps everybody away by itself
            for one in hashes:
                hashed_wishes.forget(connection, kind, one)
    told.add(Wished.ERASE, int(there or new))
