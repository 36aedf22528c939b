"""Rocket.Chat's own client libraries against a running service, whoever knows the callers."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailer.storage.models import User
from tests.conftest import user_row
from tests.fake_workspace import FakeWorkspace
from tests.service import PAYLOAD, Service

pytestmark = pytest.mark.slow

CLIENTS = Path(__file__).resolve().parent / "clients"
PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeWorkspace]:
    with FakeWorkspace() as workspace:
        workspace.passwords = {"ann": PASSWORD, "tess": PASSWORD}
        workspace.codes = {"tess": "123456"}
        yield workspace


def made(folder: Path, **settings: Any) -> Service:
    service = Service(folder, transport="memory:", rate_limit="1000/minute", repeat_window=120, **settings)
    with service.db.write() as connection:
        connection.execute(User.__table__.insert(), [user_row(0)])
    return service


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with made(tmp_path_factory.mktemp("local")) as service:
        yield service


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory, fake: FakeWorkspace) -> Iterator[Service]:
    with made(tmp_path_factory.mktemp("asking"), auth="workspace", workspace_url=fake.url) as service:
        yield service


def converse(service: Service, **wanted: str) -> dict[str, Any]:
    """What `@rocket.chat/api-client` heard."""
    if shutil.which("node") is None or not (CLIENTS / "node_modules").exists():
        pytest.skip("no node, or `npm install --prefix tests/clients` has not been run")
    asked = {"url": service.url, "payload": {**PAYLOAD, "dryrun": "true"}, **wanted}
    command = ["node", "rocketchat_client.mjs", json.dumps(asked)]
    done = subprocess.run(command, cwd=CLIENTS, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def assert_sent(heard: dict[str, Any], user_id: str) -> None:
    assert heard["info"]["success"] is True
    assert heard["me"]["_id"] == user_id
    assert heard["send"] == {"success": True}
    assert (heard["refused"]["refused"], heard["refused"]["limit"]) == (400, "1000")
    assert heard["refused"]["body"]["errorType"] == "error-invalid-from-address"
    assert heard["campaigns"]["total"] >= 1
    assert heard["logout"]["status"] == "success"
    assert heard["after"]["refused"] == 401
    assert heard["after"]["body"]["success"] is False


def test_javascript_client_sends_with_a_token_made_here(local: Service) -> None:
    headers = local.headers("user00000")
    heard = converse(local, userId="user00000", token=headers["X-Auth-Token"])
    assert_sent(heard, "user00000")
    assert heard["me"]["email"] == "user00000@example.com"


def test_javascript_client_is_told_how_tokens_are_made(local: Service) -> None:
    heard = converse(local, user="ann", password=PASSWORD)
    assert heard["login"]["refused"] == 401
    assert "mailer tokens create" in heard["login"]["body"]["message"]


def test_javascript_client_logs_in_at_the_workspace(asking: Service) -> None:
    assert_sent(converse(asking, user="ann", password=PASSWORD), "ann")


def test_javascript_client_logs_in_with_a_second_factor(asking: Service) -> None:
    assert_sent(converse(asking, user="tess", password=PASSWORD, code="123456"), "tess")
    refused = converse(asking, user="tess", password=PASSWORD)["login"]
    assert (refused["refused"], refused["body"]["errorType"]) == (400, "totp-required")


def rocketchat() -> Any:
    return pytest.importorskip("rocketchat_API.rocketchat", reason="rocketchat_API is not installed").RocketChat


def test_python_client_sends_with_a_token_made_here(local: Service) -> None:
    headers = local.headers("user00000")
    client = rocketchat()(user_id="user00000", auth_token=headers["X-Auth-Token"], server_url=local.url)
    assert client.info()["success"] is True
    assert client.me()["_id"] == "user00000"
    assert client.call_api_post("mailer", kwargs={**PAYLOAD, "dryrun": True}) == {"success": True}
    form = {"kwargs": {**PAYLOAD, "dryrun": "true"}, "use_json": False}
    assert client.call_api_post("mailer", **form) == {"success": True}
    assert client.logout()["status"] == "success"
    assert local.get("/api/v1/me", headers).status_code == 401


def test_python_client_is_told_that_it_cannot_log_in(local: Service) -> None:
    failure = pytest.importorskip("rocketchat_API.APIExceptions.RocketExceptions").RocketAuthenticationException
    with pytest.raises(failure):
        rocketchat()("ann", PASSWORD, server_url=local.url)


def test_python_client_logs_in_at_the_workspace(asking: Service) -> None:
    client = rocketchat()("ann", PASSWORD, server_url=asking.url)
    assert client.me()["username"] == "ann"
    assert client.call_api_post("mailer", kwargs={**PAYLOAD}) == {"success": True}
    assert client.logout()["status"] == "success"
    failure = pytest.importorskip("rocketchat_API.APIExceptions.RocketExceptions").RocketAuthenticationException
    with pytest.raises(failure):
        rocketchat()("ann", "wrong", server_url=asking.url)
