"""Every row of the contract's table, over a real gunicorn; a refused request leaves no row and opens no socket."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

import pytest
import requests
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from sqlalchemy import func, select, update

from mailer.api.openapi import FORMS
from mailer.storage.database import Database
from mailer.storage.models import AuthToken, Campaign, User
from tests.conftest import altered, user_row
from tests.databases import migrated_sqlite
from tests.service import PAYLOAD, Service

pytestmark = pytest.mark.slow

INVALID_FROM = {
    "success": False,
    "error": "Invalid from address [error-invalid-from-address]",
    "errorType": "error-invalid-from-address",
    "details": {"function": "Mailer.sendMail"},
}
YOU_MUST = "You must be logged in to do this."
LOGGED_OUT = {"status": "error", "message": YOU_MUST, "success": False, "error": YOU_MUST}


class Listener:
    """A port that counts who connects, standing where the relay would."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            self.connections += 1
            connection.close()


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.server.shutdown(socket.SHUT_RDWR)
    made.server.close()


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, listener: Listener, module_database_url: str
) -> Iterator[Service]:
    made = Service(
        tmp_path_factory.mktemp("contract"),
        database_url=module_database_url,
        transport=f"smtp://127.0.0.1:{listener.port}",
        rate_limit="",
        allowed_senders="@example.com,test.test@test.com",
        max_body_bytes=20_000,
    )
    with made.db.write() as connection:
        connection.execute(User.__table__.insert(), [user_row(n) for n in range(3)])
    with made:
        yield made


@pytest.fixture
def headers(service: Service) -> dict[str, str]:
    return service.headers("user00000")


@pytest.fixture
def untouched(service: Service, listener: Listener) -> Iterator[None]:
    """The request under test must leave no campaign and open no connection to the relay."""
    assert campaigns(service.db) == 0, "what was accepted before sends meanwhile, so refusals are tested first"
    before = listener.connections
    yield
    assert (campaigns(service.db), listener.connections) == (0, before)


def campaigns(db: Database) -> int:
    with db.read() as connection:
        return connection.scalar(select(func.count()).select_from(Campaign)) or 0


def assert_envelope(answer: requests.Response, status: int, error_type: str) -> dict[str, object]:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"success", "error", "errorType", "details"}
    assert body["success"] is False
    assert body["errorType"] == error_type
    assert body["error"].endswith(f" [{error_type}]")
    return body


BAD_CREDENTIALS: dict[str, Callable[[dict[str, str]], dict[str, str]]] = {
    "none": lambda good: {},
    "no user id": lambda good: {"X-Auth-Token": good["X-Auth-Token"]},
    "no token": lambda good: {"X-User-Id": good["X-User-Id"]},
    "wrong token": lambda good: {**good, "X-Auth-Token": "x" * 43},
    "other user's id": lambda good: {**good, "X-User-Id": "user00001"},
    "empty": lambda good: {"X-User-Id": "", "X-Auth-Token": ""},
    "non-ascii": lambda good: {**good, "X-User-Id": "ü".encode("latin-1")},  # type: ignore[dict-item]
}


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("spoil", BAD_CREDENTIALS.values(), ids=BAD_CREDENTIALS)
def test_credentials_that_do_not_hold_are_401(service: Service, headers: dict[str, str], spoil) -> None:
    answer = service.post(spoil(headers))
    assert (answer.status_code, answer.json()) == (401, LOGGED_OUT)


@pytest.mark.usefixtures("untouched")
def test_expired_token_is_401(service: Service, headers: dict[str, str]) -> None:
    with service.db.write() as connection:
        connection.execute(update(AuthToken).values(expires_at=service.db.clock(connection) - 1))
    answer = service.post(headers)
    with service.db.write() as connection:
        connection.execute(update(AuthToken).values(expires_at=None))
    assert (answer.status_code, answer.json()) == (401, LOGGED_OUT)


@pytest.mark.usefixtures("untouched")
def test_deactivated_caller_is_401(service: Service) -> None:
    headers = service.headers("user00002")
    with service.db.write() as connection:
        connection.execute(update(User).where(User.id == "user00002").values(active=False))
    assert service.post(headers).status_code == 401


@pytest.mark.usefixtures("untouched")
def test_missing_permission_is_403_in_rocketchats_words(service: Service) -> None:
    answer = service.post(service.headers("user00000", "view-logs"), **{"from": "nonsense"})
    assert answer.status_code == 403
    error = "User does not have the permissions required for this action [error-unauthorized]"
    assert answer.json() == {"success": False, "error": error}


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("changes", [{}, {"dryrun": True}], ids=str)
def test_urgent_without_its_permission_is_403_and_nothing_is_accepted(service: Service, changes) -> None:
    answer = service.post(service.headers("user00000", "send-mail"), priority="urgent", **changes)
    assert answer.status_code == 403
    error = "User does not have the permissions required for this action [error-unauthorized]"
    assert answer.json() == {"success": False, "error": error}


