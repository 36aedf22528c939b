"""Somebody who was erased asks to join again: an operator has the hashes of what they come with forgotten.

Nobody is brought back by it. The next import, sync or request that names them is taken as that of anybody else.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, delete

from mailer.audit.log import Act, digest_of, record
from mailer.directory.changes import derived_id, old_derived_id
from mailer.errors import InvalidParams, NotFound
from mailer.messages.addresses import comparable, envelope_address
from mailer.storage.database import Database
from mailer.storage.erased.key import Of, digest, known_key
from mailer.storage.erased.people import forget
from mailer.storage.models import Wish, WishOf
from mailer.suppression import wishes

MOST_ADDRESSES = 20  # of one person
NOBODY = "Nobody who was erased had this id or one of these addresses."


@dataclass(frozen=True, slots=True)
class Readmitted:
    """What was on record as that of somebody who was erased, and is so no more: the id, and how many addresses."""

    user: bool
    addresses: int


def readmit(db: Database, user_id: str = "", addresses: Collection[str] = ()) -> Readmitted:
    """Let whoever has this id and these addresses come back; an empty id: they come with another one.

    What is not named stays erased: hashes do not tell which of them are of one person. Raises `InvalidParams` where
    nothing is named or an address is none, and `NotFound` where nothing of it is on record; then nothing changes.
    """
    named = sorted(_comparable(addresses))
    if not user_id and not named:
        raise InvalidParams("_id: Name the id or an address of who comes back.", field="_id")
    with db.write() as connection:
        wishes.lock(connection, listing=True)
        key, now = known_key(connection), db.clock(connection)
        if key is None:
            raise NotFound(NOBODY)
        done = _forget(connection, key, user_id, named)
        shared = (Wish.kind == WishOf.SHARED, Wish.source == wishes.OF_ERASED, Wish.value.in_(named))
        connection.execute(delete(Wish).where(*shared))
        counts = {"user": done.user, "addresses": done.addresses}
        about = [user_id] if user_id else [digest_of(key, address) for address in named]
        for one in about:
            record(connection, now, Act.READMIT_USER, one, **counts)
    return done


def _forget(connection: Connection, key: bytes, user_id: str, addresses: Collection[str]) -> Readmitted:
    """Forget the hashes; the id also where it was made of an address, since it would be made so again."""
    made = [id_ for address in addresses for id_ in (derived_id(key, address), old_derived_id(address))]
    ids = [digest(key, Of.USER, one) for one in {user_id, *made} if one]
    of_addresses = [digest(key, Of.ADDRESS, one) for one in addresses]
    found = forget(connection, [*ids, *of_addresses], secrets.token_hex)
    done = Readmitted(not found.isdisjoint(ids), len(found.intersection(of_addresses)))
    if not done.user and not done.addresses:
        raise NotFound(NOBODY)
    return done


def _comparable(addresses: Collection[str]) -> set[str]:
    """The addresses as hashes are made of them."""
    valid = [envelope_address(one.strip()) for one in addresses]
    if len(valid) > MOST_ADDRESSES:
        raise InvalidParams(f"addresses: More than {MOST_ADDRESSES}.", field="addresses")
    if None in valid:
        raise InvalidParams("addresses: Not a valid address.", field="addresses")
    return {comparable(one) for one in valid if one is not None}
