"""What operators see, over HTTP and as pages: the service as it stands, its settings, and who has changed what."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask import Flask
from flask.testing import FlaskClient
from markupsafe import escape
from sqlalchemy import insert

from app import create_app
from mailer.audit.actor import Actor, Via, acting
from mailer.audit.log import Act, entries, record
from mailer.callers.tokens import PERMISSIONS, Tokens
from mailer.campaigns.hold import hold
from mailer.cli import main
from mailer.delivery import circuit_breaker
from mailer.operation.settings_in_force import settings_in_force
from mailer.settings import Settings
from mailer.settings.table import SECRET
from mailer.storage.database import Database
from mailer.storage.models import SeenWorker
from tests.test_signed_in_pages import form_of, sign_in

API = "/api/v1/mailer"
PASSWORDS = ("p4ssw0rd-of-the-relay", "p4ssw0rd-of-the-broker", "t0ken-of-the-workspace", "k3y" * 14)
SECRETS = {
    "secret_key": (PASSWORDS[3],),
    "transport": f"smtp://ann:{PASSWORDS[0]}@127.0.0.1:2525?starttls=false",
    "broker_url": f"amqp://ann:{PASSWORDS[1]}@127.0.0.1/mailer",
    "workspace_token": PASSWORDS[2],
}


@pytest.fixture
def app(db: Database, add_users: Callable[..., list[str]]) -> Iterator[Flask]:
    add_users(db, 3)
    made = create_app(Settings(database_url=db.url, **{**SECRETS, "rate_limit": "", "transport": "memory:"}))  # type: ignore[arg-type]
    yield made
    made.extensions["mailer"].db.close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def operator(client: FlaskClient, db: Database) -> FlaskClient:
    sign_in(client, "user00000", Tokens(db).create("user00000", PERMISSIONS))
    return client


def ask(app: Flask, db: Database, path: str, *permissions: str) -> Any:
    headers = {"X-User-Id": "user00000", "X-Auth-Token": Tokens(db).create("user00000", permissions)}
    return app.test_client().get(API + path, headers=headers)


@pytest.mark.parametrize("page", ["system", "system/events", "system/settings", "system/audit-log"])
def test_pages_are_for_operators(client: FlaskClient, db: Database, page: str) -> None:
    assert client.get(f"/mailer/{page}").status_code == 303
    sign_in(client, "user00000", Tokens(db).create("user00000", ["send-mail"]))
    refused = client.get(f"/mailer/{page}")
    assert refused.status_code == 403
    assert ">System</a>" not in refused.text
    for action in ("hold", "release"):
        form = form_of(client.get("/mailer/").text)
        assert client.post(f"/mailer/system/{action}", data={"form": form, "reason": "x"}).status_code == 403
    assert Act.HOLD_SENDING not in {one.act for one in entries(db)}


def test_each_sees_the_parts_that_the_permission_is_for(client: FlaskClient, db: Database) -> None:
    sign_in(client, "user00000", Tokens(db).create("user00000", ["view-audit-log"]))
    away = client.get("/mailer/system")
    assert (away.status_code, away.headers["Location"]) == (303, "system/audit-log")
    shown = client.get("/mailer/system/audit-log").text
    assert "create-token" in shown
    assert "system/settings" not in shown
    assert client.get("/mailer/system/settings").status_code == 403

    sign_in(client, "user00001", Tokens(db).create("user00001", ["manage-campaigns"]))
    assert "system/audit-log" not in client.get("/mailer/system").text
    assert client.get("/mailer/system/audit-log").status_code == 403


def test_state_of_the_service_is_shown_as_readyz_has_it(app: Flask, operator: FlaskClient, db: Database) -> None:
    calm = operator.get("/mailer/system").text
    assert "circuit breaker closed" in calm
    assert "No process has been seen" in calm
    with db.write() as connection:
        now = db.clock(connection)
        circuit_breaker.trip(connection, "<b>the relay</b> is away", now - 600_000, half_open=False)
        circuit_breaker.reserve(connection, now + 600_000)
        worker = {"host": "mail-1", "pid": 7, "engine": "celery", "role": "worker", "version": "9", "doing": "c1/3"}
        connection.execute(insert(SeenWorker).values(id="w", started_at=now, seen_at=now, **worker))
    shown = operator.get("/mailer/system").text
    ready = app.test_client().get("/readyz?strict=true").get_json()

    assert ready["transport"] == "<b>the relay</b> is away"
    assert "&lt;b&gt;the relay&lt;/b&gt; is away" in shown
    assert "<b>" not in shown
    assert "circuit breaker open" in shown
    assert "This needs a person" in shown
    assert "the transport has not worked for 10 minutes" in shown
    for word in ("mail-1:7", "alive", "c1/3", "worker (celery)"):
        assert word in shown
    for warning in ready["warnings"]:  # those of a part stand beside its name
        words = warning.partition(": ")[2] if warning.partition(": ")[0] in ready else warning
        assert escape(words) in shown


def test_status_over_http_is_what_the_command_prints(
    app: Flask, db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(db, "trouble")
    with db.write() as connection:
        circuit_breaker.trip(connection, "away", db.clock(connection), half_open=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAILER_DATABASE_URL", db.url)
    printed = json.loads(CliRunner().invoke(main, ["status", "--json"]).stdout)
    answer = ask(app, db, "/status", "manage-campaigns")
    assert answer.status_code == 200
    answered = answer.get_json()["status"]
    assert answered.pop("at") >= printed.pop("at")
    assert answered == printed
    assert ask(app, db, "/status", "send-mail", "view-audit-log", "manage-users").status_code == 403


def test_sending_is_held_and_released_with_a_banner_on_every_page(operator: FlaskClient, db: Database) -> None:
    form = form_of(operator.get("/mailer/system").text)
    for reason in ("", "  ", "two\nlines", "x" * 1001, "\x00"):
        refused = operator.post("/mailer/system/hold", data={"form": form, "reason": reason})
        assert refused.status_code == 422
        assert 'id="reason-wrong"' in refused.text
        assert "Release" not in refused.text
    assert operator.post("/mailer/system/hold", data={"form": "0" * 64, "reason": "x"}).status_code == 400
    assert "held" not in operator.get("/mailer/").text

    done = operator.post("/mailer/system/hold", data={"form": form, "reason": " the <relay> is moved "})
    assert (done.status_code, done.headers["Location"]) == (303, "../system")
    for path in ("", "system", "system/settings", "system/audit-log", "nowhere"):
        assert "the &lt;relay&gt; is moved" in operator.get(f"/mailer/{path}").text
    again = operator.post("/mailer/system/hold", data={"form": form, "reason": "another"})
    assert again.status_code == 303
    assert "another" not in operator.get("/mailer/").text, "a hold that is there stays"

    assert operator.post("/mailer/system/release", data={"form": form}).status_code == 303
    assert "is moved" not in operator.get("/mailer/").text
    acts = [(one.act, one.who, one.via) for one in entries(db)][:3]
    assert acts == [(act, "user00000", "page") for act in (Act.RELEASE_SENDING, Act.HOLD_SENDING, Act.HOLD_SENDING)]


def test_settings_are_shown_without_secrets_on_the_page_and_over_http(
    app: Flask, operator: FlaskClient, db: Database
) -> None:
    page = operator.get("/mailer/system/settings").text
    answer = ask(app, db, "/settings", "manage-campaigns")
    assert ask(app, db, "/settings", "send-mail", "view-audit-log", "manage-users").status_code == 403
    found = {one["name"]: one for one in answer.get_json()["settings"]}
    assert "amqp://127.0.0.1/mailer" in page
    assert found["MAILER_SECRET_KEY"]["value"] == "hidden"
    assert found["MAILER_SESSION_LIFETIME"] == {
        "name": "MAILER_SESSION_LIFETIME",
        "value": "12h",
        "origin": "default",
        "secret": False,
    }
    for secret in PASSWORDS:
        assert secret not in page
        assert secret not in answer.text
    for name in found:
        assert f"<code>{name}</code>" in page


@pytest.mark.parametrize("name", sorted(SECRET))
def test_no_secret_setting_shows_its_password(name: str) -> None:
    urls = {
        "database_url": "postgresql://ann:p4ss@db.example/mailer?password=p4ss",
        "listen_url": "postgresql://ann:p4ss@db.example/mailer",
        "transport": "failover:(smtp://ann:p4ss@a.example,webhook+https://hook.example/?token=p4ss)",
        "broker_url": "redis://:p4ss@redis.example/0",
        "workspace_token": "p4ss",
    }
    settings = Settings(**{name: ("p4ss" * 10,) if name == "secret_key" else urls.get(name, "p4ss")})  # type: ignore[arg-type]
    (shown,) = [one for one in settings_in_force(settings, {}) if one.name == f"MAILER_{name.upper()}"]
    assert shown.secret
    assert shown.value
    assert "p4ss" not in shown.value


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (
            "amqp://ann:p4ss@a.example;amqp://ann:p4ss@b.example/mailer?x=p4ss",
            "amqp://a.example;amqp://b.example/mailer",
        ),
        ("redis://ann:1/p4ss@redis.example/0", "redis://redis.example/0"),
        ("redis://:p@4/p4ss?p4ss#p4ss@redis.example:1/0?password=p4ss", "redis://redis.example:1/0"),
        ("redis://redis.example/0", "redis://redis.example/0"),
        ("", ""),
    ],
)
def test_broker_is_shown_without_what_lets_one_in_to_it(url: str, shown: str) -> None:
    """Celery takes several brokers in one setting; the password of the second was shown."""
    (found,) = [one for one in settings_in_force(Settings(broker_url=url), {}) if one.name == "MAILER_BROKER_URL"]
    assert found.value == shown


def test_page_says_where_each_setting_came_from(db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    key = tmp_path / "key"
    key.write_text("k" * 40)
    key.chmod(0o600)
    (tmp_path / ".env").write_text("MAILER_SITE_NAME=Below\nMAILER_WORKERS=2\n")
    for name, value in {"DATABASE_URL": db.url, "WORKERS": "3", "SECRET_KEY_FILE": str(key), "SITENAME": "x"}.items():
        monkeypatch.setenv(f"MAILER_{name}", value)
    app = create_app()
    answer = ask_created(app)
    found = {one["name"]: (one["value"], one["origin"]) for one in answer["settings"]}
    assert found["MAILER_SITE_NAME"] == ("Below", ".env")
    assert found["MAILER_WORKERS"] == ("3", "environment")
    assert found["MAILER_SECRET_KEY"] == ("hidden", "file")
    assert found["MAILER_PAGES"] == ("true", "default")
    assert any("MAILER_SITENAME: there is no such setting" in warning for warning in answer["warnings"])
    app.extensions["mailer"].db.close()


def ask_created(app: Flask) -> Any:
    db = app.extensions["mailer"].db
    token = Tokens(db).create_for_service("desk", ["manage-campaigns"])
    headers = {"X-User-Id": "service:desk", "X-Auth-Token": token}
    return app.test_client().get(f"{API}/settings", headers=headers).get_json()


def fill(db: Database, count: int) -> None:
    for number in range(count):
        with acting(Actor(f"who{number % 3}", Via.API, "192.0.2.7")), db.write() as connection:
            record(connection, number, Act.PUT_USER, f"about-{number}.", note="<img src=x>")


def test_audit_log_is_read_page_by_page_and_filtered(operator: FlaskClient, db: Database) -> None:
    fill(db, 205)
    path, seen, pages = "/mailer/system/audit-log?who=who1", [], 0
    while path:
        page = operator.get(path).text
        seen += re.findall(r"<td[^>]*>about-(\d+)\.</td>", page)
        more = re.search(r'rel="next" href="([^"]+)"', page)
        path = "/mailer/" + more[1].replace("../", "").replace("&amp;", "&") if more else ""
        pages += 1
    assert seen == [str(number) for number in range(204, -1, -1) if number % 3 == 1]
    assert pages == 1
    everything, path = [], "/mailer/system/audit-log?act=put-user"
    while path:
        page = operator.get(path).text
        everything += re.findall(r"<td[^>]*>about-(\d+)\.</td>", page)
        more = re.search(r'rel="next" href="([^"]+)"', page)
        path = "/mailer/" + more[1].replace("../", "").replace("&amp;", "&") if more else ""
    assert everything == [str(number) for number in range(204, -1, -1)]
    assert "<img" not in page
    assert re.findall(r"about-\d+\.", operator.get("/mailer/system/audit-log?about=about-7.").text) == ["about-7."] * 2
    assert "about-" not in operator.get("/mailer/system/audit-log?since=1970-01-02").text
    assert "Nothing matches" in operator.get("/mailer/system/audit-log?who=nobody").text
    assert "nothing older" in operator.get("/mailer/system/audit-log?before=1").text


@pytest.mark.parametrize(
    "query", ["since=yesterday", "since=0001-01-01", "act=nothing", "who=%00", "about=%00", "since=9999999999"]
)
def test_filter_that_cannot_be_says_which_field(operator: FlaskClient, query: str) -> None:
    answer = operator.get(f"/mailer/system/audit-log?{query}")
    assert answer.status_code == 422
    assert f'id="{query.partition("=")[0]}-wrong"' in answer.text


@pytest.mark.parametrize("before", ["x", "-1", "٣", "1" * 40, ""])
def test_strange_place_in_the_list_is_its_beginning(operator: FlaskClient, before: str) -> None:
    assert "create-token" in operator.get("/mailer/system/audit-log", query_string={"before": before}).text
