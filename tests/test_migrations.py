"""Databases of every earlier schema, with rows in every state, brought to this version's and gone on with."""

from __future__ import annotations

from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, column, select, table

import mailer.storage.migrations
from mailer.campaigns.accept import accept
from mailer.campaigns.draft import Draft
from mailer.campaigns.hold import release
from mailer.directory.documents import normalise
from mailer.selector import database_at
from mailer.storage.database import newest_version
from mailer.storage.models import Base, BatchState, Campaign, CampaignState, DeliveryStatus, RefusedAddress, User
from mailer.suppression.wishes import KeptWish, kept_wishes
from tests.conftest import user_row
from tests.harness import START, Harness

pytestmark = pytest.mark.slow

CONFIG = Config()
CONFIG.set_main_option("script_location", mailer.storage.migrations.__path__[0])
SCRIPT = ScriptDirectory.from_config(CONFIG)
EARLIER = [step.revision for step in SCRIPT.walk_revisions() if step.revision != SCRIPT.get_current_head()]
NOTHING = dict.fromkeys(DeliveryStatus, 0)
ENDED = (
    *(CampaignState.CANCELLED, CampaignState.FAILED),
    *(CampaignState.COMPLETED, CampaignState.COMPLETED_WITH_ISSUES),
)


def campaign(state: CampaignState) -> dict[str, Any]:
    text = {"sender_name": "", "sender": "news@example.com", "subject": "Hi", "body": "[unsubscribe]"}
    times = {"created_at": 1, "started_at": START, "finished_at": START if state in ENDED else None, "due_at": 1}
    whom = {"caller_id": "user00000", "query": {}, "dry_run": False}
    return {"id": state.value, "state": state, "reason": None, "fence": 1, **text, **times, **whom}


def batch(campaign_id: str, number: int, state: BatchState, *statuses: DeliveryStatus, attempting: int = 0) -> Any:
    """Five users, of whom the first have a delivery of each of `statuses`."""
    ids = [f"user{5 * number + place:05d}" for place in range(5)]
    counts = NOTHING | {status: statuses.count(status) for status in statuses}
    place = {"campaign_id": campaign_id, "number": number, "first_id": ids[0], "last_id": ids[-1]}
    held = {"due_at": 1, "fence": 1, "attempting": ids[-attempting:] if attempting else []}
    deliveries = [delivery(campaign_id, user_id, status) for user_id, status in zip(ids, statuses, strict=False)]
    return {**place, "state": state, **held, "checkpoint": 2**62, "planned": 5, **counts}, deliveries


def delivery(campaign_id: str, user_id: str, status: DeliveryStatus) -> dict[str, Any]:
    again = status in (DeliveryStatus.DEFERRED, DeliveryStatus.UNCERTAIN) and campaign_id == CampaignState.RUNNING
    doubts = int(status == DeliveryStatus.UNCERTAIN)
    made = {"campaign_id": campaign_id, "user_id": user_id, "status": status, "address": f"{user_id}@example.com"}
    back = status == DeliveryStatus.SENT and campaign_id == CampaignState.COMPLETED
    bounce = {"bounced_at": 2, "bounce_about": "address", "bounce_permanent": True, "bounce_status": "5.1.1"}
    bounce |= {"bounce_reply": "no such user", "complained_at": 3}
    return made | {"attempts": 1, "doubts": doubts, "reply": "so it was", "first_at": 1, "updated_at": 1} | {
        "due_at": 1 if again else None
    } | (bounce if back else dict.fromkeys(bounce))  # fmt: skip


