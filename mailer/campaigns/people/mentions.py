"""What campaigns say of somebody who is erased: their address as a sender, in a query, in a text, in a reason.

A campaign that is over forgets what it said, as after a purge, if it was sent as them, or to them as a test. Elsewhere
the address is replaced. One that is not over cannot change what it says or as whom it is sent, so nobody is erased
before it has ended; but its query may change, since nobody else is selected by the address.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Text, cast, func, or_, select, update

from mailer.campaigns import draft
from mailer.errors import InvalidState
from mailer.messages.addresses import comparable
from mailer.storage.database import AnyRow
from mailer.storage.models import Campaign, CampaignText, CircuitBreaker, Delivery, SavedDraft, SendingHold

GONE = "nobody@erased.invalid"  # in place of an address: a name that nobody can have (RFC 2606)
SENDERS = ("sender", "reply_to")
DOCUMENTS = ("query", "test_recipients")
TEXTS = ("sender_name", "subject", "body", "reply_to_name")
_OTHER_REASONS = (CircuitBreaker, SendingHold)
_COLUMNS = [getattr(Campaign, name) for name in (*SENDERS, *TEXTS, *DOCUMENTS, "reason", "id", "finished_at")]


def mentioning(connection: Connection, addresses: Collection[str]) -> list[str]:
    """The ids of the campaigns that have one of the addresses, whatever its case, in what they say."""
    if not addresses:
        return []
    texts: list[ColumnElement[str]] = [getattr(Campaign, name) for name in (*SENDERS, *TEXTS, "reason")]
    plain = [func.lower(column).contains(one, autoescape=True) for column in texts for one in _lower(addresses)]
    documents = [func.lower(cast(getattr(Campaign, name), Text)) for name in DOCUMENTS]
    spelled = {form for one in _lower(addresses) for form in (one, json.dumps(one)[1:-1].lower())}
    selected = [document.contains(one, autoescape=True) for document in documents for one in sorted(spelled)]
    return list(connection.scalars(select(Campaign.id).where(or_(*plain, *selected)).order_by(Campaign.id)))


def forget(connection: Connection, campaign_ids: Collection[str], addresses: Collection[str]) -> None:
    """Take the addresses out of these campaigns and of what stands still. Raises `InvalidState` for one not over."""
    pattern = _pattern(addresses)
    for row in connection.execute(select(*_COLUMNS).where(Campaign.id.in_(campaign_ids)).with_for_update()).all():
        _forget_in(connection, row, pattern, {comparable(one) for one in addresses})
    for table in _OTHER_REASONS:
        for reason in connection.scalars(select(table.reason)).all():
            connection.execute(update(table).values(reason=pattern.sub(GONE, reason)))


def forget_in_drafts(connection: Connection, addresses: Collection[str]) -> None:
    """Take the addresses out of what anybody has begun to write. Who has it open is told that it has changed."""
    pattern = _pattern(addresses)
    for row in connection.execute(select(SavedDraft.id, SavedDraft.subject, SavedDraft.said).with_for_update()).all():
        changes = {"subject": pattern.sub(GONE, row.subject), "said": _without(row.said, pattern)}
        if (changes["subject"], changes["said"]) != (row.subject, row.said):
            mine = update(SavedDraft).where(SavedDraft.id == row.id)
            connection.execute(mine.values(**changes, version=SavedDraft.version + 1))


def forget_in_texts(connection: Connection, addresses: Collection[str]) -> None:
    """Take the addresses out of versions of texts, whether or not their campaign is over."""
    pattern = _pattern(addresses)
    for row in connection.execute(select(CampaignText.__table__).with_for_update()).all():
        changes = {"subject": pattern.sub(GONE, row.subject), "body": pattern.sub(GONE, row.body)}
        if (changes["subject"], changes["body"]) != (row.subject, row.body):
            mine = (CampaignText.campaign_id == row.campaign_id, CampaignText.version == row.version)
            connection.execute(update(CampaignText).where(*mine).values(**changes))


def _forget_in(connection: Connection, row: AnyRow, pattern: re.Pattern[str], addresses: Collection[str]) -> None:
    named = (*(getattr(row, name) or "" for name in SENDERS), *(row.test_recipients or ()))
    theirs = any(comparable(one) in addresses for one in named)
    texts = {name: getattr(row, name) for name in (*SENDERS, *TEXTS)}
    said = {name: pattern.sub(GONE, text) for name, text in texts.items() if text and pattern.search(text)}
    if row.finished_at is None and (theirs or said):
        problem = f"The campaign {row.id} is not over, and has the address in what it says or as its sender."
        raise InvalidState(f"{problem} Cancel it, or wait until it has ended.", campaign=row.id)
    changes: dict[str, Any] = {**said, "query": _without(row.query, pattern)}
    if theirs:
        changes |= {**draft.forgotten(), "fingerprint": None}
        mine = (Delivery.campaign_id == row.id, Delivery.address.is_not(None))
        of_dry_run = select(Campaign.id).where(Campaign.id == row.id, Campaign.dry_run).exists()
        connection.execute(update(Delivery).where(*mine, of_dry_run).values(address=None, reply=""))
    if row.reason is not None:
        changes["reason"] = pattern.sub(GONE, row.reason)
    connection.execute(update(Campaign).where(Campaign.id == row.id).values(**changes))


def _without(value: Any, pattern: re.Pattern[str]) -> Any:
    if isinstance(value, str):
        return pattern.sub(GONE, value)
    if isinstance(value, list):
        return [_without(one, pattern) for one in value]
    if isinstance(value, Mapping):
        return {_without(name, pattern): _without(one, pattern) for name, one in value.items()}
    return value


def _pattern(addresses: Collection[str]) -> re.Pattern[str]:
    """The addresses as whole words, the longest first, in any case."""
    any_of = "|".join(re.escape(one) for one in sorted(addresses, key=len, reverse=True))
    return re.compile(rf"(?<![\w.+-])(?:{any_of})(?![\w-])" if any_of else r"(?!)", re.IGNORECASE)


def _lower(addresses: Iterable[str]) -> list[str]:
    return sorted({form for one in addresses for form in (one.lower(), comparable(one))})