INVALID_PARAMS = {
    "from missing": ({"from": None}, "from"),
    "subject missing": ({"subject": None}, "subject"),
    "subject empty": ({"subject": ""}, "subject"),
    "subject boolean": ({"subject": True}, "subject"),
    "subject with a line break": ({"subject": "a\r\nBcc: x@example.com"}, "subject"),
    "subject with a line separator": ({"subject": "a\u2028b"}, "subject"),
    "from list": ({"from": ["a@example.com"]}, "from"),
    "from with a line break": ({"from": "a@example.com\nBcc: b@example.com"}, "from"),
    "body object": ({"body": {}}, "body"),
    "dryrun word": ({"dryrun": "yes"}, "dryrun"),
    "dryrun another number": ({"dryrun": 2}, "dryrun"),
    "dryrun number in a string": ({"dryrun": "1"}, "dryrun"),
    "dryrun empty": ({"dryrun": ""}, "dryrun"),
    "dryrun list": ({"dryrun": [True]}, "dryrun"),
    "query object": ({"query": {"a": 1}}, "query"),
    "query empty object": ({"query": {}}, "query"),
    "query number": ({"query": 0}, "query"),
    "query boolean": ({"query": False}, "query"),
    "priority unknown": ({"priority": "high"}, "priority"),
    "priority number": ({"priority": 1}, "priority"),
    "unknown field": ({"cc": "x@example.com"}, "cc"),
}


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(("changes", "field"), INVALID_PARAMS.values(), ids=INVALID_PARAMS)
def test_bad_field_is_400_and_named(service: Service, headers: dict[str, str], changes, field: str) -> None:
    body = assert_envelope(service.post(headers, **changes), 400, "invalid-params")
    assert field in body["error"]
    assert body["details"]["field"] == field


RAW = {
    "no json": (b"from=a", "application/json", "body"),
    "no body": (b"", "application/json", "body"),
    "text": (b"from=a", "text/plain", "body"),
    "array": (b"[]", "application/json", "body"),
    "null": (b"null", "application/json", "body"),
    "not utf-8": (b'{"from": "\xff"}', "application/json", "body"),
    "nan": (b'{"from": NaN}', "application/json", "body"),
    "deep": (b"[" * 9000, "application/json", "body"),
    "number without end": (
        json.dumps(PAYLOAD).replace('"Hi [fname]"', "1e999").encode(),
        "application/json",
        "subject",
    ),
    "key twice": (b'{"subject": "a", "subject": "b"}', "application/json", "subject"),
    "lone surrogate": (json.dumps({**PAYLOAD, "body": "\ud800 [unsubscribe]"}).encode(), "application/json", "body"),
}


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(("data", "kind", "field"), RAW.values(), ids=RAW)
def test_body_that_is_no_request_is_400(service: Service, headers: dict[str, str], data, kind: str, field: str) -> None:
    answer = requests.post(
        f"{service.url}/api/v1/mailer", data=data, headers={**headers, "Content-Type": kind}, timeout=10
    )
    assert assert_envelope(answer, 400, "invalid-params")["details"]["field"] == field


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    "sender",
    ["", "nobody", "@example.com", "a@", "a b@example.com", "a@example.com, b@example.com", "eve@evil.example", "<>"],
)
def test_from_that_may_not_send_is_exactly_the_pages_example(service, headers: dict[str, str], sender: str) -> None:
    answer = service.post(headers, **{"from": sender})
    assert answer.status_code == 400
    assert answer.json() == INVALID_FROM
    assert list(answer.json()) == list(INVALID_FROM)  # in the page's order too


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("body", [None, "", "no link", "[Unsubscribe]", "[ unsubscribe ]"])
def test_body_without_link_is_refused(service: Service, headers: dict[str, str], body: str | None) -> None:
    error = assert_envelope(service.post(headers, body=body), 400, "error-missing-unsubscribe-link")["error"]
    assert error == "You must provide the [unsubscribe] link. [error-missing-unsubscribe-link]"