SENT, FAILED = DeliveryStatus.SENT, DeliveryStatus.FAILED
BATCHES = [
    batch("running", 0, BatchState.WAITING, *DeliveryStatus),
    batch("running", 1, BatchState.RUNNING, SENT, attempting=2),
    batch("running", 2, BatchState.DONE, *[SENT] * 5),
    batch("paused", 0, BatchState.WAITING),
    batch("cancelled", 0, BatchState.DONE, SENT),
    batch("resting", 0, BatchState.WAITING, SENT),
    batch("failed", 0, BatchState.WAITING, SENT),
    batch("completed", 0, BatchState.DONE, *[SENT] * 5),
    batch("completed_with_issues", 0, BatchState.DONE, *[SENT] * 4, FAILED),
]
ROWS: dict[str, list[dict[str, Any]]] = {
    "users": [user_row(number, unsubscribed_at=5 if number == 15 else None) for number in range(16)],
    "auth_tokens": [
        {"digest": "d", "user_id": "user00000", "permissions": ["send-mail"], "created_at": 1}
        | {"label": "cron", "last_used_at": 2}
    ],
    "campaigns": [campaign(state) for state in CampaignState],
    "batches": [row for row, _ in BATCHES],
    "deliveries": [row for _, rows in BATCHES for row in rows],
    "idempotency_keys": [
        {"caller_id": "user00000", "key": "k", "fingerprint": "f", "campaign_id": "completed", "created_at": START}
    ],
    "login_links": [
        {"digest": "d", "user_id": "user00000", "permissions": ["send-mail"], "created_at": 1, "expires_at": 2}
    ],
    "drafts": [
        {"id": "d", "caller_id": "user00000", "subject": "s", "said": {"body": "b"}, "version": 1, "created_at": 1}
        | {"saved_at": 1, "sent_as": None}
    ],
    "page_sessions": [{"digest": "d", "user_id": "user00000", "created_at": 1, "expires_at": 2}],
    "rate_limits": [{"key": "k", "hits": 3, "expires_at": 2}],
    "refused_addresses": [
        {
            "address": f"user{number:05d}@example.com",
            "campaigns": 1,
            "campaign_ids": "completed",
            "reply": "550 5.1.1 no",
        }
        | {"refused_at": 1, "suppressed_at": None, "rule": "5.1.1", "bounced_at": 2, "taken": "running:1"}
        | {"complained_at": None}
        for number in (1, 2)
    ],
    "wishes": [
        {"kind": "address", "value": "left@example.com", "unsubscribed_at": 1, "kept_at": 2, "kept_by": "user00000"}
        | {"source": "list.csv"}
    ],
    "unsubscribe_history": [
        {"at": 5, "event": "unsubscribed", "means": "link", "user_id": "user00015", "address": "user00015@example.com"}
        | {"campaign_id": "completed", "who": None, "source": None}
    ],
    "same_refusals": [{"campaign_id": "running", "answers": ["554 no"], "known": []}],
    "slot_counts": [{"key": "smtp relay:25", "next_at_us": 1500, "day": 1, "used": 2, "first_day": 0, "days": 0}],
    "campaign_minutes": [
        {"campaign_id": "running", "minute": 0, "part": part, **NOTHING, SENT: part + 1} for part in (0, 1)
    ],
    "campaign_domains": [{"campaign_id": "running", "domain": "example.com", "part": 0, **NOTHING, SENT: 3}],
    "campaign_answers": [
        {"campaign_id": "running", "status": "failed", "about": "address", "answer": "550 5.1.1", "count": 1}
    ],
    "campaign_texts": [
        {"campaign_id": "paused", "version": 1, "subject": "s", "body": "b", "made_at": 1, "made_by": "user00000"}
    ],
    "recent_mails": [{"user_id": "user00001", "campaign_id": "completed", "at": 1}],
    "clock_mark": [{"id": 1, "seen_at": 5, "steps": 0}],
    "signing_keys": [
        {"fingerprint": "f", "known_at": 1, "last_signed_at": 2, "messages": 3, "last_used_at": None},
        {"fingerprint": "g", "known_at": 1, "last_signed_at": None, "messages": 0, "last_used_at": 2},
    ],
    "scheduled_tasks": [{"name": "sync", "due_at": 1, "fence": 1, "failures": 0}],
    "served_versions": [],  # the migrations fill it
    "workers": [
        {"id": "w1", "host": "h", "pid": 7, "engine": "local", "role": "web", "version": "0"}
        | {"started_at": 1, "seen_at": 2, "doing": ""}
    ],
    "sending_hold": [{"id": 1, "reason": "trouble", "since": 1, "held_by": "root"}],
    "audit_log": [
        {"at": 1, "who": "root", "via": "cli", "origin": "host", "act": "hold-sending", "about": None, "details": {}}
    ],
    "events": [{"at": 1, "campaign_id": "running", "kind": "planned", "details": {"recipients": 15}}],
    "erasure_key": [{"id": 1, "key": "0f" * 32}],
    "erased": [{"digest": "d", "kind": "user", "erased_at": 1}],
    "person_notes": [
        {"entry": 1, "user_id": "user00001", "at": 1, "who": "root", "act": "unsubscribe", "note": "by telephone"}
    ],
    "mailbox_arrivals": [
        {"id": 3, "campaign_id": "completed", "caller_id": "user00000", "received_at": 1, "messages": 2, "size": 9}
        | {"packed": b"\x00\xff"}
    ],
    "mailbox_messages": [
        {"id": number, "message_id": f"completed.{number}", "campaign_id": "completed", "caller_id": "user00000"}
        | {"received_at": 1, "person": f"{number}", "size": 3, "attachments": 0, "read": number == 1}
        | dict.fromkeys(("address", "recipient", "author", "addressee", "subject", "snippet", "words"), "a@example.com")
        for number in (1, 2)
    ],
    "mailbox_contents": [{"id": 1, "content": b"\r\n\x00\xff"}],
    "turns": [{"caller_id": "user00000", "priority": "bulk", "used": 5}],
    "transport_health": [{"id": 1, "reason": "away", "since": 1, "step": 1, "blocked_until": 2}],
}


