"""What any other text says of somebody who is erased: drafts, notes, reasons, names of lists, other people's outcomes.

The columns are not listed here: every column of every table counts in which free text may stand, so a new one does too.
Not looked into are the documents of other users, which are theirs, and come again with the next import.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Connection,
    Table,
    Text,
    and_,
    cast,
    delete,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB

from mailer.campaigns.people.mentions.in_campaigns import having
from mailer.campaigns.people.mentions.spellings import Traces
from mailer.storage.database import AnyRow
from mailer.storage.models import Base, DeliveryStatus
from mailer.storage.models.base import Id

# Campaigns and the mailbox have their own ways, and the address of an outcome belongs to its recipient.
APART = frozenset({"users", "campaigns", "campaign_texts", "mailbox_messages", "mailbox_contents", "mailbox_arrivals"})
OWN = frozenset({"deliveries.address", "login_links.digest", "page_sessions.own_token", "erasure_key.key"})
WRITTEN_ONCE = frozenset({"audit_log", "events", "unsubscribe_history"})  # triggers refuse to change a row


class Place(NamedTuple):
    """A row that has something of it: its table and its primary key."""

    table: Table
    key: Sequence[Any]


def texts_of(table: Table) -> list[Column[Any]]:
    """The columns of the table that may have any text."""
    columns = [column for column in table.columns if isinstance(column.type, Text | JSON | JSONB)]
    free = [column for column in columns if column.type is not Id and not column.primary_key]
    return [column for column in free if f"{table.name}.{column.name}" not in OWN]


def found(connection: Connection, traces: Traces) -> list[Place]:
    """Every row that has something of it."""
    tables = [table for table in Base.metadata.sorted_tables if table.name not in APART and texts_of(table)]
    return [place for table in tables for place in _in_table(connection, table, traces)]


def forget(connection: Connection, places: Sequence[Place], traces: Traces) -> None:
    """Take it out of these rows. Who has a draft open is told that it has changed."""
    for table, key in places:
        this = and_(*(column == value for column, value in zip(table.primary_key.columns, key, strict=True)))
        for row in connection.execute(select(table).where(this).with_for_update()).all():
            changes = dict(_changes(table, row, traces))
            if not changes:
                continue
            if table.name == "drafts":
                changes["version"] = table.c.version + 1
            if table.name in WRITTEN_ONCE:
                connection.execute(delete(table).where(this))
                connection.execute(table.insert(), {**row._mapping, **changes})
            else:
                connection.execute(update(table).where(this).values(**changes))


def _in_table(connection: Connection, table: Table, traces: Traces) -> Iterator[Place]:
    columns, keys = texts_of(table), list(table.primary_key.columns)
    texts = [column if isinstance(column.type, Text) else cast(column, Text) for column in columns]
    wanted = select(*keys, *columns).where(_may_say(table), having(connection, texts, traces))
    for row in connection.execute(wanted.execution_options(yield_per=500)):
        if _changes(table, row, traces):
            yield Place(table, row[: len(keys)])


def _may_say(table: Table) -> ColumnElement[bool]:
    """A condition that spares looking through the outcomes of all messages that were sent without a word."""
    if table.name != "deliveries":
        return true()
    return or_(table.c.status != DeliveryStatus.SENT, table.c.bounce_reply.is_not(None), table.c.reply.contains("@"))


def _changes(table: Table, row: AnyRow, traces: Traces) -> Mapping[str, Any]:
    before = {column.key: row._mapping[column] for column in texts_of(table)}
    after = {name: _without(value, traces) for name, value in before.items()}
    return {name: value for name, value in after.items() if value != before[name]}


def _without(value: Any, traces: Traces) -> Any:
    return traces.without(value) if isinstance(value, str) else traces.without_all(value)
