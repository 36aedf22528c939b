"""The short way and the careful way of a checkpoint: whatever comes, both say and write the same, on both databases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, insert, select, text
from sqlalchemy.exc import DBAPIError, OperationalError

from mailer.delivery.checkpoints import outcomes, permission, recipients
from mailer.delivery.worklist import Claim, Result, WorkItem, user_ids
from mailer.messages.recipient import Recipient
from mailer.pacing.admission import Admission
from mailer.selector import database_at
from mailer.storage.database import Database
from mailer.storage.dialects import on_driver
from mailer.storage.models import Campaign, Delivery, DeliveryStatus, Priority, RefusedAddress, SendingHold, User
from tests.conftest import user_row
from tests.harness import Harness

CLAIM = Claim("campaign", 7, 1, "a", "z", dry_run=False, half_open=False)
NOW = 1_700_000_000_000
SEVERAL = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])

words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12) | st.sampled_from(
    ['say "no"', "back\\slash", "{a,b}", "NULL", "'", "%s", ":id", "\\"]
)
past = st.sampled_from([None, DeliveryStatus.DEFERRED, DeliveryStatus.UNCERTAIN])

# status, status before, attempts, attempts without an outcome, when it is due again, when it was first tried
USUAL = ("sent", None, 1, 0, None, None)
UNUSUAL = ("failed", DeliveryStatus.DEFERRED, 2, 1, NOW + 5, NOW - 9)


class Undone(Exception):
    """Everything that was written is to be forgotten."""


@contextmanager
def undone(db: Database) -> Iterator[Connection]:
    try:
        with db.write() as connection:
            yield connection
            raise Undone
    except Undone:
        pass


@st.composite
def results(draw: st.DrawFn) -> list[Result]:
    """What came of up to 130 recipients: most were taken at first, and the others are anything."""
    names = draw(st.lists(words, max_size=130, unique=True))
    usual = st.just(USUAL)
    nearly = st.sampled_from([(*USUAL[:place], value, *USUAL[place + 1 :]) for place, value in enumerate(UNUSUAL)])
    states = st.sampled_from(list(DeliveryStatus))
    numbers = st.integers(0, 3)
    times = st.none() | st.integers(1, NOW)
    strange = st.tuples(states, past, numbers, numbers, times, times)
    found = []
    for name in names:
        status, before, attempts, doubts, due_at, first_at = draw(usual | usual | nearly | strange)
        item = WorkItem(Recipient(name, "Ann", draw(words)), before, attempts - 1, doubts, first_at)
        found.append(Result(item, DeliveryStatus(status), attempts, doubts, draw(words), due_at))
    return found


def recorded(connection: Connection) -> list[Any]:
    return [tuple(row) for row in connection.execute(select(Delivery.__table__).order_by(Delivery.user_id))]


@SEVERAL
@given(came=results(), before=results())
def test_outcomes_are_the_same_rows_in_one_statement_and_one_by_one(
    db: Database, came: list[Result], before: list[Result]
) -> None:
    with undone(db) as connection:
        rows = []
        for write in (outcomes.write, one_by_one):
            one_by_one(connection, CLAIM, before, NOW - 5)
            write(connection, CLAIM, came, NOW)
            rows.append(recorded(connection))
            connection.execute(delete(Delivery))

    assert rows[0] == rows[1]
    assert len(rows[0]) == len({one.item.recipient.user_id for one in [*came, *before]})


def one_by_one(connection: Connection, claim: Claim, came: list[Result], now: int) -> None:
    if came:
        outcomes._UPSERT.run(connection, [outcomes._row(claim, result, now) for result in came])


def test_messages_taken_at_first_go_into_one_statement(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    came = [
        Result(WorkItem(Recipient(f"user{n}", "Ann", f"{n}@example.com")), DeliveryStatus.SENT, 1, 0, "250 OK")
        for n in range(outcomes.ROWS)
    ]
    executed: list[Any] = []

    def counting(connection: Connection, statement: str, values: Any) -> Any:
        executed.append(statement)
        return on_driver(connection, statement, values)

    monkeypatch.setattr(outcomes, "on_driver", counting)
    with db.write() as connection:
        outcomes.write(connection, CLAIM, came, NOW)

    assert len(executed) == 1
    with db.read() as connection:
        assert len(recorded(connection)) == outcomes.ROWS


people = st.fixed_dictionaries(
    {},
    optional={
        "active": st.just(False),
        "email": st.sampled_from([None, "shared@example.com", "Shared@example.com"]),
        "unsubscribed_at": st.just(5),
        "id": st.sampled_from(['say "no"', "back\\slash", "Zoë 🎈"]),
    },
)
whole = st.just({})


@st.composite
def situations(draw: st.DrawFn) -> dict[str, Any]:
    """A directory, and what stands in the way of a campaign. Often it is nothing."""
    users = draw(st.lists(whole | whole | people, min_size=1, max_size=6))
    refusals = draw(st.dictionaries(st.integers(0, 5), st.sampled_from([None, 9]), max_size=2) | st.just({}))
    claim = draw(st.sampled_from([{}, {}, {"merged": True}, {"dry_run": True}, {"campaign_rests": True}]))
    return {
        "users": users,
        "refusals": refusals,
        "claim": claim,
        "gone": draw(st.sampled_from([0, 0, 1])),
        "state": draw(st.sampled_from(["running", "running", "running", "resting", "paused", "cancelled"])),
        "held": draw(st.sampled_from([False, False, False, True])),
    }


@SEVERAL
@given(situation=situations())
def test_whoever_may_be_written_to_is_found_at_once_as_one_by_one(db: Database, situation: Mapping[str, Any]) -> None:
    with undone(db) as connection:
        claim, ahead = set_up(connection, situation)
        asked = (connection, claim, ahead, user_ids(ahead), NOW, Admission())

        short = permission.ask(*asked)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(permission, "_nothing_in_the_way", lambda *_: False)
            careful = permission.ask(*asked)

    assert (short.running, short.gone) == (careful.running, careful.gone)
    assert (list(short.items), list(short.skipped)) == (list(careful.items), list(careful.skipped))


def set_up(connection: Connection, situation: Mapping[str, Any]) -> tuple[Claim, list[WorkItem]]:
    users = {str(row["id"]): row for n, change in enumerate(situation["users"]) for row in [user_row(n, **change)]}
    connection.execute(insert(User), list(users.values()))
    for number, suppressed_at in situation["refusals"].items():
        same = {"campaigns": 1, "campaign_ids": "x", "reply": "550", "rule": "550", "refused_at": 5}
        address = f"user{number:05d}@example.com"
        connection.execute(insert(RefusedAddress).values(address=address, suppressed_at=suppressed_at, **same))
    text_of = dict.fromkeys(("sender_name", "sender", "subject", "body"), "x") | {"query": {}, "dry_run": False}
    times = dict.fromkeys(("created_at", "due_at", "turn_at", "fence"), 1)
    campaign = {"id": CLAIM.campaign_id, "caller_id": "c", "state": situation["state"], **text_of, **times}
    connection.execute(insert(Campaign).values(campaign))
    if situation["held"]:
        connection.execute(insert(SendingHold).values(id=1, since=5, held_by="ann", reason=""))
    claim = replace(CLAIM, **situation["claim"])
    ahead = [WorkItem(Recipient(one, "Ann", f"{one}@x")) for one in sorted(users)]
    connection.execute(delete(User).where(User.id.in_(sorted(users)[: situation["gone"]])))
    return claim, ahead


def test_usual_checkpoint_asks_once(db: Database, add_users: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    add_users(db, 5)
    harness = Harness(db)
    harness.accept(priority=Priority.NORMAL)
    harness.plan()
    claim = harness.outbox.claim()
    items = harness.outbox.due_items(claim)
    monkeypatch.setattr(permission, "still_eligible", lambda *_: pytest.fail("asked one by one"))

    checkpoint = harness.outbox.checkpoint(claim, [], items, len(items))

    assert list(checkpoint.items) == list(items)
    assert checkpoint.running


@st.composite
def directories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Up to 40 users of whom some match, some may not be written to, and some share an address."""
    users = []
    for number in range(draw(st.integers(0, 40))):
        fields = {"active": st.sampled_from([True, True, True, False]), "name": words}
        fields["email"] = st.sampled_from([f"u{number}@example.com", "Same@example.com", "gone@example.com", None])
        fields["unsubscribed_at"] = st.sampled_from([None, None, NOW - 5, NOW + 5])
        users.append({**user_row(number), **draw(st.fixed_dictionaries(fields))})
    return users


