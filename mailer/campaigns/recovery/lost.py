"""Campaigns that a restored database does not know, since they were accepted after the backup was made.

Of each that the journal has, a row is put back: not its text, which is in no journal, but whose it was, by which key
and which fingerprint it is known, and who had it. So whoever repeats the request gets the campaign that they had made
already, and it is not sent again. The row has ended and stays so. What proves others, a relay's log or a journal of an
earlier version, is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, or_, select, update

from mailer.audit.actor import current_actor
from mailer.audit.log import Act, record
from mailer.campaigns.recovery.journaled import MARGIN, Restored
from mailer.campaigns.recovery.reconciliation import PROVED
from mailer.storage.database import Database
from mailer.storage.dialects import Upsert
from mailer.storage.journal.reader import AcceptedEntry, Read
from mailer.storage.models import Batch, BatchState, Campaign, CampaignState, Delivery, DeliveryStatus, IdempotencyKey
from mailer.storage.models.campaigns import NO_TEXT
from mailer.timeline.events import Kind, happened

SUBJECT = "(lost when a backup was restored)"
REASON = "it was accepted after the backup that was restored, so what it said and whom it was for is lost"
OURS = re.compile(r"([0-9a-f]{11})[0-9a-f]{12}")  # the id of a campaign, which begins with when it was accepted
AT_ONCE = 500  # ids in one statement
LOST = Campaign.version == NO_TEXT  # a purge takes texts away, and leaves the number

_ONCE = Upsert(Delivery, lambda new: new.on_conflict_do_nothing())
_KEY_ONCE = Upsert(IdempotencyKey, lambda new: new.on_conflict_do_nothing())


@dataclass(frozen=True, slots=True)
class Lost:
    """A campaign that is not known, or only as lost; how many messages of it are proved to have been sent.

    Times are in ms since 1970. `first_at` and `last_at` are when something was sent, if the journal says so; `kept`:
    there is a row of it now.
    """

    campaign_id: str
    messages: int
    accepted_at: int
    first_at: int | None
    last_at: int | None
    kept: bool


def unknown(db: Database, proved: Iterable[str], begun: int = 0) -> dict[str, set[str]]:
    """Which of the deliveries that are proved are of campaigns that this database does not know, by campaign.

    Those that were lost in an earlier restore, before `begun` (ms since 1970), are known to be lost.
    """
    found: dict[str, set[str]] = {}
    for one in proved:
        campaign_id = one.partition(".")[0]
        if OURS.fullmatch(campaign_id):
            found.setdefault(campaign_id, set()).add(one)
    with db.read() as connection:
        for known in _known(connection, found, begun):
            del found[known]
    return found


def _known(connection: Connection, campaign_ids: Iterable[str], begun: int) -> Sequence[str]:
    """Which of the campaigns the database knows, and not only as lost since `begun`."""
    wanted = list(campaign_ids)
    parts = (wanted[begin : begin + AT_ONCE] for begin in range(0, len(wanted), AT_ONCE))
    found = select(Campaign.id).where(or_(~LOST, Campaign.created_at < begun))
    return [one for some in parts for one in connection.scalars(found.where(Campaign.id.in_(some)))]


def bring_back(db: Database, journal: Read, proved: Iterable[str], moments: Restored | None = None) -> list[Lost]:
    """Put a row back for each campaign of the journal that is lost; tell of all that are not known.

    `moments` are those of the restore: what the journal has of long before or of after it is not lost, but was never
    committed. It may be said again.
    """
    begun = 0 if moments is None else moments.made_at - MARGIN
    sent = unknown(db, proved, begun)
    with db.read() as connection:
        known = set(_known(connection, {one.campaign_id for one in journal.accepted}, begun))
    entries = {one.campaign_id: one for one in journal.accepted if one.campaign_id not in known and _may(one, moments)}
    served: dict[str, set[str]] = {}
    for campaign_id, user_id in journal.sent:
        if campaign_id in entries:
            served.setdefault(campaign_id, set()).add(user_id)
    with db.write() as connection:
        now = db.clock(connection)
        for entry in entries.values():
            ids = sorted(served.get(entry.campaign_id, ()))
            _put_back(connection, entry, ids, journal.times.get(entry.campaign_id), now)
        kept = set(connection.scalars(select(Campaign.id).where(LOST)))
    for entry in entries.values():
        sent.setdefault(entry.campaign_id, set())
    return [_told(one, len(ids), journal.times.get(one), kept=one in kept) for one, ids in sorted(sent.items())]


def _may(entry: AcceptedEntry, moments: Restored | None) -> bool:
    if not OURS.fullmatch(entry.campaign_id):
        return False
    return moments is None or moments.made_at - MARGIN <= entry.at <= moments.at


def _told(campaign_id: str, messages: int, times: tuple[int, int] | None, *, kept: bool) -> Lost:
    first, last = times or (None, None)
    return Lost(campaign_id, messages, int(campaign_id[:11], 16), first, last, kept)


def _put_back(
    connection: Connection, entry: AcceptedEntry, ids: Sequence[str], times: tuple[int, int] | None, now: int
) -> None:
    there = connection.scalar(select(Campaign.id).where(Campaign.id == entry.campaign_id))
    if there is None:
        connection.execute(insert(Campaign).values(**_row(entry, times or (entry.at, entry.at))))
        happened(connection, now, Kind.RECONCILED, entry.campaign_id, sent=len(ids), by=current_actor().who)
        record(connection, now, Act.RECONCILE_CAMPAIGN, entry.campaign_id, sent=len(ids), lost=True)
    _put_key_back(connection, entry)
    if ids:
        _put_outcomes_back(connection, entry, ids, times or (entry.at, entry.at))


def _row(entry: AcceptedEntry, times: tuple[int, int]) -> dict[str, Any]:
    told, _ = _fingerprints(entry)
    said: dict[str, Any] = {
        "version": NO_TEXT,
        "sender": "",
        "sender_name": "",
        "subject": SUBJECT,
        "body": "",
        "query": {},
    }
    ended = {"state": CampaignState.COMPLETED_WITH_ISSUES, "reason": REASON, "fence": 0, "due_at": entry.at}
    ended |= {"created_at": entry.at, "started_at": entry.at, "finished_at": max(times[1], entry.at)}
    whose = {"id": entry.campaign_id, "caller_id": entry.caller_id, "dry_run": entry.dry, "fingerprint": told}
    return {**whose, **said, **ended}


def _put_key_back(connection: Connection, entry: AcceptedEntry) -> None:
    """Have the key lead to the campaign, unless it leads to another of later.

    A key that had come to its end was given to another campaign, of which the journal has a later line.
    """
    _, under_key = _fingerprints(entry)
    if entry.key is None or under_key is None:
        return
    mine = (IdempotencyKey.caller_id == entry.caller_id, IdempotencyKey.key == entry.key)
    values = {"fingerprint": under_key, "campaign_id": entry.campaign_id, "created_at": entry.at}
    older = update(IdempotencyKey).where(*mine, IdempotencyKey.created_at < entry.at)
    if not connection.execute(older.values(**values)).rowcount:
        _KEY_ONCE.run(connection, {"caller_id": entry.caller_id, "key": entry.key, **values})


def _fingerprints(entry: AcceptedEntry) -> tuple[str | None, str | None]:
    told, under_key = entry.said
    return told, under_key


def _put_outcomes_back(
    connection: Connection, entry: AcceptedEntry, ids: Sequence[str], times: tuple[int, int]
) -> None:
    """Record who had it, in one batch that is done. Another machine's journal may know of more than the first one."""
    same: dict[str, Any] = {"campaign_id": entry.campaign_id, "batch": 0, "status": DeliveryStatus.SENT.value}
    same |= {"address": None, "attempts": 1, "uncertain_attempts": 0, "reply": PROVED, "due_at": None, "version": 0}
    same |= {"first_at": times[0], "updated_at": times[1]}
    for begin in range(0, len(ids), AT_ONCE):
        _ONCE.run(connection, [{**same, "user_id": one} for one in ids[begin : begin + AT_ONCE]])
    mine = Delivery.campaign_id == entry.campaign_id
    everybody = sorted(connection.scalars(select(Delivery.user_id).where(mine)))
    counters = {**dict.fromkeys((one.value for one in DeliveryStatus), 0), "sent": len(everybody)}
    place = (Batch.campaign_id == entry.campaign_id, Batch.number == 0)
    values: dict[str, Any] = {"first_id": everybody[0], "last_id": everybody[-1], "planned": len(everybody), **counters}
    if not connection.execute(update(Batch).where(*place).values(**values)).rowcount:
        done = {"state": BatchState.DONE, "due_at": times[1], "fence": 0, "attempting": []}
        connection.execute(insert(Batch).values(campaign_id=entry.campaign_id, number=0, **done, **values))
