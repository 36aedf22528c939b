"""The pages of campaigns: the list, one in numbers and charts, what it said, whom it left out, and how to mend it."""

from __future__ import annotations

import csv
import html
import io
import json
import random
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from html.parser import HTMLParser

import pytest
from flask.testing import FlaskClient
from sqlalchemy import insert, text, update

from app import create_app
from mailer.audience.bounds import Bounds, bounded
from mailer.audience.earlier import Earlier, narrowed
from mailer.campaigns import control, progress
from mailer.campaigns.accept import accept
from mailer.campaigns.draft import Draft
from mailer.campaigns.reports.report import report
from mailer.delivery.tallies.domains import DomainCounts
from mailer.pages.campaigns.charts import MOST_BARS, bars, domain_bars
from mailer.pages.campaigns.listing import GROUPS
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.models import (
    Campaign,
    CampaignAnswer,
    CampaignDomain,
    CampaignMinute,
    CampaignState,
    RefusedAddress,
    User,
)
from tests.conftest import user_row
from tests.drills import rounds
from tests.harness import MINUTE, START, Harness
from tests.test_reached import add_campaign
from tests.test_signed_in_pages import post, sign_in, token_of
from tests.test_tallies import Answering
from transports.base import Status

LIMITS = {"max_failure_rate": 1.0, "suppress_after": 0, "same_refusals": 0}


@pytest.fixture
def client(any_db: Database, add_users: Callable[..., list[str]]) -> Iterator[FlaskClient]:
    add_users(any_db, 12)
    app = create_app(Settings(database_url=any_db.url, secret_key=("k" * 40,), transport="memory:", rate_limit=""))
    made = app.test_client()
    sign_in(made, "user00000", token_of(any_db, "user00000"))
    yield made
    app.extensions["mailer"].db.close()


def show(client: FlaskClient, campaign_id: str, what: str = "") -> str:
    answer = client.get(f"/mailer/campaigns/{campaign_id}{what}")
    assert answer.status_code == 200, answer.text
    return answer.text


