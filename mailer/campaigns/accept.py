"""Accept a campaign: one row and one commit, however large the audience."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import BigInteger, Connection, Insert, Select, Table, and_, bindparam, insert, select, update

from mailer.campaigns import referrals
from mailer.campaigns.draft import DRAFT_COLUMNS, Draft
from mailer.errors import IdempotencyConflict
from mailer.storage.database import Database
from mailer.storage.dialects import Statement, in_turn
from mailer.storage.journal.writer import Journal
from mailer.storage.models import Campaign, CampaignState, IdempotencyKey
from mailer.storage.notifications import announce_work

ENDED_EARLY = (CampaignState.CANCELLED, CampaignState.FAILED)  # whoever posts the same draft after that wants it sent
DAY = 24 * 60 * 60 * 1000  # ms

_COLUMNS = cast(Table, Campaign.__table__).columns
_OWN = ("not_reached", "fingerprint", "state", "created_at", "due_at", "turn_at", "fence")
_GIVEN = ("id", "caller_id", *DRAFT_COLUMNS, *_OWN)
_DEFAULTS: dict[str, Any] = {
    one.key: cast(Any, one.default).arg for one in _COLUMNS if one.default and one.key not in _GIVEN
}

First = Callable[[Connection, int], object]  # what belongs to the same commit, at a time in ms since 1970


@dataclass(frozen=True, slots=True)
class Accepted:
    """The campaign of a POST. `replayed` means that an earlier POST has made it, and nothing was added."""

    campaign_id: str
    replayed: bool = False


def nothing_first(_connection: Connection, _now: int) -> None:
    """Do nothing before."""


def accept(
    db: Database,
    caller_id: str,
    draft: Draft,
    key: str | None = None,
    *,
    repeat_window: int = 0,
    key_lifetime: int = DAY,
    everybody: bool = False,
    first: First = nothing_first,
) -> Accepted:
    """Commit the draft as a campaign and return it.

    What `first` does, at a time in ms since 1970, belongs to the same commit. If it raises, nothing is accepted.

    A caller who repeats a draft with the same `key` within `key_lifetime` ms gets the first campaign again. Another
    draft under that key raises `IdempotencyConflict`. Without a key, a draft that is repeated within `repeat_window` ms
    also gives the first campaign, unless it is a dry run or that campaign was cancelled or failed (`ENDED_EARLY`).

    A campaign that it refers to must be one of the caller's or, with `everybody`, anybody's; `referrals.verify` has
    the errors.
    """
    fingerprint = None if draft.dry_run else draft.fingerprint()
    follows = referrals.not_reached_by(draft.query)

    def write(connection: Connection) -> Accepted:
        now = db.clock(connection)
        first(connection, now)
        campaign_id = f"{now:011x}{secrets.token_hex(6)}"
        if key is not None:
            earlier = _claim_key(connection, caller_id, key, draft, campaign_id, now=now, lifetime=key_lifetime)
        elif fingerprint is not None and repeat_window:
            earlier = _repeated(connection, caller_id, fingerprint, now, repeat_window)
        else:
            earlier = None
        if earlier is not None:
            return Accepted(earlier, replayed=True)
        referrals.verify(connection, draft.query, None if everybody else caller_id)
        said = draft.columns() | {"query": json.dumps(draft.query), "priority": draft.priority and draft.priority.value}
        named = draft.test_recipients
        said["test_recipients"] = None if named is None else json.dumps(named)
        values = {"id": campaign_id, "caller_id": caller_id, **said, "not_reached": follows, "fingerprint": fingerprint}
        values |= {"state": CampaignState.ACCEPTED.value, "created_at": now, "due_at": now, "turn_at": now, "fence": 0}
        _ACCEPT.changed(connection, {f"new_{name}": value for name, value in values.items()})
        if db.journal is not None:
            _journal(db.journal, campaign_id, caller_id, draft, key, now)
        announce_work(connection)
        return Accepted(campaign_id)

    return db.write_shared(write)


def _journal(journal: Journal, campaign_id: str, caller_id: str, draft: Draft, key: str | None, now: int) -> None:
    """Have a restored backup know that this was asked for, so that it is not done again when it is repeated."""
    told = None if draft.dry_run else draft.fingerprint()
    under_key = None if key is None else draft.fingerprint(sort_keys=True)
    digest = None if key is None else key_digest(caller_id, key)
    journal.accepted(campaign_id, caller_id, now, dry=draft.dry_run, key=digest, said=(told, under_key))


def key_digest(caller_id: str, key: str) -> str:
    """What stands for a key where it was taken over from a journal, which has no keys."""
    return "sha256:" + hashlib.sha256(f"{caller_id}\0{key}".encode("utf-8", "surrogateescape")).hexdigest()


def _accepting(_kind: str) -> Insert:
    return insert(Campaign).values({**_DEFAULTS, **{name: bindparam(f"new_{name}") for name in _GIVEN}})


def _newest_of_the_same(_kind: str) -> Select[str]:
    after, before = (bindparam(name, type_=BigInteger) for name in ("after", "before"))
    lately = and_(Campaign.created_at > after, Campaign.created_at < before)
    same = (Campaign.caller_id == bindparam("caller"), Campaign.fingerprint == bindparam("said"), lately)
    newest = select(Campaign.id).where(*same, Campaign.state.not_in(ENDED_EARLY)).order_by(Campaign.id.desc())
    return newest.limit(1)


# every POST runs both
_ACCEPT = Statement(_accepting)
_SAME = Statement(_newest_of_the_same)


def _repeated(connection: Connection, caller_id: str, fingerprint: str, now: int, window: int) -> str | None:
    """The newest campaign of the same draft, at most `window` ms old, that did not end early; None: there is none.

    A campaign from after `now` was accepted before the clock was set back. It counts too, if the difference is less
    than the window.
    """
    in_turn(connection, f"{caller_id} {fingerprint}")
    place = {"caller": caller_id, "said": fingerprint, "after": now - window, "before": now + window}
    [found] = _SAME.row(connection, place) or (None,)
    return found


def _claim_key(
    connection: Connection, caller_id: str, key: str, draft: Draft, campaign_id: str, *, now: int, lifetime: int
) -> str | None:
    """Reserve the key for `campaign_id` and return None, or return the campaign that has the key already.

    Raises `IdempotencyConflict` if that campaign's draft is another.
    """
    table = IdempotencyKey
    in_turn(connection, f"{caller_id} {key}")
    mine = and_(table.caller_id == caller_id, table.key.in_([key, key_digest(caller_id, key)]))
    fingerprint = draft.fingerprint(sort_keys=True)
    values = {"fingerprint": fingerprint, "campaign_id": campaign_id, "created_at": now}
    facts = select(table.key, table.fingerprint, table.campaign_id, table.created_at).where(mine)
    earlier = connection.execute(facts.order_by(table.created_at.desc()).limit(1)).one_or_none()
    if earlier is None:
        connection.execute(insert(table).values(caller_id=caller_id, key=key, **values))
        return None
    if earlier.created_at <= now - lifetime:
        connection.execute(update(table).where(mine, table.key == earlier.key).values(**values))
        return None
    if earlier.fingerprint != fingerprint:
        raise IdempotencyConflict
    return str(earlier.campaign_id)