QUERIES = {
    "no json": ("{", ""),
    "array": ("[]", ""),
    "unknown operator": ('{"a": {"$foo": 1}}', "$foo"),
    "where": ('{"$where": "1"}', "$where"),
    "hidden in an array": ('{"$or": [{"a": 1}, {"b": {"$not": {"$expr": 1}}}]}', "$expr"),
    "forbidden field": ('{"services.password.bcrypt": {"$exists": true}}', "services"),
}


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(("query", "named"), QUERIES.values(), ids=QUERIES)
def test_query_that_is_no_selector_is_refused(
    service: Service, headers: dict[str, str], query: str, named: str
) -> None:
    assert named in assert_envelope(service.post(headers, query=query), 400, "error-invalid-query")["error"]


@pytest.mark.usefixtures("untouched")
def test_checks_come_in_the_contracts_order(service: Service, headers: dict[str, str]) -> None:
    bad = {"from": "nobody", "body": "no link", "query": "{"}
    assert service.post(headers, **bad, subject=None).json()["errorType"] == "invalid-params"
    assert service.post(headers, **bad).json()["errorType"] == "error-invalid-from-address"
    bad["from"] = PAYLOAD["from"]
    assert service.post(headers, **bad).json()["errorType"] == "error-missing-unsubscribe-link"
    bad["body"] = PAYLOAD["body"]
    assert service.post(headers, **bad).json()["errorType"] == "error-invalid-query"


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("chunked", [False, True])
def test_body_over_the_limit_is_413(service: Service, headers: dict[str, str], chunked: bool) -> None:
    data = json.dumps({**PAYLOAD, "body": "[unsubscribe]" + "x" * 30_000}).encode()
    sent = iter([data]) if chunked else data
    kind = {"Content-Type": "application/json"}
    answer = requests.post(f"{service.url}/api/v1/mailer", data=sent, headers={**headers, **kind}, timeout=10)
    assert_envelope(answer, 413, "error-body-too-large")


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [("GET", "/nowhere", 404, "error-not-found"), ("DELETE", "/api/v1/mailer", 405, "error-method-not-allowed")],
)
def test_unknown_paths_and_methods_answer_in_the_envelope(
    service, method: str, path: str, status: int, kind: str
) -> None:
    assert_envelope(requests.request(method, service.url + path, timeout=10), status, kind)


ACCEPTED = {
    "bare": {},
    "with a name": {"from": "News Desk <news@example.com>"},
    "dry run true": {"dryrun": True},
    "dry run string": {"dryrun": "TRUE"},
    "dry run string false": {"dryrun": "false"},
    "dry run number": {"dryrun": 1},
    "dry run number false": {"dryrun": 0},
    "subject number": {"subject": 2026},
    "query empty": {"query": ""},
    "query": {"query": '{"type": "user"}'},
}


@pytest.mark.parametrize("changes", ACCEPTED.values(), ids=ACCEPTED)
def test_good_request_is_200_and_on_record(service: Service, headers: dict[str, str], changes) -> None:
    answer = service.post(headers, **changes)
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    campaign = service.get(answer.headers["Location"], headers).json()["campaign"]
    assert campaign["dryrun"] is (str(changes.get("dryrun", False)).lower() in ("true", "1"))
    assert campaign["subject"] == str(changes.get("subject", PAYLOAD["subject"]))


@pytest.mark.parametrize("given", ["urgent", "normal", "bulk"])
def test_priority_is_kept_and_shown(service: Service, given: str) -> None:
    headers = service.headers("user00000", "send-mail", "send-urgent-mail")
    posted = service.post(headers, priority=given)
    assert service.get(posted.headers["Location"], headers).json()["campaign"]["priority"] == given


def test_nulls_count_as_absent(service: Service, headers: dict[str, str]) -> None:
    payload = {**PAYLOAD, "dryrun": None, "query": None}
    answer = requests.post(f"{service.url}/api/v1/mailer", json=payload, headers=headers, timeout=10)
    assert answer.json() == {"success": True}


def test_unsubscribe_marks_who_matches_and_tells_nothing(service: Service, headers: dict[str, str]) -> None:
    url = f"{service.url}/api/v1/mailer.unsubscribe"
    for created_at in ("1420070400999", 1420070400001):
        answer = requests.post(url, json={"_id": "user00001", "createdAt": created_at}, headers=headers, timeout=10)
        assert (answer.status_code, answer.json()) == (200, {"success": True})
        with service.db.read() as connection:
            mark = connection.scalar(select(User.unsubscribed_at).where(User.id == "user00001"))
        assert (mark is not None) is (created_at == 1420070400001)