def words(page: str) -> str:
    """What a reader reads, on one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def ask(client: FlaskClient, db: Database, path: str) -> dict:
    headers = {"X-User-Id": "user00000", "X-Auth-Token": token_of(db, "user00000")}
    answer = client.get(f"/api/v1/mailer/campaigns{path and '/'}{path}".replace("/?", "?"), headers=headers)
    assert answer.status_code == 200
    return answer.json or {}


# one campaign in numbers


def test_numbers_of_the_page_are_those_of_the_api(client: FlaskClient, any_db: Database) -> None:
    with any_db.write() as connection:
        for number in (3, 4, 5):
            address = f"user{number:05d}@Other.example"
            connection.execute(update(User).where(User.id == f"user{number:05d}").values(email=address))
    harness = Harness(any_db, Answering(lambda n: "550 5.1.1 no such user" if n % 2 else "554 spam"), **LIMITS)
    harness.accept()
    harness.run()
    page, told = (
        words(show(client, harness.campaign_id)),
        ask(client, any_db, f"{harness.campaign_id}/report")["report"],
    )

    assert [(one["domain"], one["failed"]) for one in told["domains"]] == [("example.com", 9), ("other.example", 3)]
    for one in told["domains"]:
        assert f"{one['domain']} 0 {one['failed']} 0 0 0" in page
    assert {(group["answer"], group["count"]) for group in told["failures"]} == {
        ("550 5.1.1 no such user", 6),
        ("554 spam", 6),
    }
    assert "Why it failed for 12" in page
    for group in told["failures"]:
        assert f"{group['count']} the message {group['answer']}" in page
    assert told["leftOut"] == []
    assert (told["perMinute"], told["secondsLeft"]) == (0, None)


def test_page_says_that_a_campaign_was_for_nobody_and_why_one_waits(client: FlaskClient, any_db: Database) -> None:
    nobody = add_campaign(any_db, "nobody", state="completed")
    assert "Nobody was to receive it." in words(show(client, nobody))
    reason = "20 people would receive it, and its caller expects 150 to 250"
    paused = add_campaign(any_db, "paused", state="paused", reason=reason, finished_at=None)
    page = words(show(client, paused))
    assert reason in page
    assert "Nothing of it is sent until somebody resumes it." in page


@pytest.mark.parametrize(
    ("about", "advice"),
    [
        ("address", "Correct the address in the directory"),
        ("mailbox", "Try the failed again some days later"),
        ("message", "send a corrected one to those who have not had it"),
        ("sender", "SPF, DKIM, DMARC"),
        ("rate", "Lower the transport’s rate"),
        ("transport", "The way to the mail server is broken"),
    ],
)
def test_each_kind_of_failure_says_what_to_do(client: FlaskClient, any_db: Database, about: str, advice: str) -> None:
    campaign_id = add_campaign(any_db, state="completed_with_issues")
    with any_db.write() as connection:
        row = {"campaign_id": campaign_id, "status": "failed", "about": about, "answer": "550 why", "count": 7}
        connection.execute(insert(CampaignAnswer), [row])
    page = words(show(client, campaign_id))
    assert "7" in page
    assert "550 why" in page
    assert advice in page


def test_who_was_skipped_and_why_is_told_in_numbers(client: FlaskClient, any_db: Database) -> None:
    harness = Harness(any_db, batch_size=12, checkpoint=6, **LIMITS)
    harness.accept()
    harness.plan()
    claim = harness.outbox.claim()
    assert claim is not None
    items = harness.outbox.due_items(claim)
    with any_db.write() as connection:
        connection.execute(update(User).where(User.id >= "user00008").values(unsubscribed_at=START))
    harness.outbox.checkpoint(claim, [], items, len(items))
    page = words(show(client, harness.campaign_id))
    assert "Who was skipped, and why" in page
    assert "Unsubscribed. 4" in page
    assert ask(client, any_db, f"{harness.campaign_id}/report")["report"]["leftOut"] == [
        {"reason": "Unsubscribed.", "count": 4}
    ]


def test_who_was_left_out_from_the_start_is_counted(db: Database) -> None:
    """Each person once, by the first reason that there is."""
    harness = Harness(db, **LIMITS)
    with db.write() as connection:
        rows = [user_row(number) for number in range(30, 40)]
        rows[0] |= {"unsubscribed_at": 1, "active": False}
        rows[1] |= {"unsubscribed_at": 1}
        rows[2] |= {"email": None}
        rows[3] |= {"email": "bad@example.com"}
        connection.execute(insert(User), rows)
        refused = {"address": "bad@example.com", "campaigns": 1, "refused_at": 1, "suppressed_at": 1}
        refused |= {"reply": "", "campaign_ids": ""}
        connection.execute(insert(RefusedAddress), refused)
    harness.accept({"_id": {"$gte": "user00030"}})
    harness.run()
    counts = {"suppressed": 1, "deactivated": 1, "unsubscribed": 1, "no_address": 1}
    assert report(db, harness.progress()).from_the_start == counts
    assert harness.progress().planned == 6
    harness.accept(dry_run=True)
    harness.run()
    assert report(db, harness.progress()).from_the_start == {}


def test_left_out_from_the_start_is_shown_with_its_reasons(client: FlaskClient, any_db: Database) -> None:
    campaign_id = add_campaign(
        any_db, left_out={"suppressed": 2, "deactivated": 0, "unsubscribed": 71, "no_address": 1}
    )
    page = words(show(client, campaign_id))
    assert "Who was left out from the start, and why" in page
    assert "unsubscribed 71 address suppressed 2 no valid address 1" in page
    told = ask(client, any_db, f"{campaign_id}/report")["report"]["fromTheStart"]
    assert told == {"suppressed": 2, "deactivated": 0, "unsubscribed": 71, "noAddress": 1}
    nothing = add_campaign(any_db, campaign_id="other")
    assert "from the start" not in words(show(client, nothing))


def test_uncertain_is_explained_and_tried_again_only_when_asked_for(client: FlaskClient, any_db: Database) -> None:
    harness = Harness(any_db, uncertain="hold", **LIMITS)
    harness.store.answer("user00001@example.com", Status.UNCERTAIN)
    harness.store.answer("user00002@example.com", Status.REFUSED)
    harness.accept()
    harness.run()
    page = show(client, harness.campaign_id)
    assert "They may have it." in words(page)
    assert 'name="uncertain" value="yes"' in page
    assert post(client, f"/mailer/campaigns/{harness.campaign_id}/retry").status_code == 303
    assert harness.counts() == {"sent": 10, "uncertain": 1, "deferred": 1}
    assert post(client, f"/mailer/campaigns/{harness.campaign_id}/retry", uncertain="yes").status_code == 303
    assert harness.counts() == {"sent": 10, "deferred": 2}


@pytest.mark.parametrize(
    ("state", "advice"),
    [
        ("resting", "tried again by itself"),
        ("paused", "until somebody resumes it"),
        ("failed", "mend the cause and try the failed again"),
        ("completed_with_issues", "not everybody has it"),
    ],
)
def test_state_that_needs_somebody_says_what_to_do(
    client: FlaskClient, any_db: Database, state: str, advice: str
) -> None:
    campaign_id = add_campaign(any_db, state=state, reason="because of <b>this</b>", finished_at=None)
    page = show(client, campaign_id)
    assert advice in words(page)
    assert "because of &lt;b&gt;this&lt;/b&gt;" in page


def test_rate_and_time_left_are_shown_while_it_runs(client: FlaskClient, any_db: Database) -> None:
    harness = Harness(any_db, batch_size=4, checkpoint=4)
    harness.accept()
    harness.plan()
    harness.deliverer.run_next(lambda: False)
    client.application.extensions["mailer"].db.clock = any_db.clock
    assert "4 of 12 sent · 24 a minute · about 20 s left" in words(show(client, harness.campaign_id, "?now"))
    control.pause(any_db, harness.campaign_id)
    assert "left" not in words(show(client, harness.campaign_id, "?now")).partition("Outcomes by")[0]


def test_without_scripts_there_is_a_link_to_look_again_until_it_ends(client: FlaskClient, any_db: Database) -> None:
    campaign_id = add_campaign(any_db, state="running", finished_at=None)
    assert f'<noscript><a class="button quiet" href="../campaigns/{campaign_id}">Refresh</a>' in show(
        client, campaign_id
    )
    control.cancel(any_db, campaign_id)
    assert "Refresh" not in show(client, campaign_id)


# charts


def test_bars_add_up_and_are_few() -> None:
    counted = [(START + number * MINUTE, number) for number in range(1000)]
    drawn = bars(counted)
    assert drawn is not None
    assert len(drawn.heights) <= MOST_BARS
    assert sum(drawn.counts) == sum(range(1000))
    assert max(drawn.heights) == 100
    assert drawn.begins(2) == START + 2 * drawn.each * MINUTE
    assert bars([]) is None
    assert bars([(START, 5)]) is None


def test_charts_are_well_formed_and_say_what_they_show(client: FlaskClient, any_db: Database) -> None:
    campaign_id = add_campaign(any_db)
    with any_db.write() as connection:
        none = {"failed": 1, "deferred": 0, "uncertain": 0, "skipped": 0}
        minutes = [{"minute": START + n * MINUTE, "part": 0, "sent": n, **none} for n in range(5)]
        connection.execute(insert(CampaignMinute), [{"campaign_id": campaign_id, **row} for row in minutes])
        domains = [{"domain": f"<d{n}>&.example", "part": 0, "sent": n, **none} for n in range(3)]
        connection.execute(insert(CampaignDomain), [{"campaign_id": campaign_id, **row} for row in domains])
    page = show(client, campaign_id)
    (chart,) = [ET.fromstring(one) for one in re.findall(r"<svg class=\"chart\".*?</svg>", page, re.DOTALL)]
    named = chart.attrib["aria-labelledby"].split()
    assert [chart.find(f"*[@id='{one}']").text for one in named]  # type: ignore[union-attr]
    assert chart.attrib["role"] == "img"
    (drawn,) = re.findall(r"<ul class=\"domains\">.*?</ul>", page, re.DOTALL)
    bars_drawn = ET.fromstring(drawn)
    names = [one.text for one in bars_drawn.findall("li/span[1]")]
    assert names == ["<d2>&.example", "<d1>&.example", "<d0>&.example"]
    assert [one.text for one in bars_drawn.findall("li/span[2]")] == ["3", "2", "1"]
    for rect in bars_drawn.iter("rect"):
        assert 0 <= float(rect.attrib["x"]) + float(rect.attrib["width"]) <= 100.1
    assert page.count("<details id=") == 2  # the same numbers as tables


def test_parts_of_a_domains_bar_are_beside_each_other() -> None:
    (one, two) = domain_bars([DomainCounts("a" * 60, 5, 3, 1, 1, 0), DomainCounts("", 1, 0, 0, 0, 1)])
    assert [part.kind for part in one.segments] == ["sent", "failed", "waiting"]
    assert one.segments[1].x == pytest.approx(one.segments[0].x + one.segments[0].width, abs=0.02)
    assert (one.waiting, one.total, two.total) == (2, 10, 2)
    assert sum(part.width for part in one.segments) == pytest.approx(100)
    assert domain_bars([]) == ()


# what it said


def test_body_is_a_document_of_its_own_that_can_do_nothing(client: FlaskClient, any_db: Database) -> None:
    body = "<p onclick='x()'>Hi [name]</p><script>alert(1)</script><img src=https://example.org/p.png> [unsubscribe]"
    campaign_id = add_campaign(any_db, body=body, sender_name="Ann, the <Editor>")
    page = client.get(f"/mailer/campaigns/{campaign_id}")
    assert "frame-src 'self'" in page.headers["Content-Security-Policy"]
    assert re.search(rf'<iframe class="body" sandbox src="\.\./campaigns/{campaign_id}/body"', page.text)
    assert "alert(1)" not in page.text
    assert "&#34;Ann, the &lt;Editor&gt;&#34; &lt;news@example.com&gt;" in page.text

    frame = client.get(f"/mailer/campaigns/{campaign_id}/body")
    policy = frame.headers["Content-Security-Policy"].split("; ")
    assert {"sandbox", "default-src 'none'", "img-src data:", "frame-ancestors 'self'"} <= set(policy)
    assert not [one for one in policy if one.startswith("script-src")]
    assert frame.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert frame.headers["Cache-Control"] == "no-store"
    assert "Hi [fname] [lname]" in frame.text
    assert "/mailer/unsubscribe/" in frame.text

    as_text = client.get(f"/mailer/campaigns/{campaign_id}/text")
    assert as_text.mimetype == "text/plain"
    assert "Hi [fname] [lname]" in as_text.text


def test_api_has_what_it_said_as_it_can_be_posted_again(client: FlaskClient, any_db: Database) -> None:
    add_campaign(any_db)
    query = bounded(narrowed({"roles": "user"}, None, Earlier("earlier")), Bounds(1, 9))
    draft = Draft(
        'Ann "A", Lee', "news@example.com", "Hi", "Hello [unsubscribe]", query, False, "Desk", "d@example.com"
    )
    campaign_id = accept(any_db, "user00000", draft).campaign_id
    message = ask(client, any_db, f"{campaign_id}/message")["message"]
    assert message == {
        "from": '"Ann \\"A\\", Lee" <news@example.com>',
        "replyTo": "Desk <d@example.com>",
        "subject": "Hi",
        "body": "Hello [unsubscribe]",
        "query": {"roles": "user"},
        "dryrun": False,
        "to": None,
        "inlineCss": False,
        "minRecipients": 1,
        "maxRecipients": 9,
        "reached": None,
        "notReached": {"campaign": "earlier", "outcomes": ["sent", "uncertain"]},
    }
    control.cancel(any_db, campaign_id)
    headers = {"X-User-Id": "user00000", "X-Auth-Token": token_of(any_db, "user00000")}
    again = {name: value for name, value in message.items() if value is not None}
    answer = client.post("/api/v1/mailer", json={**again, "query": json.dumps(message["query"])}, headers=headers)
    assert answer.status_code == 200
    (_, same) = (ask(client, any_db, f"{one}/message") for one in (campaign_id, answer.headers["Location"][-23:]))
    assert same["message"] == message
    page = words(show(client, campaign_id))
    assert "Nobody who had earlier (sent, uncertain)" in page
    assert "At least so many people 1 At most so many 9" in page
    assert '{"roles": "user"}' in page


def test_purged_campaign_has_numbers_and_no_words(client: FlaskClient, any_db: Database) -> None:
    campaign_id = add_campaign(any_db, body="", subject="", sender="")
    page = show(client, campaign_id)
    assert "It was purged" in words(page)
    assert "<iframe" not in page
    assert "Mend and send again" not in page
    assert client.get(f"/mailer/campaigns/{campaign_id}/body").status_code == 404
    headers = {"X-User-Id": "user00000", "X-Auth-Token": token_of(any_db, "user00000")}
    assert client.get(f"/api/v1/mailer/campaigns/{campaign_id}/message", headers=headers).status_code == 404


@pytest.mark.parametrize("what", ["", "?now", "/body", "/text", "/export", "/outcomes"])
def test_campaigns_of_others_are_not_there(client: FlaskClient, any_db: Database, what: str) -> None:
    add_campaign(any_db, "theirs", caller_id="user00001")
    assert client.get(f"/mailer/campaigns/theirs{what}").status_code == 404
    fresh = client.application.test_client()
    assert fresh.get(f"/mailer/campaigns/theirs{what}").status_code == 303


@pytest.mark.parametrize("what", ["report", "message"])
def test_api_has_no_numbers_and_words_of_others(client: FlaskClient, any_db: Database, what: str) -> None:
    add_campaign(any_db, "theirs", caller_id="user00001")
    for permission, status in (("send-mail", 404), ("manage-campaigns", 200)):
        headers = {"X-User-Id": "user00000", "X-Auth-Token": token_of(any_db, "user00000", permission)}
        assert client.get(f"/api/v1/mailer/campaigns/theirs/{what}", headers=headers).status_code == status


# mend and send again


@pytest.mark.parametrize("state", list(CampaignState))
def test_stopped_campaign_leads_to_its_corrected_text_and_a_going_one_does_not(
    client: FlaskClient, any_db: Database, state: CampaignState
) -> None:
    campaign_id = add_campaign(any_db, state=state)
    stopped = state in ("paused", "cancelled", "failed", "completed", "completed_with_issues")
    page = html.unescape(show(client, campaign_id))
    assert (f'"../compose?from-campaign={campaign_id}&not-reached={campaign_id}"' in page) is stopped
    assert ("Pause it: then a corrected one can go" in page) is not stopped


@pytest.mark.parametrize("state", ["running", "paused", "cancelled"])
def test_who_may_not_send_is_not_led_to_where_one_does(client: FlaskClient, any_db: Database, state: str) -> None:
    sign_in(client, "user00001", token_of(any_db, "user00001", "manage-campaigns"))
    page = client.get(f"/mailer/campaigns/{add_campaign(any_db, state=state)}").text
    assert "compose" not in page
    assert ("/edit" in page) is (state == "paused")


def test_those_who_had_it_are_offered_when_there_are_some(client: FlaskClient, any_db: Database) -> None:
    harness = Harness(any_db)
    campaign_id = harness.accept()
    harness.plan()
    control.pause(any_db, campaign_id)
    link = f'"../compose?from-campaign={campaign_id}&reached={campaign_id}"'
    assert link not in html.unescape(show(client, campaign_id))
    control.resume(any_db, campaign_id)
    harness.run()
    assert link in html.unescape(show(client, campaign_id))
    dry_run = add_campaign(any_db, "dry", dry_run=True)
    assert "compose?" not in show(client, dry_run)


def test_campaign_that_another_follows_says_why_it_cannot_go_on(client: FlaskClient, any_db: Database) -> None:
    campaign_id = add_campaign(any_db, state="paused", finished_at=None)
    draft = Draft("", "news@example.com", "Hi", "[unsubscribe]", narrowed({}, None, Earlier(campaign_id)), False)
    follower = accept(any_db, "user00000", draft).campaign_id
    refused = post(client, f"/mailer/campaigns/{campaign_id}/resume")
    assert refused.status_code == 409
    assert f"Those who have not had it get the campaign {follower} instead" in words(refused.text)


# the list


def test_list_is_filtered_by_state_and_continued_within_it(client: FlaskClient, any_db: Database) -> None:
    for number in range(60):
        add_campaign(any_db, f"p{number:03}", state="paused", subject=f"Paused {number}.")
    for state in CampaignState:
        add_campaign(any_db, f"s-{state}", state=state, subject=f"Subject of {state}.")
    shown = {group: words(client.get(f"/mailer/?state={group}").text) for group in GROUPS}
    for state in CampaignState:
        found = {group for group, page in shown.items() if f"Subject of {state}." in page}
        assert found == {group for group, (_label, states) in GROUPS.items() if state in states}
        assert len(found) == 1
    first = html.unescape(client.get("/mailer/?state=paused").text)
    older = re.search(r'href="\./(\?before=[^"]+&state=paused)"', first)
    assert older is not None
    second = client.get(f"/mailer/{older[1]}").text
    assert len(re.findall(r"Paused \d+\.", first)) + len(re.findall(r"Paused \d+\.", second)) == 60
    assert 'aria-current="page">paused' in first
    assert "Subject of completed." in client.get("/mailer/?state=nonsense").text
    assert len(ask(client, any_db, "?state=paused&count=100")["campaigns"]) == 61


def test_state_without_a_campaign_says_so(client: FlaskClient) -> None:
    assert "No campaign is in this state. Show all" in words(client.get("/mailer/?state=issues").text)


@pytest.mark.parametrize("states", [(), ("paused",), ("completed_with_issues", "failed")])
@pytest.mark.ci
def test_page_of_ten_thousand_campaigns_reads_only_its_own(db: Database, states: tuple[CampaignState, ...]) -> None:
    def work(count: int) -> int:
        with db.write() as connection:
            row = {"sender_name": "", "sender": "n@example.com", "subject": "S", "body": "B", "query": {}, "fence": 1}
            row |= {"dry_run": False, "created_at": 1, "finished_at": 1, "due_at": 1}
            rows = [
                {**row, "id": f"{count}-{n:06d}", "caller_id": f"c{n % 5}"}
                | {"state": ["completed", "paused", "completed_with_issues"][n % 3]}
                for n in range(count)
            ]
            connection.execute(insert(Campaign), rows)
        steps = 0
        with db.read() as connection:
            if connection.dialect.name != "sqlite":
                connection.execute(text("ANALYZE campaigns"))
                plan = connection.scalars(
                    text("EXPLAIN SELECT id FROM campaigns WHERE id < 'x' ORDER BY id DESC LIMIT 51")
                )
                assert "Index" in "\n".join(plan)
                return 0
            driver = connection.connection.driver_connection

            def step() -> None:
                nonlocal steps
                steps += 1

            driver.set_progress_handler(step, 1000)  # type: ignore[union-attr]
        progress.page_before(db, "c1", 51, None, states=states)
        return steps

    work(500)
    assert work(10_000) <= 700  # thousands of steps of SQLite's machine; reading all campaigns would be more


# what people have written


def test_outcomes_are_downloaded_as_the_api_has_them(client: FlaskClient, any_db: Database) -> None:
    harness = Harness(any_db, **LIMITS)
    harness.store.answer("user00003@example.com", Status.REFUSED)
    harness.accept()
    harness.run()
    place = f"/mailer/campaigns/{harness.campaign_id}/export"
    for form, mimetype in (("csv", "text/csv"), ("ndjson", "application/x-ndjson")):
        for status in ("", "failed"):
            given = f"?format={form}" + (f"&status={status}" if status else "")
            mine = client.get(place + given)
            headers = {"X-User-Id": "user00000", "X-Auth-Token": token_of(any_db, "user00000")}
            theirs = client.get(f"/api/v1/mailer/campaigns/{harness.campaign_id}/export{given}", headers=headers)
            assert mine.data == theirs.data
            assert mine.mimetype == mimetype
            assert mine.headers["Content-Disposition"] == f'attachment; filename="outcomes.{form}"'
            assert mine.headers["Cache-Control"] == "no-store"
    rows = list(csv.DictReader(io.StringIO(client.get(place).text)))
    assert len(rows) == 12


class Elements(HTMLParser):
    """The elements and attributes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, tuple[str, ...]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, tuple(name for name, _ in attrs)))


