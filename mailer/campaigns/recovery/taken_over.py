"""Have what a journal says last of a person hold here, unless what is known here is later: the net difference alone.

What is known is the mark, the kept wish, and the history, each by its time. What is written has the time and the cause
that the journal gives it, so the same journal makes no difference when it is read again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from mailer.audit.log import Act, record
from mailer.campaigns.recovery.net_wishes import LEEWAY, Directory, Last, Person
from mailer.storage.erased.people import erased_users
from mailer.storage.journal.reader import Entry
from mailer.storage.journal.writer import Wished
from mailer.storage.models import Erased, UnsubscribeEvent, User, Wish, WishOf, comparable_address
from mailer.suppression import hashed_wishes, history, wishes
from mailer.suppression.history import FROM_JOURNAL, Cause, Event, Means

BY = "journal"  # who has brought what is taken over, where the journal does not say


@dataclass(slots=True)
class Known:
    """What the database knew before: when each user unsubscribed (ms since 1970), and the times in the history."""

    marks: Mapping[str, int]
    times: Mapping[Person, set[int]] = field(default_factory=dict)


def known(connection: Connection, directory: Directory, since: int) -> Known:
    """What is known, of the history from `since` (ms) on: what is older is in the marks."""
    marked = select(User.id, User.unsubscribed_at).where(User.unsubscribed_at.is_not(None))
    marks = {user_id: at or 0 for user_id, at in connection.execute(marked)}
    times: dict[Person, set[int]] = defaultdict(set)
    events = select(UnsubscribeEvent.user_id, UnsubscribeEvent.address, UnsubscribeEvent.at)
    for user_id, address, at in connection.execute(events.where(UnsubscribeEvent.at >= since)):
        times[Person(user_id) if user_id else Person(hashed=directory.hashes.get(address or ""))].add(at)
        own = directory.address_of.get(user_id or "")
        if own is not None:  # what somebody has done since, the list that named their address is older than
            times[Person(hashed=directory.hashes[own])].add(at)
    return Known(marks, times)


def is_news(person: Person, entry: Entry, what: Known) -> bool:
    """Whether an entry is neither known nor older than what is; in doubt an unsubscribe is news."""
    times = what.times.get(person, set())
    leeway = LEEWAY if entry.wish is Wished.UNSUBSCRIBE else 0
    return entry.at not in times and entry.at + leeway > max(times, default=0)


def hold_all(
    connection: Connection, now: int, last: Mapping[Person, Last], directory: Directory, what: Known
) -> dict[Wished, int]:
    """Do it for everybody, addresses first; return how many differences there were of each kind.

    To be called under the lock of `wishes`, taken before the directory was read.
    """
    counts = {Wished.SUBSCRIBE: 0, Wished.UNSUBSCRIBE: 0}
    for person, one in sorted(last.items(), key=lambda item: item[0].user_id is not None):
        if is_news(person, one.entry, what):
            counts[one.wish] += _hold_one(connection, now, person, one.entry, directory, what)
    return counts


def _hold_one(connection: Connection, now: int, person: Person, entry: Entry, directory: Directory, what: Known) -> int:
    out = entry.wish is Wished.UNSUBSCRIBE
    if person.user_id is None:
        hashed = person.hashed or ""
        return (
            _address_out(connection, now, hashed, entry, directory)
            if out
            else _address_back(connection, hashed, entry, directory)
        )
    if person.user_id not in directory.address_of:
        return _absent(connection, now, person.user_id, entry)
    mark = what.marks.get(person.user_id)
    if out:
        return 0 if mark is not None else _user_out(connection, now, person.user_id, entry)
    return 0 if mark is None or mark + LEEWAY > entry.at else _user_back(connection, now, person.user_id, entry)


def _user_out(connection: Connection, now: int, user_id: str, entry: Entry) -> int:
    whose = (User.id == user_id, User.unsubscribed_at.is_(None))
    marking = update(User).where(*whose).values(unsubscribed_at=entry.at).returning(User.id, User.email)
    newly = [(one.id, one.email) for one in connection.execute(marking)]
    _write(connection, entry, Event.UNSUBSCRIBED, newly)
    wishes.keep_inactive(connection, now, user_id)
    _record(connection, now, Act.UNSUBSCRIBE, user_id, newly)
    return len(newly)


def _user_back(connection: Connection, now: int, user_id: str, entry: Entry) -> int:
    whose = (User.id == user_id, User.unsubscribed_at.is_not(None))
    unmarking = update(User).where(*whose).values(unsubscribed_at=None).returning(User.id, User.email)
    back = [(one.id, one.email) for one in connection.execute(unmarking)]
    for _, address in back:
        wishes.forget(connection, user_id, address)
    _write(connection, entry, Event.SUBSCRIBED, back)
    _record(connection, now, Act.SUBSCRIBE_AGAIN, user_id, back)
    return len(back)


def _absent(connection: Connection, now: int, user_id: str, entry: Entry) -> int:
    """Of an id that nobody here has, a wish is kept, or taken back."""
    theirs = (Wish.kind == WishOf.USER, Wish.value == user_id)
    kept = connection.scalar(select(Wish.unsubscribed_at).where(*theirs))
    if entry.wish is Wished.SUBSCRIBE:
        if kept is None or kept + LEEWAY > entry.at:
            return 0
        connection.execute(delete(Wish).where(*theirs))
        _write(connection, entry, Event.SUBSCRIBED, [(user_id, None)])
        return 1
    if kept is not None or erased_users(connection, [user_id]):
        return 0
    connection.execute(insert(Wish).values(kind=WishOf.USER.value, value=user_id, **_kept(entry, now)))
    _write(connection, entry, Event.UNSUBSCRIBED, [(user_id, None)])
    return 1


def _address_out(connection: Connection, now: int, hashed: str, entry: Entry, directory: Directory) -> int:
    """Keep the wish of an address, unless it is that of somebody who was erased; whoever has it counts as a user."""
    if connection.scalar(select(Erased.digest).where(Erased.digest == hashed)) is not None:
        return 0
    address = directory.addresses.get(hashed)
    if address is None:
        return int(hashed_wishes.keep(connection, WishOf.HASHED, hashed, entry.at, now, entry.who or BY))
    theirs = (Wish.kind == WishOf.ADDRESS, Wish.value == address)
    if connection.scalar(select(Wish.kind).where(*theirs)) is not None:
        return 0
    connection.execute(insert(Wish).values(kind=WishOf.ADDRESS.value, value=address, **_kept(entry, now)))
    if directory.users_at.get(address):
        return 0
    _write(connection, entry, Event.UNSUBSCRIBED, [(None, address)])
    return 1


def _address_back(connection: Connection, hashed: str, entry: Entry, directory: Directory) -> int:
    """Forget the wish of an address, and unmark those whom it has marked."""
    address = directory.addresses.get(hashed)
    if address is None:
        return int(hashed_wishes.forget(connection, WishOf.HASHED, hashed, until=entry.at - LEEWAY))
    theirs = wishes.of_address(address) & (Wish.unsubscribed_at + LEEWAY <= entry.at)
    kept = connection.execute(delete(Wish).where(theirs).returning(Wish.kind, Wish.unsubscribed_at)).all()
    if not kept:
        return 0
    times = [at for kind, at in kept if kind == WishOf.ADDRESS]
    marked = (comparable_address() == address, User.unsubscribed_at.in_(times))
    unmarking = update(User).where(*marked).values(unsubscribed_at=None).returning(User.id, User.email)
    users = [(one.id, one.email) for one in connection.execute(unmarking)]
    _write(connection, entry, Event.SUBSCRIBED, [*users, (None, address)])
    return max(1, len(users))


def _kept(entry: Entry, now: int) -> dict[str, Any]:
    return {"unsubscribed_at": entry.at, "kept_at": now, "kept_by": entry.who or BY, "source": entry.source or BY}


def _write(connection: Connection, entry: Entry, event: Event, whom: Iterable[tuple[str | None, str | None]]) -> None:
    """Write the history as the journal tells it, saying that it is from there."""
    means = Means(entry.means) if entry.means in set(Means) else Means.UNKNOWN
    source = f"{entry.source}, {FROM_JOURNAL}" if entry.source else FROM_JOURNAL
    history.add(connection, entry.at, event, Cause(means, entry.who, entry.campaign_id, source), whom)


def _record(connection: Connection, now: int, act: Act, user_id: str, changed: Iterable[object]) -> None:
    if changed:
        record(connection, now, act, user_id, journal=True)
