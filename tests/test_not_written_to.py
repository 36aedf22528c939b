"""Everybody who must not be written to, in one list: exported, imported again, and imported from other services."""

from __future__ import annotations

import csv
import io
import json
import re
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from html import unescape
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient
from sqlalchemy import insert, select

from mailer.audience.eligibility import suppressed_because
from mailer.audit.log import entries
from mailer.campaigns.people.export import export_person
from mailer.cli.root import main
from mailer.errors import InvalidRow
from mailer.files.exports import write_rows
from mailer.files.text_files import TextFile
from mailer.pages.people import not_written_to
from mailer.storage.database import Database
from mailer.storage.models import RefusedAddress, User, Wish
from mailer.suppression.exchange.entries import Entry, Why
from mailer.suppression.exchange.everybody import everybody
from mailer.suppression.exchange.formats import FORMATS, format_of
from mailer.suppression.exchange.importing import import_entries
from mailer.suppression.exchange.judging import counts
from mailer.suppression.exchange.reading import read_entries
from mailer.suppression.list_files import ListedAddress
from mailer.suppression.suppressed_addresses import lift
from tests.calling import calling
from tests.databases import any_database, database_at
from tests.harness import Harness
from tests.test_signed_in_pages import form_of, sign_in, token_of

SES_JSON = """{"SuppressedDestinationSummaries": [
  {"EmailAddress": "a@example.org", "Reason": "BOUNCE", "LastUpdateTime": "2020-04-10T21:03:05.000000+00:00"},
  {"EmailAddress": "b@example.org", "Reason": "COMPLAINT", "LastUpdateTime": 1586552585.077}], "NextToken": "x"}"""
SES_CSV = "Email address,Reason,Last update time\na@example.org,BOUNCE,2020-04-10T21:03:05Z\nb@example.org,COMPLAINT,\n"
MAILGUN_BOUNCES = """address,code,error,created_at
a@example.org,550,"550 5.1.1 no such user, sorry","Fri, 21 Oct 2011 11:02:55 UTC"
"""
MAILGUN_COMPLAINTS = 'address,created_at\nb@example.org,"Fri, 21 Oct 2011 11:02:55 UTC"\n'
MAILGUN_UNSUBSCRIBES = 'address,tags,created_at\nc@example.org,*,"Fri, 21 Oct 2011 11:02:55 UTC"\n'
MAILGUN_JSON = """{"items": [{"address": "a@example.org", "code": "550", "error": "No such mailbox",
  "created_at": "Fri, 21 Oct 2011 11:02:55 GMT"}], "paging": {"next": "x", "first": "y"}}"""
SENDGRID_BOUNCES = "status,reason,email,created\n5.1.1,550 5.1.1 unknown user,a@example.org,1443651125\n"
SENDGRID_INVALID = "reason,email,created\nMail domain mentioned in email address is unknown,a@example.org,1449953655\n"
SENDGRID_SPAM = "email,ip,created\nb@example.org,10.63.202.100,1443651141\n"
SENDGRID_UNSUBSCRIBES = "email,created\nc@example.org,1443651141\n"
SENDGRID_GROUP = '[{"email": "c@example.org", "group_id": 1, "group_name": "News", "created_at": 1410986704}]'
SENDGRID_JSON = '[{"created": 1443651125, "email": "a@example.org", "reason": "550 unknown", "status": "5.1.1"}]'
POSTMARK_JSON = """{"Suppressions": [
  {"EmailAddress": "a@example.org", "SuppressionReason": "HardBounce", "Origin": "Recipient",
   "CreatedAt": "2019-12-10T08:58:33-05:00"},
  {"EmailAddress": "b@example.org", "SuppressionReason": "SpamComplaint", "Origin": "Recipient", "CreatedAt": ""},
  {"EmailAddress": "c@example.org", "SuppressionReason": "ManualSuppression", "Origin": "Recipient",
   "CreatedAt": "2019-12-10T08:58:33-05:00"},
  {"EmailAddress": "d@example.org", "SuppressionReason": "ManualSuppression", "Origin": "Customer",
   "CreatedAt": "2019-12-10T08:58:33-05:00"}]}"""