@SEVERAL
@given(users=directories(), query=st.sampled_from([{}, {"active": True}, {"_id": {"$gt": "user00007"}}]), st_=st.data())
def test_whoever_has_no_record_is_found_the_same_with_and_without_a_look_at_records(
    db: Database, users: list[dict[str, Any]], query: dict[str, Any], st_: st.DataObject
) -> None:
    claim = replace(CLAIM, first_id="user00002", last_id="user00030", merged=st_.draw(st.booleans()))
    limit = st_.draw(st.sampled_from([None, 1, 7]))
    with undone(db) as connection:
        text_of = dict.fromkeys(("sender_name", "sender", "subject", "body"), "x") | {"query": query, "dry_run": False}
        times = {**dict.fromkeys(("created_at", "due_at", "turn_at", "fence"), 1), "started_at": NOW}
        campaign = {"id": CLAIM.campaign_id, "caller_id": "c", "state": "running", **text_of, **times}
        connection.execute(insert(Campaign).values(campaign))
        if users:
            connection.execute(insert(User), users)
        refused = {"address": "gone@example.com", "campaigns": 3, "campaign_ids": "a b c", "reply": "no"}
        connection.execute(insert(RefusedAddress).values(**refused, refused_at=NOW - 1, suppressed_at=NOW - 1))
        quick = recipients.due_items(connection, claim, NOW, limit=limit)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(recipients._ANY_RECORD, "rows", lambda *_: [(1,)])
            careful = recipients.due_items(connection, claim, NOW, limit=limit)
    assert quick == careful
    assert [type(item) for item in quick] == [WorkItem] * len(quick)
    assert all(isinstance(item.recipient, Recipient) for item in quick)


