"""Looking before sending, over a real gunicorn: who would receive a campaign, and what they would read."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import func, select

from mailer.audience.preview import masked
from mailer.storage.models import Campaign, User
from tests.conftest import user_row
from tests.service import PAYLOAD, Service

pytestmark = pytest.mark.slow

MEMBERS = [
    user_row(1, id="ann"),
    user_row(2, id="bob", name="Bob <b> Lee"),
    user_row(3, id="cut", name="Has\nbreak"),
    user_row(4, id="deactivated", active=False),
    user_row(5, id="nowhere", email=None),
    user_row(6, id="unsubscribed", unsubscribed_at=1),
    *[user_row(number) for number in range(20)],
]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, module_database_url: str) -> Iterator[Service]:
    folder, url = tmp_path_factory.mktemp("audience"), module_database_url
    made = Service(
        folder, database_url=url, transport=f"file:{folder}/out", rate_limit="", allowed_senders="@example.com"
    )
    with made.db.write() as connection:
        connection.execute(User.__table__.insert(), MEMBERS)
    with made:
        yield made


@pytest.fixture
def headers(service: Service) -> dict[str, str]:
    return service.headers("ann")


def ask(service: Service, what: str, headers: dict[str, str], payload: Any) -> requests.Response:
    return requests.post(f"{service.url}/api/v1/mailer/{what}", json=payload, headers=headers, timeout=30)


def test_audience_is_counted_and_sampled_with_masked_addresses(service: Service, headers: dict[str, str]) -> None:
    answer = ask(service, "audience", headers, {})
    body = answer.json()
    assert (answer.status_code, body["success"], body["count"], len(body["sample"])) == (200, True, 23, 10)
    assert body["sample"][0] == {"userId": "ann", "name": "Ann 1", "address": "***@example.com"}
    assert body["sample"][3] == {"userId": "user00000", "name": "Ann 0", "address": "u***@example.com"}
    assert "user00000@" not in answer.text


def test_audience_is_who_then_receives_the_campaign(service: Service, headers: dict[str, str]) -> None:
    query = '{"_id": {"$in": ["bob", "user00007", "unsubscribed", "deactivated", "nowhere"]}}'
    counted = ask(service, "audience", headers, {"query": query}).json()["count"]
    campaign = service.finish(headers, service.post(headers, query=query))
    assert counted == campaign["planned"] == campaign["sent"] == 2


@pytest.mark.parametrize("query", ["", None, "{}"], ids=["empty", "null", "no condition"])
def test_absent_query_is_everyone(service: Service, headers: dict[str, str], query: str | None) -> None:
    assert ask(service, "audience", headers, {"query": query}).json()["count"] == 23


REFUSED = [
    ("audience", {"query": '{"$where": "1"}'}, 400, "error-invalid-query"),
    ("audience", {"query": {"roles": "user"}}, 400, "invalid-params"),
    ("audience", {"limit": 3}, 400, "invalid-params"),
    ("preview", {**PAYLOAD, "query": '{"services.password": 1}'}, 400, "error-invalid-query"),
    ("preview", {**PAYLOAD, "from": "news@elsewhere.example"}, 400, "error-invalid-from-address"),
    ("preview", {**PAYLOAD, "body": "no link"}, 400, "error-missing-unsubscribe-link"),
    ("preview", {**PAYLOAD, "dryrun": True}, 400, "invalid-params"),
    ("preview", {**PAYLOAD, "user": ""}, 400, "invalid-params"),
    ("preview", {**PAYLOAD, "user": "nobody"}, 404, "error-not-found"),
    ("preview", {**PAYLOAD, "user": "deactivated"}, 404, "error-not-found"),
    ("preview", {**PAYLOAD, "user": "nowhere"}, 404, "error-not-found"),
    ("preview", {**PAYLOAD, "query": '{"roles": "nobody"}'}, 404, "error-not-found"),
]


@pytest.mark.parametrize(("what", "payload", "status", "kind"), REFUSED)
def test_what_cannot_be_shown_is_refused(
    service: Service, headers: dict[str, str], what: str, payload: Any, status: int, kind: str
) -> None:
    answer = ask(service, what, headers, payload)
    assert (answer.status_code, answer.json()["errorType"]) == (status, kind)


@pytest.mark.parametrize("what", ["audience", "preview"])
def test_looking_needs_a_caller_who_may_send(service: Service, headers: dict[str, str], what: str) -> None:
    assert ask(service, what, {}, PAYLOAD).status_code == 401
    assert ask(service, what, service.headers("ann", "other"), PAYLOAD).status_code == 403


def test_preview_is_what_a_named_user_would_read(service: Service, headers: dict[str, str]) -> None:
    answer = ask(service, "preview", headers, {**PAYLOAD, "user": "bob"})
    body = answer.json()
    assert (body["userId"], body["subject"]) == ("bob", "Hi Bob")
    assert "<p>Hello Bob &lt;b&gt; Lee <a href=" in body["html"]
    assert body["text"].startswith("Hello Bob <b> Lee http")
    assert answer.headers["Vary"] == "Accept"


def test_preview_of_a_name_with_a_line_end_is_shown_in_one_line(service: Service, headers: dict[str, str]) -> None:
    answer = ask(service, "preview", headers, {**PAYLOAD, "user": "cut"})
    assert (answer.status_code, len(answer.json()["subject"].splitlines())) == (200, 1)


def test_preview_for_one_who_has_unsubscribed_is_shown(service: Service, headers: dict[str, str]) -> None:
    assert ask(service, "preview", headers, {**PAYLOAD, "user": "unsubscribed"}).status_code == 200


def test_preview_without_a_user_is_for_one_of_the_audience(service: Service, headers: dict[str, str]) -> None:
    payload = {**PAYLOAD, "query": '{"_id": {"$gte": "user00012"}}'}
    assert ask(service, "preview", headers, payload).json()["userId"] == "user00012"


def test_preview_as_message_is_a_message(service: Service, headers: dict[str, str]) -> None:
    accepting = {**headers, "Accept": "message/rfc822"}
    answer = ask(service, "preview", accepting, {**PAYLOAD, "user": "ann"})
    assert answer.headers["Content-Type"] == "message/rfc822"
    message = email.message_from_bytes(answer.content, _class=EmailMessage, policy=email.policy.default)
    assert (message["To"], message["Subject"]) == ("Ann 1 <ann@example.com>", "Hi Ann")
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]


def test_link_in_a_preview_unsubscribes_nobody(service: Service, headers: dict[str, str]) -> None:
    html = ask(service, "preview", headers, {**PAYLOAD, "user": "ann"}).json()["html"]
    link = html.split('href="')[1].partition('"')[0]
    assert link.startswith(f"{service.url}/mailer/unsubscribe/")
    assert "This was a preview" in requests.post(link, timeout=30).text
    with service.db.read() as connection:
        assert connection.scalar(select(User.unsubscribed_at).where(User.id == "ann")) is None


def test_shared_addresses_count_once_where_they_are_merged(tmp_path: Path) -> None:
    made = Service(tmp_path, transport="memory:", rate_limit="", merge_addresses="true")
    shared = [user_row(n, id=f"desk{n}", email=email) for n, email in enumerate(["desk@x.example", "DESK@x.example"])]
    with made.db.write() as connection:
        connection.execute(User.__table__.insert(), [*shared, user_row(9, id="ann")])
    with made as service:
        headers = service.headers("ann")
        counted = ask(service, "audience", headers, {}).json()
        campaign = service.finish(headers, service.post(headers))
    assert (counted["count"], len(counted["sample"])) == (2, 2)
    assert (campaign["planned"], campaign["sent"]) == (2, 2)


def test_looking_leaves_no_campaign(service: Service, headers: dict[str, str]) -> None:
    count = select(func.count()).select_from(Campaign)
    with service.db.read() as connection:
        before = connection.scalar(count)
    ask(service, "audience", headers, {})
    ask(service, "preview", headers, PAYLOAD)
    with service.db.read() as connection:
        assert connection.scalar(count) == before


MASKS = [
    ("ann@example.com", "***@example.com"),
    ("anna@example.com", "a***@example.com"),
    ("a@b", "***@b"),
    ("ünal@example.com", "ü***@example.com"),
]


@pytest.mark.parametrize(("address", "shown"), MASKS)
def test_mask_hides_all_but_the_first_of_a_longer_name(address: str, shown: str) -> None:
    assert masked(address) == shown