POSTMARK_CSV = "EmailAddress,SuppressionReason,Origin,CreatedAt\nc@example.org,ManualSuppression,Recipient,2020-01-01\n"
BOUNCED, COMPLAINED, UNSUBSCRIBED = ("a", Why.BOUNCED), ("b", Why.COMPLAINED), ("c", Why.UNSUBSCRIBED)
LISTS = {
    "SES, JSON": (SES_JSON, [BOUNCED, COMPLAINED], "2020-04-10T21:03:05"),
    "SES, CSV": (SES_CSV, [BOUNCED, COMPLAINED], "2020-04-10T21:03:05"),
    "Mailgun, bounces": (MAILGUN_BOUNCES, [BOUNCED], "2011-10-21T11:02:55"),
    "Mailgun, complaints": (MAILGUN_COMPLAINTS, [COMPLAINED], "2011-10-21T11:02:55"),
    "Mailgun, unsubscribes": (MAILGUN_UNSUBSCRIBES, [UNSUBSCRIBED], "2011-10-21T11:02:55"),
    "Mailgun, JSON": (MAILGUN_JSON, [BOUNCED], "2011-10-21T11:02:55"),
    "Mailgun, pages of JSON": (MAILGUN_JSON * 2, [BOUNCED, BOUNCED], "2011-10-21T11:02:55"),
    "SendGrid, bounces": (SENDGRID_BOUNCES, [BOUNCED], "2015-09-30T22:12:05"),
    "SendGrid, invalid addresses": (SENDGRID_INVALID, [BOUNCED], "2015-12-12T20:54:15"),
    "SendGrid, spam reports": (SENDGRID_SPAM, [COMPLAINED], "2015-09-30T22:12:21"),
    "SendGrid, unsubscribes": (SENDGRID_UNSUBSCRIBES, [UNSUBSCRIBED], "2015-09-30T22:12:21"),
    "SendGrid, group unsubscribes": (SENDGRID_GROUP, [UNSUBSCRIBED], "2014-09-17T20:45:04"),
    "SendGrid, JSON": (SENDGRID_JSON, [BOUNCED], "2015-09-30T22:12:05"),
    "Postmark, JSON": (POSTMARK_JSON, [BOUNCED, COMPLAINED, UNSUBSCRIBED, ("d", Why.BLOCKED)], "2019-12-10T13:58:33"),
    "Postmark, CSV": (POSTMARK_CSV, [UNSUBSCRIBED], "2020-01-01T00:00:00"),
}


def read(text: str, reason: Why | None = None) -> list[Entry]:
    return list(read_entries(TextFile(BufferedReader(BytesIO(text.encode()))), reason))


def facts(entries: Iterable[Entry]) -> list[tuple[Any, ...]]:
    """What an entry means, whatever its order."""
    return sorted(
        (one.reason.value, one.address or "", one.user_id or "", one.since, one.words, one.rule, one.campaigns, one.by)
        for one in entries
    )


# --- lists of services ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LISTS)
def test_list_of_a_service_is_known_by_its_columns(name: str) -> None:
    text, expected, since = LISTS[name]

    found = read(text)

    assert [(one.address, one.reason) for one in found] == [(f"{who}@example.org", why) for who, why in expected]
    assert str(found[0].cells()[3]).startswith(since)


def test_words_and_code_of_a_bounce_are_kept() -> None:
    assert [(one.words, one.rule) for one in read(MAILGUN_BOUNCES + "")] == [("550 5.1.1 no such user, sorry", "550")]
    assert [(one.words, one.rule) for one in read(SENDGRID_BOUNCES)] == [("550 5.1.1 unknown user", "5.1.1")]
    assert [(one.words, one.rule) for one in read(SES_CSV)] == [("", ""), ("", "")]


@pytest.mark.parametrize("one", FORMATS, ids=lambda one: one.name)
def test_first_format_that_fits_is_its_own(one: Any) -> None:
    assert format_of(one.needed) is one


