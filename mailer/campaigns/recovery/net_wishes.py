"""What is left of a journal's unsubscribes and of what took them back: the last of each person and address. Pure.

An unsubscribe counts as `LEEWAY` later than it is, since two processes may write in another order than they commit. So
where it is not sure which came last, nobody is written to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mailer.storage.journal.reader import Entry
from mailer.storage.journal.writer import Wished

LEEWAY = 5000  # ms


@dataclass(frozen=True, slots=True)
class Directory:
    """Who is here: the known addresses by their hashes, their hashes, who is written to at each, and at which."""

    addresses: Mapping[str, str]
    hashes: Mapping[str, str]
    users_at: Mapping[str, Sequence[str]]
    address_of: Mapping[str, str | None]


class Person(NamedTuple):
    """Whom an entry is about: a user by id or, as `hashed`, whoever has the address with that hash."""

    user_id: str | None = None
    hashed: str | None = None


class Last(NamedTuple):
    """The last entry about a person. `own`: it names them, and not only an address that they have."""

    entry: Entry
    own: bool

    @property
    def wish(self) -> Wished:
        """What was wished last."""
        return self.entry.wish


def last_of_each(wishes: Iterable[Entry], directory: Directory) -> dict[Person, Last]:
    """The last of the unsubscribes and of what takes them back, for each whom they are about."""
    found: dict[Person, Last] = {}
    for entry in sorted(wishes, key=_place):
        for person, own in _people(entry, directory):
            before = found.get(person)
            if before is None:
                found[person] = Last(entry, own)
            elif entry.wish is Wished.UNSUBSCRIBE is before.wish:
                found[person] = Last(before.entry, own or before.own)  # the time of the first stays
            elif own or not before.own or entry.wish is Wished.UNSUBSCRIBE:
                found[person] = Last(entry, own)  # else only the wish of an address that they have is taken back
    return found


def _place(entry: Entry) -> tuple[int, bool]:
    out = entry.wish is Wished.UNSUBSCRIBE
    return entry.at + (LEEWAY if out else 0), not out


def _people(entry: Entry, directory: Directory) -> Iterator[tuple[Person, bool]]:
    if entry.wish is Wished.SUBSCRIBE:
        return _back(entry, directory)
    return _out(entry, directory)


def _out(entry: Entry, directory: Directory) -> Iterator[tuple[Person, bool]]:
    """Whom an unsubscribe is about. An id with the user's own address is that user alone, as in a list."""
    at = {one: directory.addresses.get(one) for one in entry.hashes}
    if entry.user_id is not None:
        address = directory.address_of.get(entry.user_id)
        if entry.user_id in directory.address_of or not at:
            yield Person(entry.user_id), True
        if address is not None and address in at.values():
            return
    for hashed, known in at.items():
        yield Person(hashed=hashed), True
        for user_id in directory.users_at.get(known or "", ()):
            if user_id != entry.user_id:
                yield Person(user_id), False


def _back(entry: Entry, directory: Directory) -> Iterator[tuple[Person, bool]]:
    """Whom it is about that somebody subscribes again: with the hash of their address, all who share it."""
    if entry.user_id is not None:
        yield Person(entry.user_id), True
        own = directory.hashes.get(directory.address_of.get(entry.user_id) or "")
        if own is not None and own not in entry.hashes:
            yield Person(hashed=own), True
    for hashed in entry.hashes:
        yield Person(hashed=hashed), True
        for user_id in directory.users_at.get(directory.addresses.get(hashed, ""), ()):
            if user_id != entry.user_id:
                yield Person(user_id), entry.user_id is not None