def test_unsubscribe_asks_for_no_permission_but_for_a_login(service: Service) -> None:
    url, wish = f"{service.url}/api/v1/mailer.unsubscribe", {"_id": "user00001", "createdAt": "1"}
    anybody = service.headers("user00001", "manage-users")
    assert service.post(anybody).status_code == 403
    answer = requests.post(url, json=wish, headers=anybody, timeout=10)
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert requests.post(url, json=wish, timeout=10).json() == LOGGED_OUT


@pytest.mark.parametrize("payload", [{}, {"_id": "a"}, {"createdAt": "1"}, {"_id": True, "createdAt": 1}])
def test_unsubscribe_names_the_bad_field(service: Service, headers: dict[str, str], payload) -> None:
    answer = requests.post(f"{service.url}/api/v1/mailer.unsubscribe", json=payload, headers=headers, timeout=10)
    assert_envelope(answer, 400, "invalid-params")


def test_another_callers_campaign_is_404(service: Service, headers: dict[str, str]) -> None:
    location = service.post(headers).headers["Location"]
    stranger = service.headers("user00001")
    for path in (location, f"{location}/deliveries"):
        assert_envelope(service.get(path, stranger), 404, "error-not-found")
        assert service.get(path, headers).status_code == 200
    listed = service.get("/api/v1/mailer/campaigns", stranger).json()
    assert (listed["total"], listed["campaigns"]) == (0, [])


def test_campaigns_are_listed_newest_first_in_pages(service: Service, headers: dict[str, str]) -> None:
    ids = [service.post(headers).headers["Location"].rpartition("/")[2] for _ in range(3)]
    page = service.get("/api/v1/mailer/campaigns?count=2", headers).json()
    assert [campaign["_id"] for campaign in page["campaigns"]] == [ids[2], ids[1]]
    following = service.get("/api/v1/mailer/campaigns?count=2&offset=2", headers).json()
    assert following["campaigns"][0]["_id"] == ids[0]
    assert_envelope(service.get("/api/v1/mailer/campaigns?count=x", headers), 400, "invalid-params")