@pytest.mark.parametrize(
    ("text", "row", "field"),
    [
        ("a@example.org\n", 1, "heading"),
        ("email,name\na@example.org,Ann\n", 2, "heading"),
        ("status,reason,who,created\n5.1.1,x,a@example.org,1\n", 1, "heading"),
        ("email,created\nnobody,1443651141\n", 2, "address"),
        ("email,created\na@example.org,1443651141\n,1443651141\n", 3, "address"),
        ("email,created\na@example.org,last week\n", 2, "since"),
        ("EmailAddress,Reason\na@example.org,BOUNCE\nb@example.org,WHIM\n", 3, "reason"),
        ("EmailAddress,Reason\na@example.org,\n", 2, "reason"),
        ("_id,address,reason,since,why,rule,campaigns,by\nu1,,blocked,,,,,\n", 2, "address"),
        ("_id,address,reason,since,why,rule,campaigns,by\n,a@example.org,refused,,,,many,\n", 2, "campaigns"),
        ('{"items": [{"address": "a@example.org", "tags": ["*"]}, {"address": "", "tags": ["*"]}]}', 2, "address"),
        ('{"items": [{"address": "a@example.org"', 1, "document"),
        ("[1]", 1, "document"),
    ],
)
def test_row_that_cannot_be_understood_is_named(any_db: Database, text: str, row: int, field: str) -> None:
    file = TextFile(BufferedReader(BytesIO(text.encode())))

    with pytest.raises(InvalidRow) as refused:
        import_entries(any_db, read_entries(file), by="op", source="list")

    assert refused.value.details == {"row": row, "field": field}
    assert list(everybody(any_db)) == []


def test_reason_that_is_said_counts_for_every_row() -> None:
    found = read("email,name\na@example.org,Ann\nb@example.org,Ben\n", Why.COMPLAINED)

    bare = read("a@example.org\nb@example.org\n", Why.COMPLAINED)

    assert [one.reason for one in found] == [Why.COMPLAINED] * 2
    assert bare == found


# --- what an import does ----------------------------------------------------------------------------------------------


def test_import_suppresses_and_unsubscribes(db: Database, add_users: Callable[..., Any]) -> None:
    add_users(db, 6)
    reasons = ("unsubscribed", "refused", "bounced", "complained", "blocked")
    rows = "".join(f"user0000{n}@EXAMPLE.com,{why},2020-01-01\n" for n, why in enumerate(reasons))

    done = import_entries(db, read("address,reason,since\n" + rows), by="op", source="list")
    harness = Harness(db)
    harness.accept()
    harness.plan()
    harness.run()

    assert harness.arrived() == ["user00005@example.com"]
    assert suppressed_because(0, None, None) == "The address is suppressed: another service says so."
    assert (done.newly_unsubscribed, done.suppressed, done.unmatched, done.erased) == (1, 4, 0, 0)
    with db.read() as connection:
        assert set(connection.scalars(select(RefusedAddress.suppressed_at))) == {1577836800000}


def test_dry_run_counts_and_does_nothing(any_db: Database, add_users: Callable[..., Any]) -> None:
    add_users(any_db, 1)

    done = import_entries(any_db, read(POSTMARK_JSON), by="op", source="list", dry_run=True)

    assert (done.unsubscribed, done.bounced, done.complained, done.blocked) == (1, 1, 1, 1)
    assert (done.suppressed, done.unmatched, list(everybody(any_db))) == (0, 0, [])


def test_imported_again_nothing_changes(db: Database) -> None:
    import_entries(db, read(POSTMARK_JSON), by="op", source="list")
    before = facts(everybody(db))

    again = import_entries(db, read(POSTMARK_JSON.replace("2019", "2021")), by="other", source="later")

    assert facts(everybody(db)) == before
    assert (again.suppressed, again.newly_unsubscribed) == (0, 0)


def test_lifted_address_is_written_to_again(any_db: Database) -> None:
    import_entries(any_db, read(SES_JSON), by="op", source="list")

    assert lift(any_db, ["a@example.org", "B@example.org"]).lifted == 2
    assert list(everybody(any_db)) == []