NASTY = [
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></svg></text><script>alert(1)</script>",
    "]]><!--",
    "{{ 7*7 }} {% raw %} %(sent)s %s",
    "javascript:alert(1)",
    "</textarea></iframe><svg onload=alert(1)>",
    "\u202e\u2066 right to left",
    "&lt;b&gt; &#34; &amp;",
]


@pytest.mark.parametrize("nasty", NASTY)
def test_nothing_that_people_or_servers_write_becomes_an_element_or_an_attribute(
    client: FlaskClient, any_db: Database, nasty: str
) -> None:
    def filled(campaign_id: str, value: str) -> str:
        stored = {"subject": value, "sender_name": value, "sender": value, "reply_to": value, "reply_to_name": value}
        add_campaign(
            any_db, campaign_id, **stored, reason=value, state="paused", priority=value, query={value: {value: value}}
        )
        none = {"failed": 1, "deferred": 0, "uncertain": 0, "skipped": 1}
        with any_db.write() as connection:
            domain = {"campaign_id": campaign_id, "domain": value, "part": 0, "sent": 3, **none}
            connection.execute(insert(CampaignDomain), [domain])
            answers = [("failed", "address"), ("skipped", "")]
            same = {"campaign_id": campaign_id, "answer": value, "count": 2}
            connection.execute(insert(CampaignAnswer), [{**same, "status": s, "about": a} for s, a in answers])
        return show(client, campaign_id)

    plain, page = filled("plain", "harmless"), filled("nasty", nasty)
    assert Elements(page).seen == Elements(plain).seen
    assert "49" not in words(page)
    listed = client.get("/mailer/").text
    assert "<img" not in listed
    assert "alert(1)</script>" not in listed


