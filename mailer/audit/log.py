"""The audit log: what people changed, written in the transaction of the change itself, and read.

A row is never changed; a trigger of the database refuses it. Rows go only when they are older than
`MAILER_AUDIT_RETENTION` (`mailer.audit.retention`).

The log is kept for longer than addresses may be. So it names users by id, and addresses by a digest: who has the
address in hand can ask what was done about it, and the log tells nobody's address.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

from sqlalchemy import Connection, Table, select

from mailer.audit.actor import Via, current_actor
from mailer.messages.addresses import comparable, envelope_address
from mailer.storage.database import Database
from mailer.storage.models import AuditEntry

FEW = 20  # an act about so many addresses has a row for each, so that it is found by any of them


class Act(StrEnum):
    """What somebody did."""

    HOLD_SENDING = "hold-sending"
    RELEASE_SENDING = "release-sending"
    PAUSE_CAMPAIGN = "pause-campaign"
    RESUME_CAMPAIGN = "resume-campaign"
    CANCEL_CAMPAIGN = "cancel-campaign"
    RETRY_CAMPAIGN = "retry-campaign"
    PURGE_CAMPAIGNS = "purge-campaigns"
    UNSUBSCRIBE = "unsubscribe"
    UNSUBSCRIBE_LIST = "unsubscribe-list"
    SUBSCRIBE_AGAIN = "subscribe-again"
    BLOCK_ADDRESSES = "block-addresses"
    LIFT_ADDRESSES = "lift-addresses"
    PUT_USER = "put-user"
    CHANGE_USER = "change-user"
    DEACTIVATE_USER = "deactivate-user"
    IMPORT_USERS = "import-users"
    SYNC_USERS = "sync-users"
    DELETE_MESSAGES = "delete-messages"
    CREATE_TOKEN = "create-token"  # noqa: S105 - the name of an act
    REVOKE_TOKEN = "revoke-token"  # noqa: S105 - as above


@dataclass(frozen=True, slots=True)
class Entry:
    """One act: its number, when (ms since 1970), who by which way and from where, what, and about whom or what.

    `about` is a campaign's or a user's id, a caller's for tokens, an address's digest; None: everything or many.
    """

    id: int
    at: int
    who: str
    via: str
    origin: str
    act: str
    about: str | None
    details: Mapping[str, Any]


_TABLE = cast(Table, AuditEntry.__table__)
_ADD = _TABLE.insert()


def record(connection: Connection, now: int, act: Act, about: str | None = None, /, **details: Any) -> None:
    """Write that the current actor did `act` at `now` (ms since 1970), in the transaction of what they did.

    `details` are counts and the like, and never an address. Nothing is written of recipients: what they do about
    themselves is on record with their own row, and from which address is nobody's business.
    """
    _add(connection, now, act, [about], details)


def record_addresses(connection: Connection, now: int, act: Act, addresses: Collection[str], /, **details: Any) -> None:
    """The same for an act about `addresses` as `addresses.comparable` writes them: a row for each if they are `FEW`."""
    few = 0 < len(addresses) <= FEW
    about = [digest_of(address) for address in sorted(addresses)] if few else [None]
    _add(connection, now, act, about, {"addresses": len(addresses), **details})


def _add(connection: Connection, now: int, act: Act, about: Collection[str | None], details: Mapping[str, Any]) -> None:
    actor = current_actor()
    if actor.via is Via.LINK:
        return
    by = {"at": now, "who": actor.who, "via": actor.via.value, "origin": actor.origin, "act": act.value}
    connection.execute(_ADD, [{**by, "about": one, "details": dict(details)} for one in about])


def digest_of(address: str) -> str:
    """What stands for an address in the log; `address` is as `addresses.comparable` writes it."""
    return f"sha256:{hashlib.sha256(address.encode()).hexdigest()}"


def names_of(wanted: str | None) -> tuple[str, ...]:
    """Under what the log may know `wanted`, a campaign, a caller, a user or an address: as it stands, or its digest."""
    if wanted is None:
        return ()
    return (wanted, digest_of(comparable(envelope_address(wanted) or wanted)))


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
    query = select(*_TABLE.columns).order_by(_TABLE.c.id.desc()).limit(count)
    wanted = {_TABLE.c.who: who, _TABLE.c.act: act}
    query = query.where(*(column == value for column, value in wanted.items() if value is not None))
    if about:
        query = query.where(_TABLE.c.about.in_(about))
    if since is not None:
        query = query.where(_TABLE.c.at >= since)
    if before is not None:
        query = query.where(_TABLE.c.id < before)
    with db.read() as connection:
        return [Entry(*row) for row in connection.execute(query)]