# --- bounces that count against nobody --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "words", "taken"),
    [
        ("550", "550 5.1.1 no such user", True),
        ("550", "", True),
        ("550", "No such mailbox", True),
        ("", "No such mailbox", True),
        ("", "", True),
        ("605", "Not delivering to previously bounced address", True),
        ("606", "Not delivering to an unsubscribed address", False),
        ("452", "4.2.2 mailbox full", False),
        ("452", "", False),
        ("550", "452 4.1.1 try again", False),
        ("552", "5.2.2 mailbox full", False),
        ("554", "5.7.1 message rejected as spam", False),
        ("554", "", False),
        ("498", "No MX for example.org", False),
    ],
)
def test_bounce_of_mailgun_is_judged_as_a_refusal(code: str, words: str, taken: bool) -> None:
    found = read(f'address,code,error,created_at\na@example.org,{code},"{words}",\n')

    assert [counts(one) for one in found] == [taken]


@pytest.mark.parametrize(
    ("status", "reason", "taken"),
    [
        ("5.1.1", "550 5.1.1 unknown user", True),
        ("5.1.1", "unknown user", True),
        ("5.1.1", "", True),
        ("5.0.0", "550 unknown user", True),
        ("4.2.2", "452 4.2.2 mailbox full", False),
        ("4.2.2", "", False),
        ("5.1.1", "452 4.2.2 mailbox full", False),
        ("5.7.1", "blocked using spamhaus", False),
        ("5.7.1", "550 5.7.1 blocked using spamhaus", False),
        ("", "554 5.7.1 message rejected as spam", False),  # its blocks
        ("", "error dialing remote address: timeout", False),
        ("", "", False),
    ],
)
def test_bounce_of_sendgrid_is_judged_as_a_refusal(status: str, reason: str, taken: bool) -> None:
    found = read(f'status,reason,email,created\n{status},"{reason}",a@example.org,1443651125\n')

    assert [counts(one) for one in found] == [taken]


@pytest.mark.parametrize("text", [SES_JSON, SES_CSV, POSTMARK_JSON, SENDGRID_INVALID, MAILGUN_COMPLAINTS])
def test_list_without_answers_is_taken_whole(text: str) -> None:
    assert all(counts(one) for one in read(text))


def test_blocks_without_their_column_are_no_invalid_addresses() -> None:
    found = read("reason,email,created\n554 5.7.1 blocked using spamhaus,a@example.org,1449953655\n")

    assert [counts(one) for one in found] == [False]


SOFT = """address,code,error,created_at
full@example.org,452,4.2.2 mailbox of full@example.org is full,
spam@example.org,554,5.7.1 message rejected as spam,
gone@example.org,550,5.1.1 no such user,
"""


def test_rows_left_out_are_counted_told_and_on_record(any_db: Database) -> None:
    done = import_entries(any_db, read(SOFT), by="op", source="list")

    acts = [one for one in entries(any_db) if one.act == "block-addresses"]
    assert (done.bounced, done.suppressed, done.left_out) == (1, 1, 2)
    assert done.such_as.startswith("452 4.2.2 mailbox of")
    assert "full@" not in done.such_as
    assert [one.address for one in everybody(any_db)] == ["gone@example.org"]
    assert [dict(one.details) for one in acts] == [{"addresses": 1, "blocked": 1, "leftOut": 2, "list": "list"}]


def test_list_of_which_nothing_counts_does_nothing_and_says_so(any_db: Database) -> None:
    done = import_entries(any_db, read(SOFT.rpartition("gone")[0]), by="op", source="list")

    assert (done.left_out, done.suppressed, list(everybody(any_db))) == (2, 0, [])
    assert [one.details["leftOut"] for one in entries(any_db) if one.act == "block-addresses"] == [2]


def test_rows_that_would_be_left_out_are_taken_where_that_is_said(any_db: Database) -> None:
    done = import_entries(any_db, read(SOFT), by="op", source="list", everything=True)

    assert (done.suppressed, done.left_out) == (3, 0)
    assert all(counts(one) for one in read(SOFT, Why.BOUNCED))


# --- there and back ---------------------------------------------------------------------------------------------------


