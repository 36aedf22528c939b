"""What was reported of messages after they were sent is shown: by campaign, by recipient, by person and by address."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient
from sqlalchemy import insert, select, update
from sqlalchemy.event import listen

from mailer.audit.actor import Actor, Via, acting
from mailer.bounces.recording import Recorder
from mailer.bounces.report import Kind, Report
from mailer.callers.tokens import PERMISSIONS, Tokens
from mailer.campaigns import export
from mailer.campaigns.deliveries import Wanted, deliveries
from mailer.campaigns.invariants import examine
from mailer.campaigns.people.explain import explain
from mailer.campaigns.people.export import export_person
from mailer.campaigns.people.outcomes import outcomes_of
from mailer.campaigns.people.recorded_reasons import Code
from mailer.campaigns.reports import bounces
from mailer.campaigns.reports.bounces import LATELY, BounceCount, ReportedCounts, reported_since
from mailer.campaigns.reports.report import report
from mailer.cli import main
from mailer.files.exports import write_csv, write_ndjson
from mailer.metrics.database_gauges import DatabaseGauges
from mailer.metrics.instruments import Instruments
from mailer.selector import database_at
from mailer.settings.return_address import ReturnAddress
from mailer.storage.database import Database
from mailer.storage.models import Delivery, RefusedAddress, User
from mailer.suppression.history import Cause, Means
from mailer.suppression.suppressed_addresses import suppressed_addresses
from mailer.suppression.unsubscribes import unsubscribe
from tests.calling import CALLER, calling
from tests.came_back import LATER, bounced, complained
from tests.conftest import user_row
from tests.harness import START, Harness
from tests.service import Service
from tests.test_signed_in_pages import sign_in
from transports.base import About

KEY = "k" * 40
ADA, ADDRESS = "user00001", "user00001@example.com"
AT = "2023-11-14T22:14:20Z"  # LATER
WITH_MS = "2023-11-14T22:14:20.000Z"


@pytest.fixture
def harness(db: Database, add_users: Callable[..., list[str]]) -> Harness:
    """A campaign that six people got: of three it came back, and one marked it as spam."""
    add_users(db, 6)
    return sent(db)


@pytest.fixture(scope="module")
def kept(module_database_url: str) -> Iterator[Harness]:
    """The same for all tests that only read it."""
    db = database_at(module_database_url)
    with db.write() as connection:
        connection.execute(insert(User), [user_row(number) for number in range(6)])
    yield sent(db)
    db.close()


@pytest.fixture
def small(any_db: Database, add_users: Callable[..., list[str]]) -> Harness:
    """The same in one kind of database."""
    add_users(any_db, 6)
    return sent(any_db)


def sent(db: Database) -> Harness:
    made = Harness(db)
    made.accept()
    made.run()
    bounced(db, made.campaign_id, ADA)
    bounced(db, made.campaign_id, "user00002", reply="550 5.1.1 <user00002@example.com>: no such user")
    bounced(db, made.campaign_id, "user00003", about="mailbox", permanent=False, status="", reply="over quota")
    complained(db, made.campaign_id, "user00004")
    return made


# a campaign, and its recipients


def test_campaign_counts_what_came_back_and_those_who_got_it_stay_sent(harness: Harness) -> None:
    found = harness.progress()
    assert (found.bounced, found.complained, found.sent, found.pending) == (3, 1, 6, 0)
    harness.check()
    assert examine(harness.db) == []
    other = harness.accept()
    harness.run()
    assert (harness.progress().bounced, harness.progress().complained) == (0, 0), other


def test_what_came_back_is_read_by_its_own_index(sqlite_db: Database, add_users: Callable[..., list[str]]) -> None:
    """SQLite chooses by the shape of a query alone, so that it says the same of a million deliveries."""
    add_users(sqlite_db, 6)
    harness = sent(sqlite_db)
    asked: list[tuple[str, Any]] = []
    listen(sqlite_db.engine, "before_cursor_execute", lambda *said: asked.append((said[2], said[3])))
    report(sqlite_db, harness.progress())
    deliveries(sqlite_db, harness.campaign_id, Wanted(bounced=True, complained=True), after="a", count=9)
    with sqlite_db.read() as connection:
        reported_since(connection, LATER)
        said = [one for one in asked if "bounced_at IS NOT NULL" in one[0]]
        plans = [connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {one}", given).all() for one, given in said]
    assert len(plans) == 4
    steps = [step.detail for plan in plans for step in plan if "deliveries" in step.detail]
    assert steps
    assert not [step for step in steps if "INDEX ix_deliveries_" not in step and "user_id=?" not in step]


def test_outcome_has_what_was_reported(kept: Harness) -> None:
    first, one, *_, soft, annoyed, _ = deliveries(kept.db, kept.campaign_id, after=None, count=10)
    assert (first.bounced_at, first.bounce_about, first.bounce_permanent, first.complained_at) == (None,) * 4
    said = (one.bounced_at, one.bounce_about, one.bounce_permanent, one.bounce_status, one.bounce_reply)
    assert said == (LATER, "address", True, "5.1.1", "550 5.1.1 <user00001@example.com>: no such user")
    assert (soft.bounce_about, soft.bounce_permanent, soft.bounce_status) == ("mailbox", False, "")
    assert (annoyed.bounced_at, annoyed.complained_at, annoyed.status) == (None, LATER, "sent")


@pytest.mark.parametrize(
    ("wanted", "whom"),
    [
        (Wanted(bounced=True), [1, 2, 3]),
        (Wanted(bounced=False), [0, 4, 5]),
        (Wanted(complained=True), [4]),
        (Wanted(complained=False, bounced=False), [0, 5]),
        (Wanted(bounced=True, user_id="user00002"), [2]),
        (Wanted(bounced=True, address="USER00003@example.com"), [3]),
        (Wanted(bounced=True, complained=True), []),
        (Wanted(bounced=True, status="failed"), []),
    ],
    ids=["bounced", "others", "complained", "neither", "a user", "an address", "both", "no failure"],
)
def test_outcomes_can_be_asked_for_by_what_was_reported(kept: Harness, wanted: Wanted, whom: list[int]) -> None:
    found = [one.user_id for one in export.records(kept.db, kept.campaign_id, wanted)]
    assert found == [f"user{number:05d}" for number in whom]


def test_pages_of_bounces_go_on_after_the_last_one(kept: Harness) -> None:
    page = deliveries(kept.db, kept.campaign_id, Wanted(bounced=True), after=ADA, count=1)
    assert [one.user_id for one in page] == ["user00002"]


def test_files_have_what_was_reported(kept: Harness) -> None:
    rows = [*map(export.cells, export.records(kept.db, kept.campaign_id, Wanted(bounced=True)))]
    one, _, soft = csv.DictReader(io.StringIO("".join(write_csv(export.COLUMNS, rows)), newline=""))
    assert (one["bouncedAt"], one["bouncePermanent"], one["bounceStatus"], one["status"]) == (
        *(WITH_MS, "true", "5.1.1", "sent"),
    )
    assert (soft["bouncePermanent"], soft["bounceAbout"], soft["complainedAt"]) == ("false", "mailbox", "")
    line = json.loads(next(write_ndjson(export.COLUMNS, rows)))
    assert (line["bouncePermanent"], line["bounceAbout"], line["complainedAt"]) == (True, "address", None)


def test_report_groups_bounces_by_their_code(kept: Harness) -> None:
    assert report(kept.db, kept.progress()).bounces == [
        BounceCount("address", True, "5.1.1", "550 5.1.1 # no such user", 2),
        BounceCount("mailbox", False, "", "over quota", 1),
    ]


def test_of_very_many_bounces_some_are_looked_at(kept: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounces, "READ", 1)
    first, rest = report(kept.db, kept.progress()).bounces
    assert (first.status, first.count) == ("5.1.1", 1)
    assert rest == BounceCount("", None, "", "", 2)


def test_what_was_reported_lately_is_counted_by_the_time_of_the_report(harness: Harness) -> None:
    with harness.db.read() as connection:
        assert reported_since(connection, LATER) == ReportedCounts(3, 1)
        assert reported_since(connection, LATER + 1) == ReportedCounts(0, 0)
    bounced(harness.db, harness.campaign_id, ADA, at=LATER + LATELY)
    with harness.db.read() as connection:
        assert reported_since(connection, LATER + 1) == ReportedCounts(1, 0)


# one person


def reason_of(harness: Harness, whom: str) -> tuple[Code, str]:
    (one,) = explain(harness.db, whom, campaign_id=harness.campaign_id).users
    (answer,) = one.answers
    assert answer.outcome is not None
    assert answer.outcome.status == "sent"
    return answer.reason.code, answer.reason.text


@pytest.mark.parametrize(
    ("user", "code", "words"),
    [
        (
            *("user00001", Code.BOUNCED),
            f"It was sent, and bounced {AT}, for good, because of the address (5.1.1): "
            "550 5.1.1 <user00001@example.com>: no such user",
        ),
        (
            *("user00003", Code.BOUNCED),
            f"It was sent, and bounced {AT}, for now, because of the mailbox: over quota",
        ),
        ("user00004", Code.COMPLAINED, f"It was sent, and they marked it as spam {AT}."),
        ("user00005", Code.SENT, "memory: sent"),
    ],
    ids=["for good", "for now", "spam", "sent"],
)
def test_person_is_told_that_it_was_sent_and_what_came_then(kept: Harness, user: str, code: Code, words: str) -> None:
    assert reason_of(kept, user) == (code, words)


def test_bounce_without_words_is_told_in_ours(harness: Harness) -> None:
    bounced(harness.db, harness.campaign_id, ADA, status="", reply="")
    assert reason_of(harness, ADA)[1] == f"It was sent, and bounced {AT}, for good, because of the address."


def test_persons_export_has_what_was_reported(kept: Harness) -> None:
    (one,) = export_person(kept.db, ADA)["campaigns"]
    assert (one["bouncedAt"], one["bounceAbout"], one["bouncePermanent"], one["bounceStatus"]) == (
        *(WITH_MS, "address", True, "5.1.1"),
    )
    assert (one["status"], one["complainedAt"], "no such user" in one["bounceReply"]) == ("sent", None, True)
    (other,) = export_person(kept.db, "user00004")["campaigns"]
    assert (other["bouncedAt"], other["bouncePermanent"], other["complainedAt"]) == (None, None, WITH_MS)
    with kept.db.read() as connection:
        (soft,) = outcomes_of(connection, "user00003")
    assert soft.reported.as_json()["bouncePermanent"] is False


def suppress(db: Database, **values: Any) -> None:
    row = {"address": ADDRESS, "campaigns": 0, "campaign_ids": "", "reply": "", "rule": "", "refused_at": START}
    with db.write() as connection:
        connection.execute(insert(RefusedAddress), [{**row, "suppressed_at": START, **values}])


def test_complaint_is_told_as_the_reason_why_somebody_gets_nothing(harness: Harness) -> None:
    suppress(harness.db, complained_at=START)
    harness.now += 1
    harness.accept()
    harness.run()
    (one,) = explain(harness.db, ADA, campaign_id=harness.campaign_id).users
    reason = one.answers[0].reason
    assert reason.code is Code.SUPPRESSED
    assert reason.text == (
        "Their address was suppressed since 2023-11-14T22:13:20Z, as somebody there marked a message as spam "
        "2023-11-14T22:13:20Z."
    )


def test_complaint_of_an_address_that_nobody_has_is_told(small: Harness) -> None:
    suppress(small.db, address="left@example.com", complained_at=LATER)
    assert re.search(r"marked as spam: 2023-11-14", run("explain", "Left@example.com", database=small.db))
    told = json.loads(run("explain", "Left@example.com", "--json", database=small.db))["address"]
    assert (told["complainedAt"], told["suppressedSince"]) == (WITH_MS, "2023-11-14T22:13:20.000Z")


def test_bounces_are_told_as_the_reason_why_somebody_gets_nothing(harness: Harness) -> None:
    suppress(harness.db, bounced_at=START, campaigns=3, reply="550 5.1.1 no")
    harness.now += 1
    harness.accept()
    harness.run()
    (one,) = explain(harness.db, ADA, campaign_id=harness.campaign_id).users
    assert one.answers[0].reason.text.endswith(", refused or bounced in 3 campaigns: 550 5.1.1 no")


def test_suppressed_address_says_that_it_comes_from_bounces_or_a_complaint(harness: Harness) -> None:
    suppress(harness.db, bounced_at=START, campaigns=3, reply="550 5.1.1 no", rule="5.1.1")
    suppress(harness.db, address="user00002@example.com", complained_at=LATER)
    one, other = suppressed_addresses(harness.db)
    assert (one.bounced_at, one.complained_at) == (START, None)
    assert (other.bounced_at, other.complained_at, other.cells()[-1]) == (None, LATER, WITH_MS)
    shown = run("suppressed", "list", database=harness.db)
    assert "5.1.1 (bounced)" in shown
    assert "complained" in shown
    assert "marked as spam 2023-11-14" in shown
    assert "last bounce" in run("users", "show", ADA, database=harness.db)


def run(*arguments: str, database: Database, code: int = 0) -> str:
    environment = {"MAILER_DATABASE_URL": database.url, "MAILER_SECRET_KEY": KEY}
    done = CliRunner().invoke(main, arguments, env=environment)
    assert done.exit_code == code, done.output
    return done.output


# at the command line


def test_explain_status_and_report_tell_at_the_command_line(small: Harness) -> None:
    db = small.db
    told = run("explain", ADA, database=db)
    assert "bounced" in told
    assert "for good, because of the address (5.1.1)" in told
    outcome = json.loads(run("explain", ADA, "--json", database=db))["users"][0]["campaigns"][0]
    assert (outcome["reason"], outcome["outcome"]["bouncedAt"]) == ("bounced", WITH_MS)
    since = run("report", "--since", "2023-11-01", database=db)
    assert "bounced: 3, marked as spam: 1" in since
    found = json.loads(run("report", "--since", "2023-11-01", "--json", database=db))
    assert (found["bounced"], found["complained"]) == (3, 1)
    with db.write() as connection:  # the service's own clock
        lately = update(Delivery).where(Delivery.user_id == ADA)
        connection.execute(lately.values(bounced_at=int(time.time() * 1000)))
    assert re.search(r"last 24 h: +1 bounced, 0 complained", run("status", database=db))
    assert json.loads(run("status", "--json", database=db))["lastDay"] == {"bounced": 1, "complained": 0}


# over HTTP, and on the pages


@pytest.fixture
def client(small: Harness) -> Iterator[FlaskClient]:
    with calling(small.db, *PERMISSIONS, secret_key=(KEY,)) as made:
        sign_in(made, CALLER, Tokens(small.db).create(CALLER, tuple(PERMISSIONS)))
        yield made


def ask(client: FlaskClient, path: str, status: int = 200) -> Any:
    answer = client.get(f"/api/v1/mailer/{path}")
    assert answer.status_code == status, answer.text
    return answer.json


def words(client: FlaskClient, path: str, **headers: str) -> str:
    answer = client.get(f"/mailer/{path}", headers=headers)
    assert answer.status_code == 200, answer.text
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", answer.text)).split())


def test_api_tells_what_was_reported(client: FlaskClient, small: Harness) -> None:
    here = f"campaigns/{small.campaign_id}"
    found = ask(client, here)["campaign"]
    assert (found["bounced"], found["complained"], found["sent"]) == (3, 1, 6)
    assert [one["bounced"] for one in ask(client, "campaigns")["campaigns"]] == [3]
    listed = ask(client, f"{here}/deliveries?bounced=true")["deliveries"]
    assert [one["userId"] for one in listed] == [ADA, "user00002", "user00003"]
    assert (listed[0]["bouncedAt"], listed[0]["bouncePermanent"], listed[2]["bouncePermanent"]) == (
        *(WITH_MS, True, False),
    )
    assert [one["userId"] for one in ask(client, f"{here}/deliveries?complained=true")["deliveries"]] == ["user00004"]
    assert len(ask(client, f"{here}/deliveries?bounced=false")["deliveries"]) == 3
    assert "bounced" in str(ask(client, f"{here}/deliveries?bounced=perhaps", 400))
    groups = ask(client, f"{here}/report")["report"]["bounces"]
    assert [(one["status"], one["about"], one["permanent"], one["count"]) for one in groups] == [
        ("5.1.1", "address", True, 2),
        ("", "mailbox", False, 1),
    ]
    night = ask(client, "report?since=2023-11-01")["report"]
    assert (night["bounced"], night["complained"]) == (3, 1)
    file = client.get(f"/api/v1/mailer/{here}/export?complained=true&format=ndjson").text
    assert [json.loads(line)["userId"] for line in file.splitlines()] == ["user00004"]


def test_api_tells_why_an_address_is_suppressed(client: FlaskClient, small: Harness) -> None:
    suppress(small.db, complained_at=LATER)
    (one,) = ask(client, "suppressed-addresses")["addresses"]
    assert (one["complainedAt"], one["bouncedAt"]) == (WITH_MS, None)
    told = ask(client, f"users/{ADA}")["person"]["suppressed"]
    assert (told["complainedAt"], told["bouncedAt"]) == (WITH_MS, None)
    assert "marked a message as spam" in words(client, f"people/{ADA}")


def test_pages_tell_what_was_reported(client: FlaskClient, small: Harness) -> None:
    page = words(client, f"campaigns/{small.campaign_id}")
    assert "bounced 3 marked as spam 1" in page
    assert "Why it bounced for 3" in page
    assert re.search(r"2 the address for good 550 5\.1\.1 # no such user 1 the mailbox for now over quota", page)
    listed = words(client, f"campaigns/{small.campaign_id}/outcomes?reported=bounced")
    assert [name in listed for name in (ADA, "user00003", "user00004")] == [True, True, False]
    assert "for good the address 5.1.1 550 5.1.1" in listed
    annoyed = client.get(f"/mailer/campaigns/{small.campaign_id}/outcomes?reported=complained&whom=user00004").text
    assert "marked as spam" in annoyed
    assert 'name="reported" value="complained"' in annoyed
    assert "format=csv&amp;reported=complained&amp;whom=user00004" in annoyed
    file = client.get(f"/mailer/campaigns/{small.campaign_id}/export?format=csv&reported=complained").text
    assert [row["userId"] for row in csv.DictReader(io.StringIO(file))] == ["user00004"]
    assert "bounced" in words(client, f"people/{ADA}")
    assert f"bounced {AT}, for good" in words(client, f"people/{ADA}?every=1")


@pytest.mark.parametrize(
    ("means", "told"),
    [
        (Means.COMPLAINT, "they marked a message as spam."),
        (Means.MAIL, "they wrote to the address for that in a message."),
        (Means.LINK, "by the link in a message."),
    ],
)
def test_person_page_tells_by_what_they_left(client: FlaskClient, small: Harness, means: Means, told: str) -> None:
    with acting(Actor("recipient", Via.LINK, "")):
        unsubscribe(small.db, ADA, by=Cause(means, campaign_id=small.campaign_id))
    assert told in words(client, f"people/{ADA}")


def test_pages_tell_it_in_german(client: FlaskClient, small: Harness) -> None:
    german = {"Accept-Language": "de"}
    page = words(client, f"campaigns/{small.campaign_id}", **german)
    assert "zurückgekommen 3 als Spam gemeldet 1" in page
    told = words(client, f"people/{ADA}?every=1", **german)
    assert f"Sie wurde gesendet und kam zurück: {AT}, endgültig, betrifft: die Adresse (5.1.1): 550 5.1.1" in told
    assert "als Spam gemeldet" in words(client, "people/user00004?every=1", **german)


def test_a_campaign_of_which_nothing_came_back_does_not_speak_of_it(client: FlaskClient, small: Harness) -> None:
    small.accept()
    small.run()
    page = words(client, f"campaigns/{small.campaign_id}")
    assert "marked as spam" not in page
    assert "bounced" not in page


# metrics


def test_reports_are_counted(sqlite_db: Database) -> None:
    observer = Instruments(DatabaseGauges(sqlite_db))
    observer.reported({"bounced": 3, "complained": 2, "unknown": 1}, {("address", True): 2, ("mailbox", False): 1})
    value = observer.registry.get_sample_value
    assert value("mailer_bounces_total", {"about": "address", "permanent": "true"}) == 2
    assert value("mailer_bounces_total", {"about": "mailbox", "permanent": "false"}) == 1
    assert value("mailer_bounces_total", {"about": "message", "permanent": "true"}) == 0
    assert value("mailer_complaints_total") == 2
    assert [value("mailer_bounce_reports_total", {"result": one}) for one in ("bounced", "repeated", "unknown")] == [
        *(3, 0, 1),
    ]


def test_what_was_reported_lately_is_a_gauge(small: Harness) -> None:
    small.now = LATER + LATELY
    value = Instruments(DatabaseGauges(small.db)).registry.get_sample_value
    assert value("mailer_reported_lately", {"what": "bounced"}) == 3
    assert value("mailer_reported_lately", {"what": "complained"}) == 1


# from the envelope's sender, by the recorder, to all that shows it


def test_what_the_recorder_records_is_shown(db: Database, add_users: Callable[..., list[str]]) -> None:
    add_users(db, 6)
    made = Harness(db, bounce_address=ReturnAddress.parse("bounce+{token}@bounces.example.com"))
    made.accept()
    made.run()
    made.now = LATER
    back = {message.recipient: message.sender for message in made.store.messages}
    observer = Instruments(DatabaseGauges(db))
    bounce = Report(
        kind=Kind.BOUNCED, about=About.ADDRESS, status="5.1.1", reply="no such user", sent_to=(back[ADDRESS],)
    )
    complaint = Report(kind=Kind.COMPLAINED, sent_to=(back["user00004@example.com"],))
    Recorder(db, made.settings, observer).record([bounce, bounce, complaint, replace(bounce, sent_to=("x@y.z",))])
    letter = Report(kind=Kind.UNSUBSCRIBED, sent_to=("bounces@example.com",))
    assert Recorder(db, made.settings, observer).record([letter]).unknown == 1  # set aside, and no report

    assert (made.progress().bounced, made.progress().complained, made.progress().sent) == (1, 1, 6)
    assert reason_of(made, ADA) == (
        Code.BOUNCED,
        f"It was sent, and bounced {AT}, for good, because of the address (5.1.1): no such user",
    )
    assert reason_of(made, "user00004")[0] is Code.COMPLAINED
    (group,) = report(db, made.progress()).bounces
    assert (group.status, group.about, group.permanent, group.count) == ("5.1.1", "address", True, 1)
    (one,) = suppressed_addresses(db)
    assert (one.address, one.complained_at) == ("user00004@example.com", LATER)
    value = observer.registry.get_sample_value
    assert value("mailer_bounces_total", {"about": "address", "permanent": "true"}) == 1
    assert value("mailer_complaints_total") == 1
    results = ("bounced", "complained", "repeated", "unknown")
    assert [value("mailer_bounce_reports_total", {"result": one}) for one in results] == [1, 1, 1, 1]
    made.now += 1
    made.accept()
    made.run()
    (person,) = explain(db, "user00004", campaign_id=made.campaign_id).users
    assert person.answers[0].reason.code is Code.UNSUBSCRIBED  # a complaint is a wish as well
    assert "by complaint, in a message of the campaign" in person.answers[0].reason.text


def test_columns_are_as_the_helper_fills_them(kept: Harness) -> None:
    with kept.db.read() as connection:
        rows = connection.execute(select(Delivery.bounce_permanent).order_by(Delivery.user_id)).scalars().all()
    assert rows == [None, True, True, False, None, None]


@pytest.mark.slow
def test_running_service_tells_at_the_command_line(tmp_path: Path) -> None:
    service = Service(tmp_path, transport="memory:")
    with service.db.write() as connection:
        connection.execute(insert(User), [user_row(number) for number in range(6)])
    there = sent(service.db)
    with service:
        who = ["--url", service.url, "--user-id", "user00000"]
        who += ["--token", service.headers("user00000")["X-Auth-Token"]]

        def campaigns(*arguments: str) -> str:
            done = CliRunner().invoke(main, ["campaigns", *arguments, there.campaign_id, *who])
            assert done.exit_code == 0, done.output
            return done.stdout

        shown = campaigns("show")
        assert re.search(r"^bounced: +3$", shown, re.MULTILINE)
        assert re.search(r"^complained: +1$", shown, re.MULTILINE)
        lines = campaigns("export", "--bounced", "--format", "ndjson").splitlines()
        assert [json.loads(line)["userId"] for line in lines] == [ADA, "user00002", "user00003"]
        assert len(campaigns("export", "--complained").splitlines()) == 2
