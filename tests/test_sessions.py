"""login, me, logout and info over a real gunicorn: passed on to a workspace whatever it answers, and told to nobody."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from mailer.storage.models import User
from tests.conftest import user_row
from tests.fake_workspace import FakeWorkspace, slow_down
from tests.service import Service

pytestmark = pytest.mark.slow

PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, FakeWorkspace]]:
    with FakeWorkspace() as fake:
        fake.passwords = {"ann": PASSWORD}
        settings = {"auth": "workspace", "workspace_url": fake.url, "rate_limit": ""}
        with Service(tmp_path_factory.mktemp("sessions"), transport="memory:", **settings) as made:
            yield made, fake


@pytest.fixture
def service(running: tuple[Service, FakeWorkspace]) -> Service:
    running[1].before = lambda _number: None
    return running[0]


@pytest.fixture
def fake(running: tuple[Service, FakeWorkspace]) -> FakeWorkspace:
    return running[1]


def login(service: Service, **body: Any) -> requests.Response:
    return requests.post(f"{service.url}/api/v1/login", json=body, timeout=30)


def test_login_is_passed_on_and_its_cookie_is_not(service: Service) -> None:
    answer = login(service, user="ann", password=PASSWORD)
    assert (answer.status_code, answer.json()["data"]["userId"]) == (200, "ann")
    assert "Set-Cookie" not in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"


def test_login_may_be_a_form(service: Service) -> None:
    form = {"username": "ann", "password": PASSWORD}
    assert requests.post(f"{service.url}/api/v1/login", data=form, timeout=30).json()["status"] == "success"


def test_wrong_password_is_answered_as_the_workspace_does(service: Service) -> None:
    answer = login(service, user="ann", password="wrong")
    assert (answer.status_code, answer.json()["message"]) == (401, "Unauthorized")


@pytest.mark.parametrize("body", ["[]", "null", '"x"', "{", ""])
def test_login_that_is_no_object_is_not_passed_on(service: Service, fake: FakeWorkspace, body: str) -> None:
    asked = fake.requests
    kind = {"Content-Type": "application/json"}
    assert requests.post(f"{service.url}/api/v1/login", data=body, headers=kind, timeout=30).status_code == 400
    assert fake.requests == asked


UNAVAILABLE: dict[str, tuple[int, Any, dict[str, str]]] = {
    "error": (500, b"", {}),
    "redirect": (302, b"", {"Location": "/elsewhere"}),
    "no json": (200, b"<html>", {}),
    "list": (200, [], {}),
    "nested too deep": (200, b"[" * 100_000, {}),
    "too large": (200, b'"' + b"x" * 2_000_000 + b'"', {}),
    "cut short": (200, b"{", {"Content-Length": "100"}),
    "not found": (404, {}, {}),
}


@pytest.mark.parametrize("answer", UNAVAILABLE.values(), ids=UNAVAILABLE)
def test_workspace_that_answers_something_else_is_503(service: Service, fake: FakeWorkspace, answer) -> None:
    fake.before = lambda _number: answer
    refused = login(service, user="ann", password=PASSWORD)
    assert (refused.status_code, refused.json()["errorType"]) == (503, "error-workspace-unavailable")
    assert refused.headers["Retry-After"]


def test_limit_of_the_workspace_is_told(service: Service, fake: FakeWorkspace) -> None:
    fake.before = lambda _number: slow_down(30)
    refused = login(service, user="ann", password=PASSWORD)
    assert refused.status_code == 429
    assert 25 <= int(refused.headers["Retry-After"]) <= 31
    assert "You must wait" in refused.json()["error"]


def test_logged_out_token_is_not_valid_any_more(service: Service) -> None:
    data = login(service, user="ann", password=PASSWORD).json()["data"]
    headers = {"X-User-Id": data["userId"], "X-Auth-Token": data["authToken"]}
    assert service.get("/api/v1/mailer/campaigns", headers).status_code == 200
    assert requests.post(f"{service.url}/api/v1/logout", headers=headers, timeout=30).status_code == 200
    assert service.get("/api/v1/mailer/campaigns", headers).status_code == 401


def test_credentials_are_in_no_log(service: Service, fake: FakeWorkspace) -> None:
    fake.before = lambda number: (500, b"", {}) if number % 2 else None
    for password in (PASSWORD, "wrong-but-secret"):
        for _ in range(2):
            login(service, user="ann", password=password)
    written = service.output.read_text()
    assert PASSWORD not in written
    assert "wrong-but-secret" not in written


def test_logins_have_a_rate_of_their_own_and_tell_it(tmp_path) -> None:
    with FakeWorkspace() as fake:
        fake.passwords = {"ann": PASSWORD}
        settings = {"auth": "workspace", "workspace_url": fake.url, "rate_limit": "3/minute;100/hour"}
        with Service(tmp_path, transport="memory:", **settings) as service:
            answers = [login(service, user="ann", password="wrong") for _ in range(4)]
            assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
            assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["2", "1", "0", "0"]
            assert fake.requests == 3


def test_workspace_that_is_not_there_is_503(tmp_path) -> None:
    settings = {"auth": "workspace", "workspace_url": "http://127.0.0.1:9"}
    with Service(tmp_path, transport="memory:", **settings) as service:
        assert login(service, user="ann", password=PASSWORD).status_code == 503


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    made = Service(tmp_path_factory.mktemp("local"), transport="memory:", rate_limit="")
    with made.db.write() as connection:
        secret = {"document": {**user_row(0)["document"], "services": {"password": "x"}, "notes": "hidden"}}
        connection.execute(User.__table__.insert(), [user_row(0) | secret])
    with made:
        yield made


def test_local_me_shows_the_caller_and_no_more(local: Service) -> None:
    me = local.get("/api/v1/me", local.headers("user00000", "view-logs")).json()
    assert (me["_id"], me["email"], me["success"]) == ("user00000", "user00000@example.com", True)
    assert (me["roles"], me["createdAt"]) == (["user"], "2015-01-01T00:00:00.000Z")
    assert not {"services", "notes"} & set(me)


def test_local_login_is_a_401_that_says_how_tokens_are_made(local: Service) -> None:
    answer = login(local, user="user00000", password="x")
    body = answer.json()
    assert (answer.status_code, body["success"], body["status"]) == (401, False, "error")
    assert "mailer tokens create" in body["error"] == body["message"]


def test_local_logout_ends_this_token_and_no_other(local: Service) -> None:
    gone, kept = local.headers("user00000"), local.headers("user00000")
    answer = requests.post(f"{local.url}/api/v1/logout", headers=gone, timeout=30)
    assert (answer.status_code, answer.json()["status"]) == (200, "success")
    assert local.get("/api/v1/me", gone).status_code == 401
    assert local.get("/api/v1/me", kept).status_code == 200


@pytest.mark.parametrize("path", ["/api/v1/me", "/api/v1/logout"])
def test_stranger_is_401(local: Service, path: str) -> None:
    method = "POST" if path.endswith("logout") else "GET"
    assert requests.request(method, local.url + path, timeout=30).status_code == 401


@pytest.mark.parametrize("path", ["/api/v1/info", "/api/info"])
def test_info_tells_the_version_to_everybody(local: Service, path: str) -> None:
    from importlib.metadata import version

    assert local.get(path).json()["version"] == version("campaign-mailer")