def filled(db: Database) -> None:
    """Somebody for every reason, and more for one address."""
    with db.write() as connection:
        connection.execute(
            insert(Wish),
            [
                {"kind": kind, "value": value, "unsubscribed_at": 5, "kept_at": 6, "kept_by": "x", "source": "x"}
                for kind, value in (("address", "kept@example.org"), ("shared", "both@example.org"), ("user", "later"))
            ],
        )
        nothing = {"campaigns": 0, "campaign_ids": "", "reply": "", "rule": "", "refused_at": 1, "suppressed_at": None}
        none = dict.fromkeys(("bounced_at", "complained_at", "blocked_at", "blocked_by", "block_reason"))
        refused = {"campaigns": 3, "reply": "550 =gone", "rule": "5.1.1", "suppressed_at": 1000}
        rows = {
            "refused": refused,
            "bounced": {**refused, "bounced_at": 1000},
            "complained": {"complained_at": 2000, "suppressed_at": 2000},
            "blocked": {"blocked_at": 3000, "suppressed_at": 3000, "blocked_by": "op", "block_reason": "-trap, 'x'"},
            "all": {**refused, "complained_at": 2000, "blocked_at": 3000, "blocked_by": "op", "block_reason": "why"},
            "once": {"campaigns": 1, "reply": "550 gone", "rule": "5.1.1"},  # still written to
            "+formula": refused,
        }
        for name, row in rows.items():
            address = {"address": f"{name}@example.org"}
            connection.execute(insert(RefusedAddress).values(**{**nothing, **none, **row, **address}))
        connection.execute(insert(User), [row_of("u1", "ann@example.org"), row_of("u2", None)])


def row_of(user_id: str, email: str | None) -> dict[str, Any]:
    from tests.conftest import user_row

    return user_row(1, id=user_id, email=email, unsubscribed_at=4000)


@pytest.mark.parametrize("form", ["csv", "ndjson"])
@pytest.mark.parametrize("raw", [False, True])
def test_export_is_imported_with_the_same_meaning(db: Database, tmp_path: Path, form: str, raw: bool) -> None:
    filled(db)
    exported = "".join(write_rows(form, Entry.COLUMNS, (one.cells() for one in everybody(db)), raw=raw))
    other = database_at(any_database(tmp_path / "other.db"))

    import_entries(other, read(exported), by="somebody", source="moved")
    moved = facts(everybody(other))
    import_entries(other, read(exported), by="somebody", source="moved")
    before, again = facts(everybody(db)), facts(everybody(other))
    other.close()

    # the users are not there, so that their wishes wait for whoever comes: by id, and by address
    of_users = {("unsubscribed", "ann@example.org", "u1"), ("unsubscribed", "", "u2")}
    waiting = {("unsubscribed", "ann@example.org", ""), ("unsubscribed", "", "u1"), ("unsubscribed", "", "u2")}
    assert {one[:3] for one in before} - of_users == {one[:3] for one in moved} - waiting
    assert [one for one in before if not one[2]] == [
        one for one in moved if one[1:3] != ("ann@example.org", "") and not one[2]
    ]
    assert again == moved
    assert "once@example.org" not in exported


def test_export_and_import_are_read_in_pages(sqlite_db: Database) -> None:
    def many() -> Iterator[Entry]:
        for n in range(8_000):
            yield Entry(Why.BOUNCED, f"user{n:06d}@example.org", since=1000, words="no such user" * 10)

    tracemalloc.start()
    done = import_entries(sqlite_db, many(), by="op", source="list")
    count = sum(1 for _ in everybody(sqlite_db))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert (done.suppressed, count) == (8_000, 8_000)
    assert peak < 6 << 20


# --- the API and the command line -------------------------------------------------------------------------------------


@pytest.fixture
def client(any_db: Database, add_users: Callable[..., Any]) -> Iterator[FlaskClient]:
    add_users(any_db, 2)
    with calling(any_db, "manage-users") as made:
        yield made


def test_api_imports_and_exports(client: FlaskClient) -> None:
    path = "/api/v1/mailer/not-written-to"
    looked = client.post(f"{path}:import?dryRun=true", data=SES_JSON, content_type="application/json").json
    done = client.post(f"{path}:import?list=ses.json", data=SES_JSON, content_type="application/json").json
    exported = client.get(f"{path}/export").text

    assert looked is not None
    assert (looked["bounced"], looked["complained"], looked["suppressed"]) == (1, 1, 0)
    assert done is not None
    assert (done["bounced"], done["complained"], done["suppressed"]) == (1, 1, 2)
    rows = list(csv.DictReader(io.StringIO(exported)))
    assert [(row["address"], row["reason"], row["since"][:19]) for row in rows] == [
        ("a@example.org", "bounced", "2020-04-10T21:03:05"),
        ("b@example.org", "complained", "2020-04-10T21:03:05"),
    ]


