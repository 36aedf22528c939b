"""Which signing keys are needed: their links are young, or recipients use them. What is said where one is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, delete, select

from mailer.audit.log import Act, record
from mailer.errors import InvalidState, NotFound
from mailer.storage.database import Database
from mailer.storage.models import SigningKey
from mailer.times import to_iso

YEAR = 365 * 24 * 60 * 60 * 1000  # ms for which somebody may still want to unsubscribe by a link


class Role(StrEnum):
    """What this process does with a key."""

    SIGNS = "signs"  # the first of the setting
    VERIFIES = "verifies"
    MISSING = "missing"  # its links lead to nothing


@dataclass(frozen=True, slots=True)
class KnownKey:
    """What is known of a key. Times are ms since 1970, right to the hour.

    `messages`: the most that it has signed since `known_at`. `may_go_at`: from when on nobody should need it; None: it
    signs. `may_go`: that time has come.
    """

    fingerprint: str
    role: Role
    known_at: int | None
    last_signed_at: int | None
    messages: int
    last_used_at: int | None
    may_go_at: int | None
    may_go: bool


def known_keys(db: Database, fingerprints: Sequence[str]) -> list[KnownKey]:
    """Every key of the settings (`fingerprints`, first of the one that signs), then those that are missing there."""
    with db.read() as connection:
        now, rows = db.clock(connection), _rows(connection)
    names = [*dict.fromkeys(fingerprints), *(one for one in rows if one not in fingerprints)]
    return [_known(name, rows.get(name), fingerprints, now) for name in names]


def missing_keys(db: Database, fingerprints: Sequence[str]) -> list[str]:
    """A sentence for each key that is needed and is not in the settings."""
    return [_sentence(one) for one in known_keys(db, fingerprints) if one.role is Role.MISSING and not one.may_go]


def forget_key(db: Database, fingerprint: str, fingerprints: Sequence[str]) -> None:
    """Forget a key that is not in the settings, so that nobody is warned of it any more.

    Raises `NotFound`, and `InvalidState` for a key that is in the settings.
    """
    if fingerprint in fingerprints:
        raise InvalidState("This key is in MAILER_SECRET_KEY; take it out there first.")
    with db.write() as connection:
        gone = delete(SigningKey).where(SigningKey.fingerprint == fingerprint).returning(SigningKey.messages)
        messages = connection.scalars(gone).one_or_none()
        if messages is None:
            raise NotFound(f"There is no key with the fingerprint {fingerprint}.")
        record(connection, db.clock(connection), Act.FORGET_KEY, fingerprint, messages=messages)


def _rows(connection: Connection) -> dict[str, SigningKey]:
    columns = (SigningKey.fingerprint, SigningKey.known_at, SigningKey.last_signed_at)
    query = select(*columns, SigningKey.messages, SigningKey.last_used_at).order_by(SigningKey.known_at.desc())
    return {row.fingerprint: SigningKey(**row._mapping) for row in connection.execute(query)}


def _known(name: str, row: SigningKey | None, fingerprints: Sequence[str], now: int) -> KnownKey:
    role = Role.MISSING if name not in fingerprints else Role.SIGNS if name == fingerprints[0] else Role.VERIFIES
    if row is None:  # no process has begun with it yet, so how old its links are nobody knows
        return KnownKey(name, role, None, None, 0, None, None if role is Role.SIGNS else now + YEAR, may_go=False)
    last = max(row.last_signed_at or row.known_at, row.last_used_at or 0)
    until = None if role is Role.SIGNS else last + YEAR
    about = (row.known_at, row.last_signed_at, row.messages, row.last_used_at)
    return KnownKey(name, role, *about, until, may_go=until is not None and until <= now)


def _sentence(one: KnownKey) -> str:
    if not one.messages:
        return (
            f"MAILER_SECRET_KEY lacks the key {one.fingerprint}, which has signed nothing since it is known here: "
            "links of before or from elsewhere lead nowhere; "
            f"add it behind the first, or `mailer keys forget {one.fingerprint}`"
        )
    count = "1 message" if one.messages == 1 else f"{one.messages:,} messages"
    until = "" if one.last_signed_at is None else f", the last at {to_iso(one.last_signed_at, precision='seconds')}"
    what = f"unsubscribe links of up to {count}{until}"
    return f"MAILER_SECRET_KEY lacks the key {one.fingerprint}: {what} lead nowhere; add it behind the first"
