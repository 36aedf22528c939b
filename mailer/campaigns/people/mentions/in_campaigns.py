"""What campaigns say of somebody who is erased: their address as a sender, in a query, in a text, in a reason.

A campaign that is over forgets what it said, as after a purge, if it was sent as them, or to them as a test. Elsewhere
address and name are replaced. One that is not over cannot change what it says or as whom it is sent, so nobody is
erased before it has ended; but its query may change, since nobody else is selected by the address.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Text, cast, false, func, or_, select, update
from sqlalchemy.sql.elements import ColumnElement

from mailer.campaigns import draft
from mailer.campaigns.people.mentions.spellings import Traces
from mailer.errors import InvalidState
from mailer.messages.addresses import comparable
from mailer.storage.database import AnyRow
from mailer.storage.dialects import is_postgresql
from mailer.storage.models import Campaign, CampaignText, Delivery

SENDERS = ("sender", "reply_to")
DOCUMENTS = ("query", "test_recipients")
TEXTS = ("sender_name", "subject", "body", "reply_to_name")
_COLUMNS = [getattr(Campaign, name) for name in (*SENDERS, *TEXTS, *DOCUMENTS, "reason", "id", "finished_at")]


def mentioning(connection: Connection, traces: Traces) -> list[str]:
    """The ids of the campaigns that may have something of it, in whatever spelling, in what they say."""
    texts: list[ColumnElement[Any]] = [getattr(Campaign, name) for name in (*SENDERS, *TEXTS, "reason")]
    texts += [cast(getattr(Campaign, name), Text) for name in DOCUMENTS]
    return list(connection.scalars(select(Campaign.id).where(having(connection, texts, traces)).order_by(Campaign.id)))


def having(connection: Connection, columns: Collection[ColumnElement[Any]], traces: Traces) -> ColumnElement[bool]:
    """A condition that no row misses in which one of the columns has something of it. SQLite's LIKE knows no case."""
    texts = [func.lower(column) for column in columns] if is_postgresql(connection) else columns
    return or_(false(), *(text.contains(one, autoescape=True) for text in texts for one in traces.looked_for))


def forget(connection: Connection, campaign_ids: Collection[str], traces: Traces) -> set[str]:
    """Take it out of these campaigns. Raises `InvalidState` for one that is not over.

    Returns the ids of those whose messages had something of it.
    """
    theirs = {comparable(one) for one in traces.addresses}
    rows = connection.execute(select(*_COLUMNS).where(Campaign.id.in_(campaign_ids)).with_for_update()).all()
    said = {row.id for row in rows if _forget_in(connection, row, traces, theirs)}
    return said | _forget_versions(connection, traces)


def _forget_versions(connection: Connection, traces: Traces) -> set[str]:
    """Take it out of versions of texts, whether or not their campaign is over."""
    changed = set()
    columns: list[ColumnElement[Any]] = [CampaignText.__table__.c.subject, CampaignText.__table__.c.body]
    wanted = having(connection, columns, traces)
    for row in connection.execute(select(CampaignText.__table__).where(wanted).with_for_update()).all():
        changes = {"subject": traces.without(row.subject), "body": traces.without(row.body)}
        if (changes["subject"], changes["body"]) != (row.subject, row.body):
            mine = (CampaignText.campaign_id == row.campaign_id, CampaignText.version == row.version)
            connection.execute(update(CampaignText).where(*mine).values(**changes))
            changed.add(row.campaign_id)
    return changed


def _forget_in(connection: Connection, row: AnyRow, traces: Traces, addresses: Collection[str]) -> bool:
    """Take it out of one campaign; whether its messages had something of it."""
    named = (*(getattr(row, name) or "" for name in SENDERS), *(row.test_recipients or ()))
    theirs = any(comparable(one) in addresses for one in named)
    texts = {name: getattr(row, name) for name in (*SENDERS, *TEXTS)}
    said = {name: traces.without(text) for name, text in texts.items() if text and traces.within(text)}
    if row.finished_at is None and (theirs or said):
        problem = f"The campaign {row.id} is not over, and has their name or address in what it says or as its sender."
        raise InvalidState(f"{problem} Cancel it, or wait until it has ended.", campaign=row.id)
    changes: dict[str, Any] = {**said, "query": traces.without_all(row.query)}
    if theirs:
        changes |= {**draft.forgotten(), "fingerprint": None}
        mine = (Delivery.campaign_id == row.id, Delivery.address.is_not(None))
        of_dry_run = select(Campaign.id).where(Campaign.id == row.id, Campaign.dry_run).exists()
        connection.execute(update(Delivery).where(*mine, of_dry_run).values(address=None, reply=""))
    if row.reason is not None:
        changes["reason"] = traces.without(row.reason)
    connection.execute(update(Campaign).where(Campaign.id == row.id).values(**changes))
    return theirs or bool(said)