def test_api_names_the_row_at_fault_and_does_nothing(client: FlaskClient, any_db: Database) -> None:
    listed = "email,created\na@example.org,1443651141\nnobody,1443651141\n"
    answer = client.post("/api/v1/mailer/not-written-to:import", data=listed, content_type="text/csv")

    assert answer.status_code == 400
    assert answer.json is not None
    assert "row 3" in answer.json["error"].lower()
    assert list(everybody(any_db)) == []


def test_commands_import_and_export(any_db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILER_DATABASE_URL", any_db.url)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bounces.csv").write_text(MAILGUN_BOUNCES)

    looked = CliRunner().invoke(main, ["not-written-to", "import", "bounces.csv", "--dry-run"])
    done = CliRunner().invoke(main, ["not-written-to", "import", "bounces.csv", "--json"])
    exported = CliRunner().invoke(main, ["not-written-to", "export", "--format", "ndjson"])
    (tmp_path / "people.csv").write_text("email,name\na@example.org,Ann\n")
    wrong = CliRunner().invoke(main, ["not-written-to", "import", "people.csv"])

    assert looked.output.splitlines() == [
        "rows: 0 unsubscribed, 0 refused, 1 bounced, 0 complained, 0 blocked",
        "nothing was done",
    ]
    assert json.loads(done.output)["suppressed"] == 1
    assert json.loads(exported.output)["address"] == "a@example.org"
    assert (wrong.exit_code, wrong.stderr.startswith("Error: row 2, field heading: ")) == (1, True)


