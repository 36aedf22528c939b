"""The audit log: what people changed, written in the transaction of the change itself, and read.

A row is never changed; a trigger of the database refuses it. Rows go only when they are older than
`MAILER_AUDIT_RETENTION` (`mailer.audit.retention`).

The log is kept for longer than addresses may be. So it names users by id, and addresses by a digest: who has the
address in hand can ask what was done about it, and the log tells nobody's address. A note of whoever acts is free text,
so it stands in a table of its own, with the addresses in it masked, and goes when the person is erased.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, cast

from sqlalchemy import Connection, Table, insert, select

from mailer.audit.actor import Actor, Via, current_actor
from mailer.logs.masking import without_addresses
from mailer.messages.addresses import comparable, envelope_address
from mailer.storage.database import Database
from mailer.storage.erased.key import Of, digest, known_key, made_key
from mailer.storage.models import AuditEntry, PersonNote

MAX_NOTE = 1000  # characters
WORDS = ("reason", "list")  # the details that people write; the others are counts, ids and digests
FEW = 20  # an act about so many addresses has a row for each, so that it is found by any of them


class Act(StrEnum):
    """What somebody did."""

    HOLD_SENDING = "hold-sending"
    RELEASE_SENDING = "release-sending"
    PAUSE_CAMPAIGN = "pause-campaign"
    RESUME_CAMPAIGN = "resume-campaign"
    CANCEL_CAMPAIGN = "cancel-campaign"
    RETRY_CAMPAIGN = "retry-campaign"
    EDIT_CAMPAIGN = "edit-campaign"
    TRANSFER_CAMPAIGNS = "transfer-campaigns"
    PURGE_CAMPAIGNS = "purge-campaigns"
    RECONCILE_CAMPAIGN = "reconcile-campaign"
    RESTORE = "restore"
    UNSUBSCRIBE = "unsubscribe"
    UNSUBSCRIBE_LIST = "unsubscribe-list"
    SUBSCRIBE_AGAIN = "subscribe-again"
    BLOCK_ADDRESSES = "block-addresses"
    LIFT_ADDRESSES = "lift-addresses"
    PUT_USER = "put-user"
    CHANGE_USER = "change-user"
    DEACTIVATE_USER = "deactivate-user"
    ERASE_USER = "erase-user"
    EXPORT_USER = "export-user"
    READMIT_USER = "readmit-user"
    IMPORT_USERS = "import-users"
    SYNC_USERS = "sync-users"
    DELETE_MESSAGES = "delete-messages"
    CREATE_TOKEN = "create-token"  # noqa: S105 - the name of an act
    REVOKE_TOKEN = "revoke-token"  # noqa: S105 - as above
    RELEASE_TOKENS = "release-tokens"
    FORGET_KEY = "forget-key"
    CREATE_LOGIN_LINK = "create-login-link"
    USE_LOGIN_LINK = "use-login-link"


@dataclass(frozen=True, slots=True)
class Note:
    """What somebody writes down when they do something about the user `user_id`."""

    user_id: str
    text: str


class Entry(NamedTuple):
    """One act: its number, when (ms since 1970), who by which way and from where, what, and about whom or what.

    `about` is a campaign's or a user's id, a caller's for tokens, an address's digest; None: everything or many. `note`
    is what they wrote down.
    """

    id: int
    at: int
    who: str
    via: str
    origin: str
    act: str
    about: str | None
    details: Mapping[str, Any]
    note: str | None = None


_TABLE = cast(Table, AuditEntry.__table__)
_NOTES = cast(Table, PersonNote.__table__)
_ADD = _TABLE.insert()


def record(
    connection: Connection, now: int, act: Act, about: str | None = None, note: Note | None = None, /, **details: Any
) -> None:
    """Write that the current actor did `act` at `now` (ms since 1970), in the transaction of what they did.

    `details` are counts and the like, and words of whoever acts, in which addresses are masked. Nothing is written of
    recipients: what they do about themselves is on record with their own row, and from which address is nobody's
    business.
    """
    _add(connection, now, act, {about: details}, note)


def record_addresses(
    connection: Connection,
    now: int,
    act: Act,
    addresses: Collection[str],
    note: Note | None = None,
    /,
    each: Mapping[str, Mapping[str, Any]] | None = None,
    **details: Any,
) -> None:
    """The same for an act about `addresses` as `addresses.comparable` writes them: a row for each if they are `FEW`.

    `each` has details of single addresses, which only such a row tells.
    """
    about: dict[str | None, Mapping[str, Any]] = {None: {}}
    if 0 < len(addresses) <= FEW:
        key = made_key(connection)
        about = {digest_of(key, address): (each or {}).get(address, {}) for address in sorted(addresses)}
    same = {"addresses": len(addresses), **details}
    _add(connection, now, act, {one: {**same, **own} for one, own in about.items()}, note)


def _add(
    connection: Connection,
    now: int,
    act: Act,
    about: Mapping[str | None, Mapping[str, Any]],
    note: Note | None,
) -> None:
    actor = current_actor()
    if actor.via is Via.LINK:
        return
    by = {"at": now, "who": actor.who, "via": actor.via.value, "origin": actor.origin, "act": act.value}
    rows = [{**by, "about": one, "details": _masked(details)} for one, details in about.items()]
    if note is None or not note.text.strip():
        connection.execute(_ADD, rows)
        return
    for row in rows:
        entry = connection.execute(_ADD.returning(_TABLE.c.id), row).scalar_one()
        connection.execute(insert(PersonNote).values(**_noted(note, actor, now, act), entry=entry))


def _masked(details: Mapping[str, Any]) -> dict[str, Any]:
    return {name: without_addresses(told) if name in WORDS else told for name, told in details.items()}


def _noted(note: Note, actor: Actor, now: int, act: Act) -> dict[str, Any]:
    text = without_addresses(note.text.strip())[:MAX_NOTE]
    return {"user_id": note.user_id, "at": now, "who": actor.who, "act": act.value, "note": text}


def digest_of(key: bytes, address: str) -> str:
    """What stands for an address in the log; `address` is as `addresses.comparable` writes it."""
    return f"keyed:{digest(key, Of.LOG, address)}"


def old_digest_of(address: str) -> str:
    """What stood for an address in the log before there was a key: rows are never changed, so it is looked for too."""
    return f"sha256:{hashlib.sha256(address.encode()).hexdigest()}"


def names_of(db: Database, wanted: str | None) -> tuple[str, ...]:
    """Under what the log may know `wanted`, a campaign, a caller, a user or an address: as it stands, or its digest."""
    if wanted is None:
        return ()
    with db.read() as connection:
        return names_in(connection, wanted)


def names_in(connection: Connection, wanted: str) -> tuple[str, ...]:
    """The same within a transaction."""
    address = comparable(envelope_address(wanted) or wanted)
    key = known_key(connection)
    keyed = () if key is None else (digest_of(key, address),)
    return (wanted, *keyed, old_digest_of(address))


def entries(
    db: Database,
    *,
    since: int | None = None,
    who: str | None = None,
    act: str | None = None,
    about: Collection[str] = (),
    before: int | None = None,
    count: int = 100,
) -> list[Entry]:
    """At most `count` acts, the latest first, from `since` (ms since 1970) on.

    With `who`, `act` or `about`, only those. `before` is the number of the last one of the page before.
    """
    noted = _TABLE.outerjoin(_NOTES, _NOTES.c.entry == _TABLE.c.id)
    query = select(*_TABLE.columns, _NOTES.c.note).select_from(noted).order_by(_TABLE.c.id.desc()).limit(count)
    wanted = {_TABLE.c.who: who, _TABLE.c.act: act}
    query = query.where(*(column == value for column, value in wanted.items() if value is not None))
    if about:
        query = query.where(_TABLE.c.about.in_(about))
    if since is not None:
        query = query.where(_TABLE.c.at >= since)
    if before is not None:
        query = query.where(_TABLE.c.id < before)
    with db.read() as connection:
        return [Entry._make(row) for row in connection.execute(query)]
