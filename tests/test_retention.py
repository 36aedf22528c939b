"""What a purge forgets and what exports show, over every text and JSON column of what a campaign leaves on record.

Whoever adds a column is told by these tests: a purge must forget it, or it is named here as kept; and what answers and
exports show is named here, so that none shows it by accident.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import JSON, Boolean, Column, LargeBinary, Table, Text, delete, insert, select, update

from app import create_app
from mailer.callers.tokens import Tokens
from mailer.campaigns.draft import Draft, forgotten
from mailer.campaigns.retention import purge
from mailer.delivery.minutes import minutes
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.models import Base, CampaignText, MailboxArrival, MailboxMessage, SameRefusals
from tests.harness import MINUTE, Harness
from transports.base import Status

DAY = 24 * 60 * MINUTE
TABLES = {
    name: table for name, table in Base.metadata.tables.items() if name == "campaigns" or "campaign_id" in table.c
}
# who it was for, by id, and what came of it: a purge keeps these, and without them the rows are lost
KEPT = {
    "campaigns": {"id", "caller_id", "state", "priority", "not_reached", "left_out", "signing_key"},
    "batches": {"campaign_id", "domain", "first_id", "last_id", "state", "attempting"},
    "deliveries": {"campaign_id", "user_id", "status", "bounce_about", "bounce_status"},
    "same_refusals": {"campaign_id"},
    "campaign_minutes": {"campaign_id"},
    "campaign_domains": {"campaign_id", "domain"},  # which goes with its row
    "campaign_answers": {"campaign_id"},
    "campaign_texts": {"campaign_id"},
    "recent_mails": {"campaign_id", "user_id"},  # a task of its own deletes them
    "idempotency_keys": {"caller_id", "campaign_id"},
    # a wish stays until the person takes it back, and so does what it came from
    "unsubscribe_history": {"event", "means", "user_id", "address", "campaign_id", "who", "source"},
    "events": {"campaign_id", "kind", "details"},  # without addresses, and with a retention of their own
    "mailbox_arrivals": {"campaign_id"},
    "mailbox_messages": {"campaign_id"},
}
SHOWN = {
    "": {"campaigns.reason", "campaigns.subject"},
    "/ID": {"campaigns.reason", "campaigns.subject"},
    "/ID/message": {"campaigns.body", "campaigns.query", "campaigns.sender", "campaigns.sender_name"}
    | {"campaigns.subject", "campaigns.reply_to", "campaigns.reply_to_name"}
    | {"campaigns.test_recipients"},
    "/ID/versions": {"campaign_texts.subject", "campaign_texts.body", "campaign_texts.made_by"},
    "/ID/report": set(),
    "/ID/events": set(),
    "/ID/deliveries": {"deliveries.address", "deliveries.reply", "deliveries.bounce_reply"},
    "/ID/export?format=csv": {"deliveries.address", "deliveries.reply", "deliveries.bounce_reply"},
    "/ID/export?format=ndjson": {"deliveries.address", "deliveries.reply", "deliveries.bounce_reply"},
}


def marked_columns() -> Iterator[tuple[Table, Column[object]]]:
    for name, table in TABLES.items():
        for column in table.columns:
            if isinstance(column.type, Text | JSON) and column.name not in KEPT.get(name, ()):
                yield table, column


def mark(column: Column[object]) -> str:
    return f"({column.table.name}.{column.name})"


def marks_in(text: str) -> set[str]:
    return {mark(column).strip("()") for _, column in marked_columns() if mark(column) in text}


def everything(db: Database) -> str:
    """All rows of all tables, as a text."""
    with db.read() as connection:
        return repr([connection.execute(select(table)).all() for table in Base.metadata.tables.values()])


def in_mailbox(table: type[Base], campaign_id: str) -> dict[str, object]:
    """A row of this table of the mailbox."""
    nothing = {Text: "", LargeBinary: b"", Boolean: False}
    columns = Base.metadata.tables[table.__tablename__].columns
    return {column.name: nothing.get(type(column.type), 0) for column in columns} | {"campaign_id": campaign_id}


@pytest.fixture
def marked(db: Database, add_users) -> Harness:
    """A campaign that is over, with a mark in every text and JSON column that it does not need to stay in one piece."""
    add_users(db, 3)
    harness = Harness(db)
    harness.store.answer("user00001@example.com", Status.REFUSED)
    harness.accept(key="k")
    harness.run()
    empty = {column.key: [] for column in TABLES["same_refusals"].columns if isinstance(column.type, JSON)}
    with db.write() as connection:
        connection.execute(delete(SameRefusals))
        connection.execute(insert(SameRefusals), {**empty, "campaign_id": harness.campaign_id})
        text = {
            "campaign_id": harness.campaign_id,
            "version": 1,
            "subject": "",
            "body": "",
            "made_at": 1,
            "made_by": "",
        }
        connection.execute(insert(CampaignText), text)
        connection.execute(insert(MailboxArrival), in_mailbox(MailboxArrival, harness.campaign_id))
        connection.execute(insert(MailboxMessage), in_mailbox(MailboxMessage, harness.campaign_id))
        for table, column in marked_columns():
            value = {mark(column): 1} if isinstance(column.type, JSON) else mark(column)
            assert connection.execute(update(table).values({column: value})).rowcount
    return harness


def test_purge_forgets_every_text_but_those_that_are_kept(marked: Harness) -> None:
    assert marks_in(everything(marked.db)) == {mark(column).strip("()") for _, column in marked_columns()}
    marked.now += 2 * DAY

    assert minutes(marked.db, marked.campaign_id, after=None, count=9)

    assert purge(marked.db, DAY).campaigns == 1

    assert not minutes(marked.db, marked.campaign_id, after=None, count=9)
    assert marks_in(everything(marked.db)) == set()


@pytest.mark.parametrize("path", SHOWN)
def test_answers_and_exports_show_these_columns_and_no_others(marked: Harness, path: str) -> None:
    settings = Settings(database_url=marked.db.url, secret_key=("k" * 40,), transport="memory:")
    token = Tokens(marked.db).create("user00000", ["send-mail"])
    app = create_app(settings)
    headers = {"X-User-Id": "user00000", "X-Auth-Token": token}
    url = f"/api/v1/mailer/campaigns{path.replace('ID', marked.campaign_id)}"

    answer = app.test_client().get(url, headers=headers)
    shown = answer.get_data(as_text=True)  # an export reads on while it is sent
    app.extensions["mailer"].db.close()

    assert answer.status_code == 200
    assert marks_in(shown) == SHOWN[path]


def test_tables_of_a_campaign_are_those_that_are_known_here() -> None:
    assert set(TABLES) == set(KEPT)
    assert all(kept <= {column.name for column in TABLES[name].columns} for name, kept in KEPT.items())


def test_all_that_a_draft_says_is_forgotten_but_how_it_was_sent() -> None:
    assert set(forgotten()) == set(Draft.__dataclass_fields__) - {"dry_run", "priority"}
