"""Callers of a workspace, over a real gunicorn and a real HTTP server; the minute by a clock that tests turn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from app import create_app
from mailer.callers.tokens import PERMISSIONS, Tokens
from mailer.callers.workspace_callers import MAX_REMEMBERED, REMEMBERED_SECONDS, WorkspaceCallers, permissions
from mailer.errors import ConfigError, NotLoggedIn, WorkspaceUnavailable
from mailer.settings import Settings
from mailer.storage.models import User
from mailer.workspace.client import Account
from tests.conftest import user_row
from tests.fake_workspace import LOGGED_OUT, FakeWorkspace, slow_down
from tests.service import Service

pytestmark = pytest.mark.slow

YOU_MUST = LOGGED_OUT["message"]
CAMPAIGNS, UNSUBSCRIBES = "/api/v1/mailer/campaigns", "/api/v1/mailer/unsubscribes"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, FakeWorkspace]]:
    with FakeWorkspace() as fake:
        settings = {"auth": "workspace", "workspace_url": fake.url, "send_roles": "news, press", "rate_limit": ""}
        made = Service(tmp_path_factory.mktemp("callers"), transport="memory:", **settings)
        with made.db.write() as connection:
            connection.execute(User.__table__.insert(), [user_row(0)])
        with made:
            yield made, fake


@pytest.fixture
def service(running: tuple[Service, FakeWorkspace]) -> Service:
    return running[0]


@pytest.fixture
def fake(running: tuple[Service, FakeWorkspace]) -> FakeWorkspace:
    workspace = running[1]
    workspace.before = lambda _number: None
    return workspace


def caller(fake: FakeWorkspace, name: str, *roles: str, active: bool = True) -> dict[str, str]:
    fake.tokens[name, f"{name}-token"] = {"roles": list(roles), "active": active}
    return {"X-User-Id": name, "X-Auth-Token": f"{name}-token"}


def test_caller_with_a_sending_role_sends(service: Service, fake: FakeWorkspace) -> None:
    headers = caller(fake, "sender", "user", "press")
    assert service.finish(headers, service.post(headers))["sent"] == 1


@pytest.mark.parametrize(
    ("roles", "sending", "managing"),
    [(["admin"], 200, 200), (["user", "news"], 200, 403), (["user"], 403, 403), ([], 403, 403)],
    ids=["admin", "sender", "user", "nobody"],
)
def test_role_decides(service: Service, fake: FakeWorkspace, roles: list[str], sending: int, managing: int) -> None:
    headers = caller(fake, f"role{len(roles)}{''.join(roles)}", *roles)
    assert service.get(CAMPAIGNS, headers).status_code == sending
    assert service.get(UNSUBSCRIBES, headers).status_code == managing


def test_caller_whom_the_workspace_does_not_know_is_401(service: Service, fake: FakeWorkspace) -> None:
    good = caller(fake, "known", "admin")
    for bad in ({**good, "X-Auth-Token": "wrong"}, {**good, "X-User-Id": "admin"}, {"X-User-Id": "known"}, {}):
        answer = service.get(CAMPAIGNS, bad)
        assert (answer.status_code, answer.json()) == (401, {**LOGGED_OUT, "success": False, "error": YOU_MUST})
    inactive = caller(fake, "inactive", "admin", active=False)
    assert service.get(CAMPAIGNS, inactive).status_code == 401


def test_token_made_here_is_not_valid(service: Service, fake: FakeWorkspace) -> None:
    headers = {"X-User-Id": "user00000", "X-Auth-Token": Tokens(service.db).create("user00000", ["send-mail"])}
    assert service.get(CAMPAIGNS, headers).status_code == 401


UNAVAILABLE: dict[str, tuple[int, Any, dict[str, str]]] = {
    "error": (500, b"", {}),
    "too many requests": slow_down(30),
    "redirect": (302, b"", {"Location": "/api/v1/other"}),
    "no json": (200, b"<html>", {}),
    "number too long": (200, b"9" * 5000, {}),
    "nested too deep": (200, b"[" * 100_000, {}),
    "other json": (200, [], {}),
    "no success": (200, {"_id": "down0", "active": True, "roles": ["admin"]}, {}),
    "no roles": (200, {"_id": "down0", "active": True, "success": True}, {}),
    "no id": (200, {"roles": ["admin"], "active": True, "success": True}, {}),
}


@pytest.mark.parametrize("answer", UNAVAILABLE.values(), ids=UNAVAILABLE)
def test_workspace_that_cannot_say_is_503_never_a_pass(service: Service, fake: FakeWorkspace, answer) -> None:
    headers = caller(fake, "down0", "admin")
    fake.before = lambda _number: answer
    refused = service.post(headers)
    assert (refused.status_code, refused.json()["errorType"]) == (503, "error-workspace-unavailable")
    assert refused.headers["Retry-After"]


def test_known_caller_gets_in_while_the_workspace_is_down(service: Service, fake: FakeWorkspace) -> None:
    headers = caller(fake, "early", "admin")
    assert service.get(CAMPAIGNS, headers).status_code == 200
    asked = fake.requests
    fake.before = lambda _number: (500, b"", {})
    assert service.get(CAMPAIGNS, headers).status_code == 200
    assert fake.requests == asked
    assert service.get(CAMPAIGNS, {**headers, "X-Auth-Token": "other"}).status_code == 503


def test_cookie_of_one_caller_does_not_go_along_with_another(service: Service, fake: FakeWorkspace) -> None:
    seen: list[Any] = []
    answer_before = fake.answer

    def answer(path: str, headers: Any) -> tuple[int, Any, dict[str, str]]:
        seen.append(headers.get("Cookie"))
        status, body, _ = answer_before(path, headers)
        return status, body, {"Set-Cookie": "rc_token=x; Path=/"}

    fake.answer = answer  # type: ignore[method-assign]
    try:
        for name in ("cookie1", "cookie2"):
            assert service.get(CAMPAIGNS, caller(fake, name, "admin")).status_code == 200
    finally:
        del fake.answer
    assert seen == [None, None]


class Asked:
    """Answers for a workspace and counts how often it was asked; None raises."""

    def __init__(self) -> None:
        self.count = 0
        self.now = 1000.0
        self.up = True
        self.callers = WorkspaceCallers("http://x", ["news"], ask=self, now=lambda: self.now)

    def __call__(self, _url: str, user_id: str, _token: str) -> Account | None:
        self.count += 1
        if not self.up:
            raise WorkspaceUnavailable
        user_id = "bob" if user_id == "impostor" else user_id
        return Account(user_id, active=True, roles=("news",)) if user_id != "stranger" else None


def test_caller_is_asked_about_again_after_a_minute() -> None:
    asked = Asked()
    asked.callers.authenticate("ann", "t")
    asked.now += REMEMBERED_SECONDS - 1
    asked.callers.authenticate("ann", "t")
    assert asked.count == 1
    asked.up = False
    asked.now += 1
    with pytest.raises(WorkspaceUnavailable):
        asked.callers.authenticate("ann", "t")


def test_token_of_somebody_else_is_refused() -> None:
    with pytest.raises(NotLoggedIn):
        Asked().callers.authenticate("impostor", "t")


def test_refusal_is_not_remembered() -> None:
    asked = Asked()
    for _ in range(2):
        with pytest.raises(NotLoggedIn):
            asked.callers.authenticate("stranger", "t")
    assert asked.count == 2


@pytest.mark.parametrize(("user_id", "token"), [("", "t"), ("a", ""), ("a\n", "t"), ("a", "t\r\nX: y"), ("ü", "t")])
def test_header_that_cannot_be_is_not_asked_about(user_id: str, token: str) -> None:
    asked = Asked()
    with pytest.raises(NotLoggedIn):
        asked.callers.authenticate(user_id, token)
    assert asked.count == 0


def test_memory_of_callers_is_bounded() -> None:
    asked = Asked()
    for number in range(MAX_REMEMBERED + 1):
        asked.callers.authenticate("ann", str(number))
    asked.callers.authenticate("ann", "0")
    assert asked.count == MAX_REMEMBERED + 2


def test_roles_give_permissions() -> None:
    assert permissions(["admin"], []) == set(PERMISSIONS)
    assert permissions(["user"], []) == frozenset()


def test_workspace_callers_need_a_workspace(tmp_path) -> None:
    settings = Settings(database_url=f"sqlite:///{tmp_path}/mailer.db", secret_key=("k" * 40,), auth="workspace")
    with pytest.raises(ConfigError, match="MAILER_WORKSPACE_URL"):
        create_app(settings)


def test_workspace_that_is_not_there_is_unavailable() -> None:
    callers = WorkspaceCallers("http://127.0.0.1:1", [])
    with pytest.raises(WorkspaceUnavailable) as refused:
        callers.authenticate("ann", "t")
    assert isinstance(refused.value.__cause__, requests.ConnectionError)


def test_service_is_known_here_and_the_workspace_is_not_asked_about_it(service: Service, fake: FakeWorkspace) -> None:
    asked = fake.requests
    token = Tokens(service.db).create_for_service("feed", ["send-mail"])
    headers = {"X-User-Id": "service:feed", "X-Auth-Token": token}
    assert service.finish(headers, service.post(headers))["callerId"] == "service:feed"
    assert service.get("/api/v1/me", headers).json()["_id"] == "service:feed"
    for wrong in ({"X-Auth-Token": "wrong"}, {"X-User-Id": "service:other"}):
        assert service.get(CAMPAIGNS, headers | wrong).status_code == 401
    assert requests.post(f"{service.url}/api/v1/logout", headers=headers, timeout=30).status_code == 200
    assert service.get(CAMPAIGNS, headers).status_code == 401
    assert fake.requests == asked


def test_token_made_here_for_a_user_is_not_taken_for_a_services(service: Service, fake: FakeWorkspace) -> None:
    with service.db.write() as connection:
        connection.execute(User.__table__.insert(), [user_row(1, id="service:old")])  # from before the rule
    headers = {"X-User-Id": "service:old", "X-Auth-Token": Tokens(service.db).create("service:old", ["send-mail"])}
    assert service.get(CAMPAIGNS, headers).status_code == 401
