"""How many people a campaign's caller expects: in the POST, when it is planned, on the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import requests
from flask.testing import FlaskClient

from mailer.audience.bounds import Bounds, bounded, bounds_of, objection
from mailer.audience.earlier import divided
from mailer.campaigns import control
from mailer.campaigns.accept import accept
from mailer.campaigns.draft import Draft
from mailer.campaigns.invariants import examine
from mailer.campaigns.progress import NOBODY
from mailer.campaigns.reports.attention import needing_attention
from mailer.campaigns.reports.said import said
from mailer.cli.expect import Unexpected, expected, refuse_unexpected
from mailer.storage.database import Database
from tests.calling import calling
from tests.harness import Harness
from tests.service import PAYLOAD, Service
from tests.test_cli_send import Shell

AddUsers = Callable[..., list[str]]
QUERY = {"roles": "user"}


def planned(db: Database, bounds: Bounds, *, dry_run: bool = False, query: dict[str, Any] | None = None) -> Harness:
    harness = Harness(db)
    text = ("News", "news@example.com", "Hi", "[unsubscribe]")
    draft = Draft(*text, bounded(QUERY if query is None else query, bounds), dry_run)
    harness.campaign_id = accept(db, "user00000", draft).campaign_id
    harness.run()
    return harness


# --- when it is planned -----------------------------------------------------------------------------------------------

OUTSIDE = {
    "too few": (Bounds(150, 250), "20 people would receive it, and its caller expects 150 to 250"),
    "fewer than at least": (Bounds(21, None), "20 people would receive it, and its caller expects at least 21"),
    "more than at most": (Bounds(None, 19), "20 people would receive it, and its caller expects at most 19"),
    "not exactly": (Bounds(2000, 2000), "20 people would receive it, and its caller expects 2,000"),
}


@pytest.mark.parametrize(("bounds", "reason"), OUTSIDE.values(), ids=OUTSIDE)
def test_campaign_for_another_number_pauses_with_the_reason(
    db: Database, add_users: AddUsers, bounds: Bounds, reason: str
) -> None:
    add_users(db, 20)
    harness = planned(db, bounds)
    found = harness.progress()

    assert (found.state, found.reason, found.planned, found.pending) == ("paused", reason, 20, 20)
    assert (found.min_recipients, found.max_recipients) == (bounds.least, bounds.most)
    assert harness.arrived() == []
    assert needing_attention(db) == {"paused": 1}
    assert examine(db) == []


def test_resuming_it_accepts_the_number(db: Database, add_users: AddUsers) -> None:
    add_users(db, 20)
    harness = planned(db, Bounds(150, 250))

    control.resume(db, harness.campaign_id, "user00000")
    harness.run()

    assert (harness.progress().state, len(set(harness.arrived()))) == ("completed", 20)
    assert examine(db) == []


@pytest.mark.parametrize("bounds", [Bounds(20, 20), Bounds(0, 20), Bounds(20, None), Bounds()], ids=str)
def test_campaign_within_the_bounds_is_sent(db: Database, add_users: AddUsers, bounds: Bounds) -> None:
    add_users(db, 20)
    harness = planned(db, bounds)

    assert (harness.progress().state, len(harness.arrived())) == ("completed", 20)
    assert harness.progress().warnings == ()


def test_nobody_where_somebody_was_expected_waits_for_a_person(db: Database, add_users: AddUsers) -> None:
    add_users(db, 2)
    harness = planned(db, Bounds(1, None), query={"roles": "newsleter"})
    found = harness.progress()
    assert (found.state, found.reason) == ("paused", "nobody would receive it, and its caller expects at least 1")

    control.resume(db, harness.campaign_id)

    assert (harness.progress().state, harness.progress().warnings) == ("completed", (NOBODY[1],))
    assert examine(db) == []


def test_campaign_for_nobody_says_so_unless_that_was_expected(db: Database, add_users: AddUsers) -> None:
    add_users(db, 2)
    nobody = {"roles": "newsleter"}

    assert planned(db, Bounds(), query=nobody).progress().warnings == (NOBODY[1],)
    assert planned(db, Bounds(None, 5), query=nobody).progress().warnings == (NOBODY[1],)
    assert planned(db, Bounds(0, 5), query=nobody).progress().warnings == ()


def test_dry_run_does_not_look_at_the_number(db: Database, add_users: AddUsers) -> None:
    add_users(db, 2)
    harness = planned(db, Bounds(150, 250), dry_run=True)

    assert (harness.progress().state, harness.arrived()) == ("completed", ["news@example.com"])


def test_bounds_select_nobody_and_are_no_part_of_the_query(db: Database, add_users: AddUsers) -> None:
    add_users(db, 2)
    stored = bounded(QUERY, Bounds(1, 2))

    assert (bounds_of(stored), divided(stored)) == (Bounds(1, 2), (QUERY, {}))
    assert bounded(QUERY, Bounds()) is QUERY
    assert said(db, planned(db, Bounds(2, 2)).campaign_id, None).query == QUERY
    assert objection(Bounds(2, 3), 1) == "1 person would receive it, and its caller expects 2 to 3"


# --- the request ------------------------------------------------------------------------------------------------------


@pytest.fixture
def client(any_db: Database, add_users: AddUsers) -> Iterator[FlaskClient]:
    add_users(any_db, 2)
    with calling(any_db) as made:
        yield made


@pytest.mark.parametrize("how", ["json", "data"])
def test_request_has_them_and_the_campaign_tells_them(client: FlaskClient, how: str) -> None:
    body: dict[str, Any] = {how: {**PAYLOAD, "minRecipients": "150", "maxRecipients": "250"}}
    answer = client.post("/api/v1/mailer", **body)
    campaign = client.get(answer.headers["Location"]).json["campaign"]

    assert (answer.status_code, answer.json) == (200, {"success": True})
    assert (campaign["minRecipients"], campaign["maxRecipients"], campaign["warnings"]) == (150, 250, [])


def test_campaign_without_them_tells_null(client: FlaskClient) -> None:
    answer = client.post("/api/v1/mailer", json={**PAYLOAD, "minRecipients": 0})
    campaign = client.get(answer.headers["Location"]).json["campaign"]
    listed = client.get("/api/v1/mailer/campaigns").json["campaigns"]

    assert (campaign["minRecipients"], campaign["maxRecipients"]) == (0, None)
    assert [one["minRecipients"] for one in listed] == [0]


REFUSED = [None, "", " ", -1, "-1", 1.5, "1.5", True, "many", [], {}, 2**31, "9" * 40, "１", "+1", "1e3"]


@pytest.mark.parametrize("field", ["minRecipients", "maxRecipients"])
def test_anything_else_is_refused_and_the_field_named(client: FlaskClient, field: str) -> None:
    for value in REFUSED:
        answer = client.post("/api/v1/mailer", json={**PAYLOAD, field: value})
        assert (answer.status_code, answer.json["details"]["field"]) == (400, field), value
    assert client.get("/api/v1/mailer/campaigns").json["total"] == 0


def test_bounds_in_the_wrong_order_are_refused(client: FlaskClient) -> None:
    answer = client.post("/api/v1/mailer", json={**PAYLOAD, "minRecipients": 3, "maxRecipients": 2})

    assert answer.status_code == 400
    assert answer.json["error"] == "maxRecipients: Is less than minRecipients. [invalid-params]"
    assert client.get("/api/v1/mailer/campaigns").json["total"] == 0


def test_query_cannot_have_their_name(client: FlaskClient) -> None:
    answer = client.post("/api/v1/mailer", json={**PAYLOAD, "query": '{"$recipients": {"min": 0}}'})

    assert (answer.status_code, answer.json["errorType"]) == (400, "error-invalid-query")


def test_same_request_with_other_bounds_is_another_campaign(any_db: Database) -> None:
    text = ("", "news@example.com", "Hi", "[unsubscribe]")
    drafts = [Draft(*text, bounded({}, Bounds(1, most)), False) for most in (2, 3)]

    assert len({accept(any_db, "ann", draft, repeat_window=60_000).campaign_id for draft in drafts}) == 2


# --- the command line -------------------------------------------------------------------------------------------------

TAKEN = {
    "150..250": {"minRecipients": 150, "maxRecipients": 250},
    "150..": {"minRecipients": 150},
    "..250": {"maxRecipients": 250},
    "200": {"minRecipients": 200, "maxRecipients": 200},
    "0": {"minRecipients": 0, "maxRecipients": 0},
    " 5..5 ": {"minRecipients": 5, "maxRecipients": 5},
}


@pytest.mark.parametrize(("given", "fields"), TAKEN.items(), ids=TAKEN)
def test_expect_is_read(given: str, fields: dict[str, int]) -> None:
    made = click.Context(click.Command("send"))

    assert expected(made, click.Option(["--expect"]), given) == fields


@pytest.mark.parametrize("given", ["", "..", "a", "250..150", "1...2", "-1", "1,000", "1-2", str(2**31), "99999999999"])
def test_expect_that_says_nothing_clear_is_refused(given: str) -> None:
    with pytest.raises(click.BadParameter, match=r"is not such as 200, 150\.\.250"):
        expected(click.Context(click.Command("send")), click.Option(["--expect"]), given)


PAUSED = {"state": "paused", "planned": 3, "pending": 3, "startedAt": "2026-01-01", "reason": "3 people would"}
ENDS: dict[str, tuple[dict[str, Any], bool]] = {
    "outside": ({**PAUSED, "minRecipients": 5}, True),
    "within": ({**PAUSED, "minRecipients": 3}, False),
    "without bounds": (PAUSED, False),
    "resumed and paused again": ({**PAUSED, "minRecipients": 5, "pending": 1}, False),
    "not planned": ({**PAUSED, "minRecipients": 5, "startedAt": None}, False),
    "nobody": ({**PAUSED, "state": "completed", "planned": 0, "pending": 0, "warnings": [NOBODY]}, True),
    "nobody expected": ({**PAUSED, "state": "completed", "planned": 0, "pending": 0, "warnings": []}, False),
    "completed": ({**PAUSED, "state": "completed", "pending": 0, "warnings": []}, False),
}


@pytest.mark.parametrize(("campaign", "refused"), ENDS.values(), ids=ENDS)
def test_watching_tells_a_number_that_was_not_expected(campaign: dict[str, Any], refused: bool) -> None:
    if not refused:
        refuse_unexpected(campaign)
        return
    with pytest.raises(Unexpected) as raised:
        refuse_unexpected(campaign)
    assert raised.value.exit_code == 7


# --- the whole story --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_typo_in_a_role_of_a_cron_job_sends_nothing_and_is_told(
    database_url: str, tmp_path: Path, add_users: AddUsers
) -> None:
    """By the command line and a running service: the typo, everybody by mistake, and the number that was expected."""
    with Service(tmp_path, database_url=database_url, transport="memory:", rate_limit="") as service:
        add_users(service.db, 20)
        shell = Shell(tmp_path, service, "user00000")

        def sent(query: str, expect: str) -> tuple[int, str]:
            done = shell.send("--query", query, "--expect", expect, "--watch")
            return done.returncode, done.stderr.splitlines()[-1] if done.stderr else ""

        typo, everybody = sent('{"roles": "usr"}', "1.."), sent("{}", "..10")
        assert typo == (7, "Error: the campaign is paused: nobody would receive it, and its caller expects at least 1")
        assert everybody[0] == 7
        assert everybody[1].endswith("20 people would receive it, and its caller expects at most 10")
        paused = shell.campaigns()[0]
        assert (paused["state"], paused["planned"], paused["sent"]) == ("paused", 20, 0)
        assert sent('{"roles": "user"}', "15..25")[0] == 0

        assert shell.run("campaigns", "resume", paused["_id"]).returncode == 0
        address = requests.Response()
        address.status_code = 200
        address.headers["Location"] = f"/api/v1/mailer/campaigns/{paused['_id']}"
        assert service.finish(shell.headers, address)["sent"] == 20