def test_rows_left_out_are_told_over_http_and_on_the_command_line(
    client: FlaskClient, any_db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAILER_DATABASE_URL", any_db.url)
    (tmp_path / "bounces.csv").write_text(SOFT)
    told = "2 rows not about the address, or not for good, such as: 452 4.2.2 mailbox of"

    path = "/api/v1/mailer/not-written-to:import"
    looked = CliRunner().invoke(main, ["not-written-to", "import", str(tmp_path / "bounces.csv"), "--dry-run"])
    done = CliRunner().invoke(main, ["not-written-to", "import", str(tmp_path / "bounces.csv")])
    answer = client.post(path, data=SOFT, content_type="text/csv").json
    whole = client.post(f"{path}?all=true", data=SOFT, content_type="text/csv").json
    whole_too = CliRunner().invoke(main, ["not-written-to", "import", str(tmp_path / "bounces.csv"), "--all", "--json"])

    assert looked.output.splitlines()[1].startswith(f"left out: {told}")
    assert done.output.splitlines()[1].startswith(f"left out: {told}")
    assert answer is not None
    assert (answer["leftOut"], answer["notes"][-1].startswith(f"Left out: {told}")) == (2, True)
    assert whole is not None
    assert (whole["suppressed"], whole["leftOut"]) == (2, 0)
    assert json.loads(whole_too.output)["bounced"] == 3


def test_why_an_imported_address_is_suppressed_is_shown(
    client: FlaskClient, any_db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAILER_DATABASE_URL", any_db.url)
    bounces = tmp_path / "bounces.csv"
    bounces.write_text(MAILGUN_BOUNCES.replace("a@example.org", "user00001@example.com"))
    by_http = "EmailAddress,Reason\nb@example.org,BOUNCE\n"

    CliRunner().invoke(main, ["not-written-to", "import", str(bounces)])
    client.post("/api/v1/mailer/not-written-to:import", data=by_http, content_type="text/csv")
    client.post("/api/v1/mailer/not-written-to:import?reason=bounced", data="c@example.org\n", content_type="text/csv")
    listed = CliRunner().invoke(main, ["suppressed", "list"]).output
    shown = CliRunner().invoke(main, ["users", "show", "user00001"]).output
    person = export_person(any_db, "user00001")

    assert "550, as Mailgun says (bounced)" in listed
    assert "550 5.1.1 no such user, sorry" in listed
    assert "as Amazon SES says (bounced)" in listed
    assert "as an imported list says (bounced)" in listed
    assert "suppressed because: 550, as Mailgun says: 550 5.1.1 no such user, sorry" in shown
    assert person["suppressed"]["rule"] == "550, as Mailgun says"


# --- the page ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def page(client: FlaskClient, any_db: Database) -> FlaskClient:
    sign_in(client, "user00000", token_of(any_db, "user00000", "manage-users"))
    return client


def test_page_lists_the_newest_first_and_goes_on(
    page: FlaskClient, any_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(not_written_to, "PAGE", 2)
    rows = "".join(
        f"{name}@example.org,550,5.1.1 <gone>,{year}-01-01\n" for name, year in zip("abcde", YEARS, strict=True)
    )
    import_entries(any_db, read("address,code,error,created_at\n" + rows), by="op", source="list")

    place, seen = "/mailer/not-written-to", []
    while place:
        text = page.get(place).text
        seen.append(re.findall(r'name="address" value="(.)@', text))
        more = re.search(r'href="[./]*(not-written-to\?before[^"]*)"', text)
        place = f"/mailer/{unescape(more[1])}" if more else ""
        assert "550, as Mailgun says: <q>5.1.1 &lt;gone&gt;</q>" in text

    assert seen == [["b", "d"], ["c", "e"], ["a"]]  # b and d, c and e are of one moment
    assert 'href="../not-written-to"' in page.get("/mailer/people/").text


YEARS = (2020, 2024, 2022, 2024, 2022)


def test_page_lifts_an_address_and_no_wish(page: FlaskClient, any_db: Database) -> None:
    address = "user00001@example.com"
    listed = f"address,reason,since\n{address},unsubscribed,\n{address},bounced,\n"
    import_entries(any_db, read(listed), by="op", source="list")
    form = {"form": form_of(page.get("/mailer/not-written-to").text)}

    done = page.post("/mailer/not-written-to/lift", data={**form, "address": address})
    again = page.post("/mailer/not-written-to/lift", data={**form, "address": address})
    nonsense = [
        page.post("/mailer/not-written-to/lift", data={**form, "address": one}) for one in ("", "x", "\0@x.org")
    ]

    assert (done.status_code, again.status_code) == (303, 404)
    assert "is written to again" in page.get(urljoin("/mailer/not-written-to/lift", done.headers["Location"])).text
    assert {one.status_code for one in nonsense} <= {400, 404}
    assert {one.reason for one in everybody(any_db)} == {Why.UNSUBSCRIBED}
    assert [one.act for one in entries(any_db)][:1] == ["lift-addresses"]


def test_page_exports_what_the_api_exports(page: FlaskClient, any_db: Database) -> None:
    import_entries(any_db, read(POSTMARK_JSON), by="op", source="list")

    for form, kind in (("csv", "text/csv"), ("ndjson", "application/x-ndjson"), ("x", "text/csv")):
        found = page.get(f"/mailer/not-written-to/export?format={form}")
        assert (found.status_code, found.mimetype) == (200, kind)
        assert found.headers["Cache-Control"] == "no-store"
        assert len(read(found.text)) == 4


def test_pages_are_for_who_manages_users(client: FlaskClient, any_db: Database) -> None:
    import_entries(any_db, read(SES_JSON), by="op", source="list")
    sign_in(client, "user00000", token_of(any_db, "user00000", "send-mail", "manage-campaigns"))
    form = {"form": form_of(client.get("/mailer/").text), "address": "a@example.org"}

    assert client.get("/mailer/not-written-to").status_code == 403
    assert client.get("/mailer/not-written-to/export").status_code == 403
    assert client.post("/mailer/not-written-to/lift", data=form).status_code == 403
    assert len(list(everybody(any_db))) == 2


def test_block_that_an_import_finds_keeps_its_reason(any_db: Database) -> None:
    from mailer.suppression.blocked_addresses import block

    block(any_db, [ListedAddress("a@example.org")], by="op", reason="trap")

    import_entries(any_db, read(MAILGUN_BOUNCES), by="other", source="list")

    assert [(one.reason, one.words, one.by) for one in everybody(any_db) if one.reason is Why.BLOCKED] == [
        (Why.BLOCKED, "trap", "op")
    ]