def test_record_in_the_batch_is_looked_at(db: Database, add_users: Any) -> None:
    add_users(db, 5)
    harness = Harness(db)
    harness.accept(priority=Priority.NORMAL)
    harness.plan()
    claim = harness.outbox.claim()
    items = harness.outbox.due_items(claim)
    harness.outbox.checkpoint(claim, [Result(items[0], DeliveryStatus.SENT, 1, 0, "250 ok")], items[1:2], 4)
    assert [item.recipient.user_id for item in harness.outbox.due_items(claim)] == [
        item.recipient.user_id for item in items[1:]
    ]


def test_error_of_the_driver_is_sqlalchemys_and_tells_no_value(db: Database) -> None:
    insertion = f"INSERT INTO nowhere VALUES ({'?' if db.writes else '%s'})"

    with undone(db) as connection, pytest.raises(DBAPIError) as caught:
        on_driver(connection, insertion, ("ann@example.com",))

    assert "ann@example.com" not in str(caught.value)
    assert caught.value.orig is not None


@pytest.mark.slow
def test_connection_that_the_server_ends_is_given_up_at_once(postgresql_url: str) -> None:
    with closing(database_at(postgresql_url)) as db, closing(database_at(postgresql_url)) as other:
        with undone(db) as connection:
            end_all(other)
            with pytest.raises(OperationalError):
                on_driver(connection, "SELECT 1", ())
        with db.write() as connection:
            assert on_driver(connection, "SELECT 2", ()).fetchall() == [(2,)]


@pytest.mark.slow
def test_connection_that_was_ended_a_moment_after_it_worked_is_not_used(postgresql_url: str) -> None:
    with closing(database_at(postgresql_url)) as db, closing(database_at(postgresql_url)) as other:
        for _ in range(3):
            with db.write():
                pass
            end_all(other)
            with db.read() as connection:
                assert connection.scalar(text("SELECT 3")) == 3


def end_all(db: Database) -> None:
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    end = f"SELECT pg_terminate_backend(pid, 5000) {others}"
    with db.write() as connection:
        connection.execute(text(end))