PIECES = [
    "<",
    ">",
    '"',
    "'",
    "&",
    "=",
    "/",
    "`",
    "{{",
    "}}",
    "{%",
    "%}",
    "--",
    "]]>",
    "script",
    "svg",
    "onload",
    " ",
    "\n",
]


@pytest.mark.drill
def test_random_domains_and_answers_stay_text(client: FlaskClient, any_db: Database) -> None:
    chance = random.Random(7)

    def filled(campaign_id: str, values: list[str]) -> str:
        add_campaign(any_db, campaign_id, state="failed", reason=values[0], subject=values[1])
        none = {"part": 0, "sent": 1, "failed": 0, "deferred": 0, "uncertain": 0, "skipped": 0}
        with any_db.write() as connection:
            domains = [{"campaign_id": campaign_id, "domain": value, **none} for value in values[:20]]
            connection.execute(insert(CampaignDomain), domains)
            row = {"campaign_id": campaign_id, "status": "failed", "about": "message", "count": 1}
            connection.execute(insert(CampaignAnswer), [{**row, "answer": value} for value in values])
        return show(client, campaign_id)

    plain = Elements(filled("plain", [f"d{number:02}" for number in range(60)])).seen
    for turn in range(rounds(5, 200)):
        values = {"".join(chance.choices(PIECES, k=chance.randint(1, 12))) + str(number) for number in range(60)}
        assert Elements(filled(f"turn{turn}", sorted(values))).seen == plain


def test_user_id_with_markup_stays_text_where_outcomes_are(client: FlaskClient, any_db: Database) -> None:
    with any_db.write() as connection:
        connection.execute(insert(User), [user_row(99, id='"><script>alert(1)</script>', name="</td><script>")])
    harness = Harness(any_db)
    harness.accept()
    harness.run()
    page = show(client, harness.campaign_id, "/outcomes")
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_query_is_shown_with_its_letters(client: FlaskClient, any_db: Database) -> None:
    campaign_id = add_campaign(any_db, query={"customFields.department": {"$in": ["Öffentlichkeitsarbeit", "R&D <x>"]}})
    page = show(client, campaign_id)
    assert '{"customFields.department": {"$in": ["Öffentlichkeitsarbeit", "R&D <x>"]}}' in words(page)
    assert "R&amp;D &lt;x&gt;" in page