def everything(connection: Connection, tables: MetaData) -> dict[str, list[Any]]:
    """All rows, by the columns of `tables`."""
    return {
        known.name: sorted(map(repr, connection.execute(select(*known.columns)).all()))
        for known in tables.sorted_tables
        if known.name != "alembic_version"
    }


def store(connection: Connection, revision: str, stored: dict[str, list[dict[str, Any]]]) -> MetaData:
    """Make the schema of `revision` and put the rows into it, as far as it has tables and columns for them."""
    earlier = MetaData()
    CONFIG.attributes["connection"] = connection
    command.upgrade(CONFIG, revision)
    earlier.reflect(connection, resolve_fks=False)
    for name in [known.name for known in earlier.sorted_tables if known.name in Base.metadata.tables]:
        known = earlier.tables[name].columns.keys()
        rows = [{key: row[key] for key in row if key in known} for row in stored.get(name, [])]
        types = {one.name: one.type for one in Base.metadata.tables[name].columns}
        plain = table(name, *(column(key, types[key]) for key in known))  # without this version's defaults
        if rows:
            connection.execute(plain.insert().values(rows))
    return earlier


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
@pytest.mark.parametrize("revision", EARLIER)
def test_earlier_schema_is_migrated_with_its_rows_and_gone_on_with(empty_database_url: str, revision: str) -> None:
    db = database_at(empty_database_url)
    with db.write() as connection:
        earlier = store(connection, revision, ROWS)
        before = everything(connection, earlier)

    db.migrate()

    with db.read() as connection:
        after = everything(connection, earlier)
    assert after.pop("served_versions", None) or "served_versions" not in before  # the migrations' own
    before.pop("served_versions", None)
    assert after == before
    harness = Harness(db)
    release(db)
    harness.run()
    harness.now += 1000
    ends = {state: state for state in ENDED} | {"paused": "paused", "accepted": "completed", "planning": "completed"}
    ends["resting"] = "completed"
    for harness.campaign_id, end in {**ends, "running": "completed_with_issues"}.items():
        assert harness.progress().state == end
    assert harness.counts() == {"sent": 13, "failed": 1, "skipped": 1}
    db.close()


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
def test_migration_fills_the_roles_as_an_import_does(empty_database_url: str) -> None:
    listed = [
        None,
        [],
        ["user"],
        ["b", "a", "ä"],
        ["a\nb"],
        ["r" * 253],
        ["r" * 254],
        ["🎉" * 253],
        [f"{n}" for n in range(99)],
    ]
    documents = [{"_id": str(number), "roles": roles} for number, roles in enumerate(listed)] + [{"_id": "absent"}]
    rows = [{**user_row(0), "id": document["_id"], "document": document} for document in documents]
    db = database_at(empty_database_url)
    with db.write() as connection:
        store(connection, "0005", {"users": rows})

    db.migrate()

    with db.read() as connection:
        filled = dict(connection.execute(select(User.id, User.roles)).all())
    assert filled == {document["_id"]: normalise(document, 1).roles for document in documents}
    assert list(filled.values()).count(None) == 3
    db.close()


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
def test_migration_fills_the_digests_as_an_import_does(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SCRIPT.get_revision("0030").module, "AT_ONCE", 2)
    ids = ["a", "user00001", "Ümläut", "🎉" * 50, "x" * 255, '"quoted\\', "{}", "NULL", "k5qZ2gbQNkXv8u4eE"]
    db = database_at(empty_database_url)
    with db.write() as connection:
        store(connection, "0029", {"users": [user_row(0, id=one) for one in ids]})

    db.migrate()

    with db.read() as connection:
        filled = dict(connection.execute(select(User.id, User.digest)).all())
    assert filled == {one: normalise({"_id": one}, 1).digest for one in ids}
    assert len(set(filled.values())) == len(ids)
    db.close()


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
def test_migration_keeps_the_wishes_of_those_who_were_made_inactive(empty_database_url: str) -> None:
    """Nobody who comes to their addresses is written to; not kept where somebody is written to, or holds it still."""
    gone = {"unsubscribed_at": 5, "active": False}
    rows = [
        user_row(1, email="Gone@example.com", **gone),
        user_row(2, email="gone@example.com", **{**gone, "unsubscribed_at": 4}),
        user_row(3, email="shared@example.com", **gone),
        user_row(4, email="SHARED@example.com"),
        user_row(5, email="held@example.com", unsubscribed_at=5),
        user_row(6, email="inactive@example.com", active=False),
        user_row(7, email=None, **gone),
    ]
    db = database_at(empty_database_url)
    with db.write() as connection:
        store(connection, "0008", {"users": rows})

    db.migrate()

    assert kept_wishes(db) == [KeptWish("gone@example.com", None, 4, 4, "user00001", "left behind")]
    db.close()


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
def test_campaigns_from_before_reply_to_have_none_and_are_known_again(empty_database_url: str) -> None:
    """Campaigns and dry runs in every state go on as they were, and a repeat across the upgrade is still one."""
    draft = Draft("", "news@example.com", "Hi", "[unsubscribe]", {}, False)
    dry_runs = [{**row, "id": f"dry-{row['id']}", "dry_run": True, "fingerprint": None} for row in ROWS["campaigns"]]
    written = [{**row, "fingerprint": draft.fingerprint()} for row in ROWS["campaigns"]]
    db = database_at(empty_database_url)
    with db.write() as connection:
        store(connection, "0009", {**ROWS, "campaigns": [*written, *dry_runs]})

    db.migrate()

    with db.read() as connection:
        answers = connection.execute(select(Campaign.reply_to_name, Campaign.reply_to)).all()
    assert {tuple(row) for row in answers} == {(None, None)}
    assert len(answers) == 2 * len(CampaignState)
    harness = Harness(db)
    harness.now = 2
    assert accept(db, "user00000", draft, repeat_window=60_000).replayed
    harness.now = START
    harness.run()
    assert len(harness.store.messages) > 10
    assert not [message for message in harness.store.messages if b"Reply-To" in message.content]
    db.close()


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
def test_campaigns_from_before_turns_get_the_priority_of_their_size_and_go_on(empty_database_url: str) -> None:
    dry_run = {**campaign(CampaignState.RUNNING), "id": "dry run", "dry_run": True}
    large = {**campaign(CampaignState.PAUSED), "id": "large"}
    batches = [{**BATCHES[0][0], **NOTHING, "campaign_id": "large", "number": number} for number in range(2)]
    batches = [{**row, "planned": 501 - row["number"]} for row in batches]
    unplanned = [
        {**row, "started_at": None} if row["state"] in ("accepted", "planning") else row for row in ROWS["campaigns"]
    ]
    db = database_at(empty_database_url)
    with db.write() as connection:
        store(
            connection,
            "0010",
            {**ROWS, "campaigns": [*unplanned, dry_run, large], "batches": [*ROWS["batches"], *batches]},
        )

    db.migrate()

    with db.read() as connection:
        found = {
            row.id: (row.priority, row.turn_at)
            for row in connection.execute(select(Campaign.id, Campaign.priority, Campaign.turn_at))
        }
    expected = dict.fromkeys(CampaignState, ("normal", 1)) | {"accepted": (None, 1), "planning": (None, 1)}
    assert found == expected | {"dry run": ("urgent", 1), "large": ("bulk", 1)}
    harness = Harness(db)
    harness.run()
    assert len(harness.store.messages) > 10
    db.close()


