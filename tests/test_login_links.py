"""Links with which somebody signs in once: what uses them up, what ends the session, and whom they never let in."""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Barrier, Thread

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select, update
from werkzeug.test import TestResponse

from app import create_app
from mailer.audit.log import Act, entries
from mailer.callers import login_links
from mailer.callers.tokens import Tokens
from mailer.cli import main
from mailer.errors import NotFound
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.models import AuthToken, Base, LoginLink, PageSession, User
from tests.fake_workspace import FakeWorkspace
from tests.test_signed_in_pages import form_of

SITE = "https://mail.example.com/below"
MINUTES = 60_000


@pytest.fixture
def run(db: Database, add_users: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run `mailer` on a database with three users."""
    add_users(db, 3)
    monkeypatch.chdir(tmp_path)
    for name, value in {"DATABASE_URL": db.url, "SECRET_KEY": "k" * 40, "SITE_URL": SITE + "/"}.items():
        monkeypatch.setenv(f"MAILER_{name}", value)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["login-link", *arguments])

    return run


def app_for(db: Database, **settings: object) -> Flask:
    return create_app(Settings(database_url=db.url, secret_key=("k" * 40,), **{"rate_limit": "", **settings}))  # type: ignore[arg-type]


@pytest.fixture
def app(db: Database, run: object) -> Iterator[Flask]:
    made = app_for(db)
    yield made
    made.extensions["mailer"].db.close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def path_of(printed: Result) -> str:
    assert printed.exit_code == 0, printed.output
    return printed.output.strip().removeprefix(SITE)


def press(client: FlaskClient, path: str) -> TestResponse:
    return client.post(path, data={"form": form_of(client.get(path).text)})


def count(db: Database, table: type[Base]) -> int:
    with db.read() as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0


def test_link_shows_whom_it_lets_in_and_its_button_signs_in_once(run, client: FlaskClient, db: Database) -> None:
    path = path_of(run("--user", "user00001"))
    assert re.fullmatch(r"/mailer/sign-in/[A-Za-z0-9_-]{43}", path)
    for _ in range(3):  # as scanners and previews do
        page = client.get(path)
        assert (page.status_code, page.headers["Referrer-Policy"]) == (200, "no-referrer")
        assert "as user00001." in page.text
    assert client.head(path).status_code == 200
    assert count(db, PageSession) == count(db, AuthToken) == 0

    answer = press(client, path)

    assert (answer.status_code, answer.headers["Location"]) == (303, "../")
    assert "user00001" in client.get("/mailer/").text
    assert count(db, LoginLink) == 0
    again = client.get(path)
    assert again.status_code == 404
    assert "It has been used" in again.text
    form = form_of(client.get("/mailer/sign-in").text)
    assert client.post(path, data={"form": form}).status_code == 404
    assert count(db, PageSession) == 1


def test_of_two_who_press_at_once_one_gets_in(run, app: Flask, db: Database) -> None:
    path = path_of(run("--user", "user00001"))
    clients = [app.test_client() for _ in range(4)]
    forms = [form_of(client.get(path).text) for client in clients]
    barrier, codes = Barrier(len(clients)), []

    def press_now(client: FlaskClient, form: str) -> None:
        barrier.wait()
        codes.append(client.post(path, data={"form": form}).status_code)

    threads = [Thread(target=press_now, args=pair) for pair in zip(clients, forms, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [303, 404, 404, 404]
    assert count(db, PageSession) == count(db, AuthToken) == 1


def test_database_has_nothing_that_opens_the_link(run, client: FlaskClient, db: Database) -> None:
    path = path_of(run("--user", "user00001"))
    link = path.rpartition("/")[2]
    with db.read() as connection:
        stored = repr([connection.execute(select(table)).all() for table in Base.metadata.tables.values()])
    assert link not in stored
    with db.read() as connection:
        digest = connection.scalar(select(LoginLink.digest))
    assert client.get(f"/mailer/sign-in/{digest}").status_code == 404


def test_link_is_good_for_ten_minutes_or_as_long_as_asked(run, client: FlaskClient, db: Database) -> None:
    for arguments, lifetime in ((), 10 * MINUTES), (("--expires", "2h"), 120 * MINUTES):
        path = path_of(run("--user", "user00001", *arguments))
        with db.read() as connection:
            made, ends = connection.execute(select(LoginLink.created_at, LoginLink.expires_at)).one()
        assert ends - made == lifetime
        with db.write() as connection:
            connection.execute(update(LoginLink).values(expires_at=made))
        assert client.get(path).status_code == 404
        form = form_of(client.get("/mailer/sign-in").text)
        assert client.post(path, data={"form": form}).status_code == 404
        assert count(db, PageSession) == 0
    path_of(run("--user", "user00001"))
    assert count(db, LoginLink) == 1, "those that are over are forgotten"


@pytest.mark.parametrize("form", ["", "0" * 64])
def test_button_of_another_page_signs_nobody_in_and_leaves_the_link(
    run, client: FlaskClient, db: Database, form: str
) -> None:
    path = path_of(run("--user", "user00001"))
    client.get(path)
    assert client.post(path, data={"form": form}).status_code == 400
    assert client.get(path).status_code == 200
    assert count(db, PageSession) == 0


@pytest.mark.parametrize("link", ["x", "A" * 43, "%00", "%ED%B2%80", "<script>", "x" * 5000])
def test_link_of_nobody_is_not_valid(client: FlaskClient, link: str) -> None:
    answer = client.get(f"/mailer/sign-in/{link}")
    assert answer.status_code in (400, 404)
    assert "<script>" not in answer.text


def test_session_of_a_link_may_what_the_link_says(run, client: FlaskClient, db: Database) -> None:
    press(client, path_of(run("--user", "user00001", "--permission", "view-audit-log")))
    assert client.get("/mailer/").headers["Location"] == "system"
    assert client.get("/mailer/people/").status_code == 403
    (token,) = Tokens(db).list()
    assert (token.user_id, token.permissions) == ("user00001", ("view-audit-log",))
    assert token.expires_at is not None


def test_session_of_a_link_ends_with_its_token_its_user_and_by_signing_out(run, client: FlaskClient, db) -> None:
    press(client, path_of(run("--user", "user00001")))
    Tokens(db).revoke(Tokens(db).list()[0].digest)
    assert client.get("/mailer/").status_code == 303

    press(client, path_of(run("--user", "user00001")))
    assert client.get("/mailer/").status_code == 200
    with db.write() as connection:
        connection.execute(update(User).values(active=False))
    assert client.get("/mailer/").status_code == 303
    with db.write() as connection:
        connection.execute(update(User).values(active=True))
    Tokens(db).revoke("")

    press(client, path_of(run("--user", "user00001")))
    page = client.get("/mailer/").text
    assert client.post("/mailer/sign-out", data={"form": form_of(page)}).status_code == 303
    assert Tokens(db).list() == [], "the token was made for the session"


def test_signing_out_everywhere_takes_the_tokens_of_links_and_leaves_the_others(run, app: Flask, db: Database) -> None:
    kept = Tokens(db).create("user00001", ["send-mail"])
    here, there = app.test_client(), app.test_client()
    for client in (here, there):
        press(client, path_of(run("--user", "user00001")))
    form = form_of(here.get("/mailer/").text)
    here.post("/mailer/sign-out", data={"form": form, "everywhere": "1"})
    assert there.get("/mailer/").status_code == 303
    assert len(Tokens(db).list()) == 1
    assert Tokens(db).authenticate("user00001", kept).user_id == "user00001"


def test_tokens_of_sessions_that_are_over_go_with_them(run, client: FlaskClient, db: Database) -> None:
    press(client, path_of(run("--user", "user00001")))
    with db.write() as connection:
        connection.execute(update(PageSession).values(expires_at=1))
    press(client, path_of(run("--user", "user00002")))
    assert [one.user_id for one in Tokens(db).list()] == ["user00002"]


def test_link_and_its_use_are_on_record_without_the_secret(run, client: FlaskClient, db: Database) -> None:
    path = path_of(run("--user", "user00001", "--permission", "send-mail", "--permission", "manage-users"))
    press(client, path)
    used, made = entries(db)
    assert (made.act, made.via, made.about) == (Act.CREATE_LOGIN_LINK, "cli", "user00001")
    assert made.details["permissions"] == ["manage-users", "send-mail"]
    assert (used.act, used.via, used.who, used.about) == (Act.USE_LOGIN_LINK, "page", "user00001", "user00001")
    assert path.rpartition("/")[2] not in repr((used, made))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((), 2),
        (("--user", "nobody"), 1),
        (("--user", "user00002"), 1),
        (("--user", "user00001", "--expires", "30"), 2),
        (("--user", "user00001", "--expires", "25h"), 2),
        (("--user", "user00001", "--permission", "all"), 2),
    ],
)
def test_link_that_cannot_be_is_refused(run, db: Database, arguments: tuple[str, ...], code: int) -> None:
    with db.write() as connection:
        connection.execute(update(User).where(User.id == "user00002").values(active=False))
    result = run(*arguments)
    assert result.exit_code == code
    assert "Traceback" not in result.output
    assert count(db, LoginLink) == 0


def test_link_of_a_user_who_is_deactivated_meanwhile_lets_nobody_in(run, client: FlaskClient, db: Database) -> None:
    path = path_of(run("--user", "user00001"))
    form = form_of(client.get(path).text)
    with db.write() as connection:
        connection.execute(update(User).values(active=False))
    assert client.get(path).status_code == 404
    assert client.post(path, data={"form": form}).status_code == 404
    assert count(db, PageSession) == count(db, AuthToken) == 0
    with pytest.raises(NotFound):
        login_links.make(db, "user00001", ["send-mail"], 1000)


def test_link_needs_the_pages(run, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILER_PAGES", "false")
    result = run("--user", "user00001")
    assert result.exit_code == 2
    assert "MAILER_PAGES is false" in result.output
    assert count(db, LoginLink) == 0


def test_tries_have_the_rate_of_the_api(run, db: Database) -> None:
    app = app_for(db, rate_limit="2/minute")
    client = app.test_client()
    form = form_of(client.get("/mailer/sign-in").text)
    codes = [client.post("/mailer/sign-in/" + "x" * 43, data={"form": form}).status_code for _ in range(3)]
    assert codes == [404, 404, 429]
    app.extensions["mailer"].db.close()


def test_link_works_beside_a_workspace_and_its_token_is_none_of_the_api(run, db: Database) -> None:
    with FakeWorkspace() as fake:
        app = app_for(db, auth="workspace", workspace_url=fake.url)
        client = app.test_client()
        press(client, path_of(run("--user", "user00001")))
        assert client.get("/mailer/").status_code == 200
        cookie = client.get_cookie("mailer_session")
        assert cookie is not None
        _, user_id, token = json.loads(urlsafe_b64decode(cookie.value))
        headers = {"X-User-Id": user_id, "X-Auth-Token": token}
        assert client.get("/api/v1/mailer/campaigns", headers=headers).status_code == 401
        app.extensions["mailer"].db.close()