def test_rate_limit_holds_over_all_workers(tmp_path, add_users) -> None:
    made = Service(tmp_path, workers=3, rate_limit="5/minute", transport=f"file:{tmp_path}/mail")
    add_users(made.db, 2)
    with made as service:
        headers = service.headers("user00000")
        answers = [service.post(headers, dryrun=True) for _ in range(7)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
        assert campaigns(made.db) == 5
        assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == list("4321000")
        body = assert_envelope(answers[-1], 429, "error-too-many-requests")
        wait = int(answers[-1].headers["Retry-After"])
        assert 1 <= wait <= 60
        assert f"You must wait {wait} seconds before trying this endpoint again. [" in str(body["error"])
        assert body["details"] == {"timeToReset": wait * 1000}
        assert service.post(service.headers("user00001"), dryrun=True).status_code == 200
        failures = [service.post({}).status_code for _ in range(6)]
        assert failures == [401] * 5 + [429]


def test_every_answer_tells_of_the_tightest_rate(tmp_path, add_users) -> None:
    made = Service(tmp_path, rate_limit="50/minute;20/hour", transport="memory:", max_body_bytes=5_000)
    add_users(made.db, 2)
    with made as service:
        good, weak = service.headers("user00000"), service.headers("user00001", "view-logs")
        answers = [
            service.post(good),
            service.post(good, subject=None),
            service.post(good, body="[unsubscribe]" + "x" * 6_000),
            service.post(weak),
            service.post({}),
            requests.post(f"{service.url}/api/v1/mailer.unsubscribe", json={}, headers=good, timeout=10),
        ]
        assert [answer.status_code for answer in answers] == [200, 400, 413, 403, 401, 400]
        assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["19", "18", "17", "19", "19", "16"]
        assert {answer.headers["X-RateLimit-Limit"] for answer in answers} == {"20"}
        now = time.time() * 1000
        assert all(0 < int(answer.headers["X-RateLimit-Reset"]) - now <= 3_600_000 for answer in answers)


def test_unwritable_database_is_503_and_nothing_is_accepted(tmp_path, add_users) -> None:
    import sqlite3

    url = migrated_sqlite(tmp_path / "mailer.db")
    made = Service(tmp_path, database_url=url, transport=f"file:{tmp_path}/mail", rate_limit="")
    add_users(made.db, 1)
    with made as service:
        headers = service.headers("user00000")
        path = made.database_url.removeprefix("sqlite:///")
        with sqlite3.connect(path) as direct:
            direct.execute("DROP TABLE campaigns")
        answer = service.post(headers)
        assert_envelope(answer, 503, "error-database-unavailable")
        assert int(answer.headers["Retry-After"]) > 0


def test_postgresql_that_takes_no_writes_is_503_and_not_ready(tmp_path, add_users, postgresql_url: str) -> None:
    made = Service(tmp_path, database_url=postgresql_url, transport=f"file:{tmp_path}/mail", rate_limit="")
    add_users(made.db, 1)
    with made as service:
        headers = service.headers("user00000")
        assert service.get("/readyz").status_code == 200
        with altered(made.database_url, "SET default_transaction_read_only = on"):
            answers = [service.post(headers) for _ in range(2)]  # the first may meet a connection that was ended
            health = service.get("/readyz")
        for answer in answers:
            assert_envelope(answer, 503, "error-database-unavailable")
        assert int(answers[-1].headers["Retry-After"]) > 0
        assert (health.status_code, health.json()["database"]) == (503, "it does not answer, or takes no writes")
        assert campaigns(service.db) == 0
        assert service.post(headers).status_code == 200


def example_of(described: dict[str, Any]) -> Any:
    return described["content"]["application/json"]["example"]


def test_documentation_carries_the_page_and_needs_no_internet(service: Service) -> None:
    spec = service.get("/docs/openapi.json").json()
    operation = spec["paths"]["/api/v1/mailer"]["post"]
    assert operation["summary"] == "Send Mailer Endpoint"
    assert operation["operationId"] == "post-api-v1-mailer"
    assert operation["tags"] == ["Mailer"]
    answers = {"200", "400", "401", "403", "409", "413", "422", "429", "503", "default"}
    assert set(operation["responses"]) == answers
    rates = {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"}
    assert all(rates <= set(told["headers"]) for code, told in operation["responses"].items() if code != "default")
    assert "Idempotent-Replayed" in operation["responses"]["200"]["headers"]
    assert set(operation["requestBody"]["content"]) == {"application/json", *FORMS}
    examples = {code: example_of(operation["responses"][code]) for code in ("200", "400", "401")}
    assert examples == {"200": {"success": True}, "400": INVALID_FROM, "401": LOGGED_OUT}
    assert "Location" in operation["responses"]["200"]["headers"]
    required = {parameter["name"]: parameter.get("required", False) for parameter in operation["parameters"]}
    assert required == {"X-Auth-Token": True, "X-User-Id": True, "Idempotency-Key": False}
    assert example_of(operation["requestBody"])["from"] == "test.test@test.com"
    schema = spec["components"]["schemas"]["Mailer"]
    assert sorted(schema["required"]) == ["body", "from", "subject"]
    for name in ("dryrun", "inlineCss"):
        assert [kind["type"] for kind in schema["properties"].pop(name)["oneOf"]] == ["boolean", "string"]
    earlier = {"$ref": "#/components/schemas/Earlier"}
    assert all(schema["properties"].pop(name)["allOf"] == [earlier] for name in ("reached", "notReached"))
    texts = dict.fromkeys(("from", "subject", "body", "query", "replyTo", "priority"), "string")
    numbers = dict.fromkeys(("minRecipients", "maxRecipients"), "integer")
    assert {name: field["type"] for name, field in schema["properties"].items()} == texts | numbers | {"to": "array"}
    assert spec["info"]["title"] == "Mailer"
    assert spec["info"]["version"] == version("campaign-mailer")
    assert "mailer tokens create" in spec["info"]["description"]
    assert not [parameter for parameter in operation["parameters"] if "example" in parameter]
    page = service.get("/docs/").text
    assert "swagger-ui-bundle.js" in page
    assert "https://" not in page.replace("https://www.w3.org", "")


def test_documentation_page_renders_in_a_browser(service: Service, browser: webdriver.Chrome) -> None:
    browser.get(f"{service.url}/docs/")
    shown = WebDriverWait(browser, 20).until(lambda page: page.find_elements(By.CSS_SELECTOR, ".opblock-summary"))
    texts = [block.text.replace("\u200b", "") for block in shown]
    assert any("/api/v1/mailer" in text and "Send Mailer Endpoint" in text for text in texts)


def test_health_names_what_is_down(service: Service) -> None:
    assert service.get("/healthz").json() == {"status": "ok"}
    answer = service.get("/readyz")
    assert answer.status_code == 200
    body = answer.json()
    assert (body["status"], body["database"], body["engine"]) == ("ready", "ok", "ok")
    assert body["transport"] != "ok"
    assert f"transport: {body['transport']}" in body["warnings"]
    strict = service.get("/readyz?strict=true")
    assert (strict.status_code, strict.json()["status"]) == (503, "down")
    assert_envelope(service.get("/readyz?stric=true"), 400, "invalid-params")