KEPT = {
    "550 5.1.1 <a@x.org>: unknown": "5.1.1",
    "550 no such user here": "550 without a code of its own",
    "550 5.2.1 mailbox disabled": "5.2.1",
    "553 5.1.3 bad syntax": "5.1.3",
}
LIFTED = (
    "550 5.4.5 Daily user sending quota exceeded",
    "550 5.7.0 too many emails per second",
    "550 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException",
    "550 5.7.60 SMTP; Client does not have permissions to send as this sender",
    "552 5.2.2 mailbox full",
    "550 5.7.26 This mail is unauthenticated",
    "550 Sender verify failed",
    "554 5.7.1 message content rejected",
    "not sent: the server has no SMTPUTF8, which the recipient's address needs",
    "refused by the webhook",
)


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
def test_migration_lifts_what_was_not_about_the_address(
    empty_database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    def row(number: int, reply: str) -> dict[str, Any]:
        address = {"address": f"a{number:02d}@x.org", "campaigns": 3, "campaign_ids": "a b c", "reply": reply}
        return {**address, "refused_at": 1, "suppressed_at": 5 if number % 5 else None}

    rows = [row(number, reply) for number, reply in enumerate([*KEPT, *LIFTED], start=1)]
    db = database_at(empty_database_url)
    with db.write() as connection:
        store(connection, "0006", {"refused_addresses": rows})

    db.migrate()

    with db.read() as connection:
        left = dict(connection.execute(select(RefusedAddress.reply, RefusedAddress.rule)).all())
    assert left == KEPT
    said = [record.getMessage() for record in caplog.records if record.name == "mailer.migrations"]
    assert said == ["8 suppressed addresses are written to again: their last refusal was not about the address"]
    db.close()


def test_newest_version_is_the_last_that_alembic_finds() -> None:
    assert newest_version() == SCRIPT.get_current_head()


def test_rows_are_in_every_state_and_in_every_table() -> None:
    assert set(Base.metadata.tables) <= set(ROWS)
    assert {row["state"] for row in ROWS["campaigns"]} == set(CampaignState)
    assert {row["state"] for row in ROWS["batches"]} == set(BatchState)
    assert {row["status"] for row in ROWS["deliveries"]} == set(DeliveryStatus)
    assert EARLIER
