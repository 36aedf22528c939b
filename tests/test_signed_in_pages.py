"""The pages behind a login: who is let in, whose campaigns they see and change, and what a form must prove."""

from __future__ import annotations

import html
import re
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, insert, select, text, update
from werkzeug.test import TestResponse

from app import create_app
from mailer.audit.log import Act
from mailer.callers.tokens import Tokens
from mailer.campaigns.accept import accept
from mailer.campaigns.draft import make_draft
from mailer.campaigns.planning import Planner
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.models import AuditEntry, AuthToken, Campaign, Delivery, PageSession, User
from tests.fake_workspace import FakeWorkspace

BODY = "<p>Hi [name] [unsubscribe]</p>"


@pytest.fixture
def app(any_db: Database, add_users: Callable[..., list[str]]) -> Flask:
    add_users(any_db, 3)
    return create_app(
        Settings(database_url=any_db.url, secret_key=("k" * 40,), site_name="Tom & <Jerry>", rate_limit="5/minute")
    )


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def token_of(db: Database, user_id: str, *permissions: str) -> str:
    return Tokens(db).create(user_id, permissions or ("send-mail",))


def form_of(page: str) -> str:
    found = re.search('name="form" value="([0-9a-f]{64})"', page)
    assert found is not None
    return found[1]


def sign_in(client: FlaskClient, user_id: str, token: str, **more: str) -> TestResponse:
    form = form_of(client.get("/mailer/sign-in").text)
    return client.post("/mailer/sign-in", data={"form": form, "user_id": user_id, "token": token, **more})


def post(client: FlaskClient, path: str, **more: str) -> TestResponse:
    return client.post(path, data={"form": form_of(client.get("/mailer/").text), **more})


def campaign(db: Database, caller: str = "user00000", subject: str = "Hello") -> str:
    draft = make_draft(Settings(), sender="news@example.com", subject=subject, body=BODY)
    return accept(db, caller, draft).campaign_id


def state(db: Database, campaign_id: str) -> str:
    with db.read() as connection:
        return str(connection.scalar(select(Campaign.state).where(Campaign.id == campaign_id)))


def sessions(db: Database) -> int:
    with db.read() as connection:
        return connection.scalar(select(func.count()).select_from(PageSession)) or 0


def test_pages_are_for_those_who_have_signed_in_and_come_back_to_what_was_asked_for(
    client: FlaskClient, any_db: Database
) -> None:
    wanted = f"/mailer/campaigns/{campaign(any_db)}"
    away = client.get(wanted)
    assert (away.status_code, away.headers["Location"]) == (303, f"../sign-in?next={wanted.removeprefix('/mailer/')}")
    assert "Hello" not in away.text

    form = client.get(f"/mailer/sign-in?next={wanted.removeprefix('/mailer/')}").text
    back = re.search('name="next" value="([^"]*)"', form)
    assert back is not None
    answer = sign_in(client, "user00000", token_of(any_db, "user00000"), next=back[1])

    assert (answer.status_code, answer.headers["Location"]) == (303, wanted.removeprefix("/mailer/"))
    assert "Hello" in client.get(wanted).text


def test_one_comes_back_to_what_was_asked_for_with_its_parameters(client: FlaskClient, any_db: Database) -> None:
    wanted = "compose?from-campaign=x1&not-reached=x1"
    away = client.get(f"/mailer/{wanted}")
    form = client.get(f"/mailer/{away.headers['Location']}").text
    back = re.search('name="next" value="([^"]*)"', form)
    assert back is not None
    answer = sign_in(client, "user00000", token_of(any_db, "user00000"), next=html.unescape(back[1]))
    assert answer.headers["Location"] == wanted


def test_request_without_the_cookie_ends_no_session(client: FlaskClient, any_db: Database) -> None:
    """As a link of another site comes, in a browser that sends no cookie with it."""
    elsewhere = client.application.test_client()
    assert "Set-Cookie" not in elsewhere.get("/mailer/").headers
    sign_in(client, "user00000", token_of(any_db, "user00000"))
    Tokens(any_db).revoke_all("user00000")
    assert "mailer_session=;" in client.get("/mailer/").headers["Set-Cookie"]


@pytest.mark.parametrize(
    "elsewhere", ["//evil.example", "https://evil.example", "/etc", "..", "a?b:c", "a:b", "\\evil"]
)
def test_nobody_is_sent_to_another_site_after_signing_in(client: FlaskClient, any_db: Database, elsewhere: str) -> None:
    answer = sign_in(client, "user00000", token_of(any_db, "user00000"), next=elsewhere)
    assert (answer.status_code, answer.headers["Location"]) == (303, "./")


def test_cookie_is_out_of_reach_of_scripts_and_other_sites_and_not_in_the_database(
    client: FlaskClient, any_db: Database
) -> None:
    token = token_of(any_db, "user00000")
    (cookie,) = sign_in(client, "user00000", token).headers.getlist("Set-Cookie")
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie
    with any_db.read() as connection:
        row = connection.execute(select(*PageSession.__table__.columns)).one()
    assert token not in str(row)
    assert row.digest not in cookie


def test_cookie_goes_over_https_only_where_the_site_does(any_db: Database) -> None:
    https = Settings(database_url=any_db.url, secret_key=("k" * 40,), site_url="https://mail.example.com")
    (cookie,) = create_app(https).test_client().get("/mailer/sign-in").headers.getlist("Set-Cookie")
    assert "; Secure" in cookie


WRONG = {
    "another token": ("user00000", "x" * 43),
    "another user": ("user00001", None),
    "nobody": ("", None),
    "no token": ("user00000", ""),
    "markup": ("<b>x</b>", "<script>"),
    "surrogate": ("\udc80", "\udc80"),
}


@pytest.mark.parametrize(("user_id", "token"), WRONG.values(), ids=WRONG)
def test_wrong_credentials_are_401_and_open_nothing(
    client: FlaskClient, any_db: Database, user_id: str, token: str | None
) -> None:
    good = token_of(any_db, "user00000")
    form = form_of(client.get("/mailer/sign-in").text)
    sent = {
        "form": form,
        "user_id": user_id.encode("utf-8", "surrogateescape"),
        "token": good if token is None else token,
    }
    sent["token"] = str(sent["token"]).encode("utf-8", "surrogateescape")
    answer = client.post("/mailer/sign-in", data=sent)

    assert answer.status_code == 401
    assert 'role="alert"' in answer.text
    assert "<script>" not in answer.text
    assert sessions(any_db) == 0
    assert client.get("/mailer/").status_code == 303


def test_tries_to_sign_in_have_the_rate_of_the_api(client: FlaskClient) -> None:
    codes = [sign_in(client, "user00000", "x").status_code for _ in range(7)]
    assert codes == [401] * 5 + [429] * 2
    assert "Too many tries" in sign_in(client, "user00000", "x").text


@pytest.mark.parametrize("cookie", ["", "x", "e30=", "WzFd", "WyJhIiwiYiIsImMiXQ==", "W1tdLHt9LDFd", "ü", "A" * 9000])
def test_cookie_of_somebody_elses_making_opens_nothing(client: FlaskClient, cookie: str) -> None:
    answer = client.get("/mailer/", headers={"Cookie": f"mailer_session={cookie}".encode().decode("latin-1")})
    assert answer.status_code == 303


def test_session_ends_with_its_token_its_user_and_its_time(client: FlaskClient, any_db: Database) -> None:
    token = token_of(any_db, "user00000")
    for end in (
        update(User).where(User.id == "user00000").values(active=False),
        update(PageSession).values(expires_at=1),
        update(AuthToken).values(expires_at=1),
    ):
        sign_in(client, "user00000", token)
        assert client.get("/mailer/").status_code == 200
        with any_db.write() as connection:
            connection.execute(end)
        assert client.get("/mailer/").status_code == 303
        with any_db.write() as connection:
            connection.execute(update(User).values(active=True))


def test_signing_out_ends_this_session_or_all(app: Flask, any_db: Database) -> None:
    token = token_of(any_db, "user00000")
    here, there, other = (app.test_client() for _ in range(3))
    for one in (here, there):
        sign_in(one, "user00000", token)
    sign_in(other, "user00001", token_of(any_db, "user00001"))

    kept = here.get_cookie("mailer_session")
    assert post(here, "/mailer/sign-out").status_code == 303
    assert here.get_cookie("mailer_session") is None
    assert kept is not None
    here.set_cookie("mailer_session", kept.value)
    assert here.get("/mailer/").status_code == 303
    assert there.get("/mailer/").status_code == 200

    sign_in(here, "user00000", token)
    post(here, "/mailer/sign-out", everywhere="1")
    assert there.get("/mailer/").status_code == 303
    assert other.get("/mailer/").status_code == 200


FOREIGN = {"none": "", "of another": "0" * 64, "not ASCII": "ü", "surrogate": b"\xff"}


@pytest.mark.parametrize("form", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("action", ["pause", "resume", "cancel", "retry"])
def test_form_that_is_not_ours_changes_nothing(
    client: FlaskClient, any_db: Database, form: str | bytes, action: str
) -> None:
    campaign_id = campaign(any_db)
    sign_in(client, "user00000", token_of(any_db, "user00000"))

    answer = client.post(f"/mailer/campaigns/{campaign_id}/{action}", data={"form": form})

    assert answer.status_code == 400
    assert answer.mimetype == "text/html"
    assert state(any_db, campaign_id) == "accepted"


def test_form_of_somebody_else_signs_nobody_in(client: FlaskClient, any_db: Database) -> None:
    sent = {"user_id": "user00000", "token": token_of(any_db, "user00000"), "form": "0" * 64}
    assert client.post("/mailer/sign-in", data=sent).status_code == 400
    client.get("/mailer/sign-in")
    assert client.post("/mailer/sign-in", data=sent).status_code == 400
    assert sessions(any_db) == 0


def test_session_of_the_pages_is_none_of_the_api(client: FlaskClient, any_db: Database) -> None:
    sign_in(client, "user00000", token_of(any_db, "user00000"))
    assert client.get("/api/v1/mailer/campaigns").status_code == 401


def test_campaigns_of_others_are_seen_and_changed_by_operators_alone(app: Flask, any_db: Database) -> None:
    theirs = campaign(any_db, "user00001", "Of somebody else")
    Planner(any_db, 10, 1000).plan_next()
    caller, operator = app.test_client(), app.test_client()
    sign_in(caller, "user00000", token_of(any_db, "user00000"))
    sign_in(operator, "user00002", token_of(any_db, "user00002", "manage-campaigns"))

    assert "Of somebody else" not in caller.get("/mailer/").text
    for path in (theirs, f"{theirs}/outcomes", "none"):
        assert caller.get(f"/mailer/campaigns/{path}").status_code == 404
    assert post(caller, f"/mailer/campaigns/{theirs}/pause").status_code == 404
    assert state(any_db, theirs) == "running"

    assert "Of somebody else" in operator.get("/mailer/").text
    assert post(operator, f"/mailer/campaigns/{theirs}/pause").status_code == 303
    assert state(any_db, theirs) == "paused"
    assert "paused by an operator" in operator.get(f"/mailer/campaigns/{theirs}").text
    with any_db.read() as connection:
        paused = select(AuditEntry.who, AuditEntry.via).where(AuditEntry.act == Act.PAUSE_CAMPAIGN)
        assert connection.execute(paused).one() == ("user00002", "page")


def test_token_without_a_permission_for_any_page_is_refused_at_the_form(client: FlaskClient, any_db: Database) -> None:
    answer = sign_in(client, "user00000", token_of(any_db, "user00000", "send-urgent-mail"))
    assert answer.status_code == 403
    assert "allow nothing here" in answer.text
    assert 'name="token"' in answer.text
    assert sessions(any_db) == 0


def test_token_that_may_see_other_pages_begins_there_and_signs_out(client: FlaskClient, any_db: Database) -> None:
    answer = sign_in(client, "user00000", token_of(any_db, "user00000", "view-audit-log"))
    assert (answer.status_code, answer.headers["Location"]) == (303, "system")
    assert client.get("/mailer/").headers["Location"] == "system"
    refused = client.get("/mailer/people/")
    assert refused.status_code == 403
    assert "Not for you" in refused.text
    out = client.post("/mailer/sign-out", data={"form": form_of(refused.text)})
    assert (out.status_code, out.headers["Location"]) == (303, "sign-in")
    assert sessions(any_db) == 0


def test_signing_out_needs_no_permission(client: FlaskClient, any_db: Database) -> None:
    sign_in(client, "user00000", token_of(any_db, "user00000"))
    form = form_of(client.get("/mailer/").text)
    with any_db.write() as connection:
        connection.execute(update(AuthToken).values(permissions=[]))
    assert client.get("/mailer/").status_code == 403
    assert client.post("/mailer/sign-out", data={"form": form}).status_code == 303
    assert sessions(any_db) == 0


def test_campaign_is_paused_resumed_and_cancelled(client: FlaskClient, any_db: Database) -> None:
    campaign_id = campaign(any_db)
    Planner(any_db, 10, 1000).plan_next()
    sign_in(client, "user00000", token_of(any_db, "user00000"))
    place = f"/mailer/campaigns/{campaign_id}"
    for action, then, offered in (
        ("pause", "paused", {"resume", "cancel"}),
        ("resume", "running", {"pause", "cancel"}),
        ("cancel", "cancelled", set()),
    ):
        answer = post(client, f"{place}/{action}")
        assert (answer.status_code, answer.headers["Location"]) == (303, f"../../campaigns/{campaign_id}")
        assert state(any_db, campaign_id) == then
        page = client.get(place).text
        assert set(re.findall(rf'action="\.\./campaigns/{campaign_id}/(\w+)"', page)) == offered
    too_late = post(client, f"{place}/pause")
    assert too_late.status_code == 409
    assert "The campaign is cancelled, so it cannot be paused." in too_late.text


def test_only_the_part_that_changes_is_fetched_anew(client: FlaskClient, any_db: Database) -> None:
    campaign_id = campaign(any_db)
    sign_in(client, "user00000", token_of(any_db, "user00000"))
    part = client.get(f"/mailer/campaigns/{campaign_id}?now").text
    assert part.lstrip().startswith('<div id="now">')
    post(client, f"/mailer/campaigns/{campaign_id}/cancel")
    assert '<div id="now" data-still>' in client.get(f"/mailer/campaigns/{campaign_id}?now").text


def test_list_goes_back_page_by_page(client: FlaskClient, any_db: Database) -> None:
    for number in range(53):
        campaign(any_db, subject=f"Number {number}.")
    sign_in(client, "user00000", token_of(any_db, "user00000"))
    first = client.get("/mailer/").text
    older = re.search(r'href="(\?before=[^"]+|\./\?before=[^"]+)"', first)
    assert older is not None
    second = client.get(f"/mailer/?before={older[1].rpartition('=')[2]}").text
    assert [len(re.findall(r"Number \d+\.", page)) for page in (first, second)] == [50, 3]
    assert "before=" not in second
    assert "There are no older campaigns" in client.get("/mailer/?before=0").text


NASTY = "\"><img src=x onerror=alert(1)> ' & {{ 7*7 }} </title><script>alert(1)</script>"


def test_what_people_have_written_stays_text(client: FlaskClient, any_db: Database) -> None:
    campaign_id = campaign(any_db, subject=NASTY)
    sign_in(client, "user00000", token_of(any_db, "user00000"))
    for path in ("", f"campaigns/{campaign_id}", f"campaigns/{campaign_id}/outcomes", "campaigns/%3Cscript%3E"):
        page = client.get(f"/mailer/{path}")
        assert "<img" not in page.text
        assert "alert(1)</script>" not in page.text
        assert "49" not in re.findall("<h1>(.*?)</h1>", page.text, re.DOTALL)[0]
        assert "Tom &amp; &lt;Jerry&gt;" in page.text
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


def test_errors_below_are_pages_and_those_elsewhere_are_not(client: FlaskClient) -> None:
    nothing = client.get("/mailer/nothing")
    assert (nothing.status_code, nothing.mimetype) == (404, "text/html")
    assert "There is nothing here" in nothing.text
    assert client.put("/mailer/sign-in").status_code == 405
    assert client.get("/api/v1/mailer/nothing").is_json
    assert "This link is not valid" in client.get("/mailer/unsubscribe/x").text


def test_too_many_tries_are_told_for_how_long_to_wait(client: FlaskClient) -> None:
    for _ in range(5):
        sign_in(client, "user00000", "x")
    answer = sign_in(client, "user00000", "x")
    assert answer.status_code == 429
    seconds = int(answer.headers["Retry-After"])
    assert 0 < seconds <= 60
    assert re.search(rf"Try again in ({seconds} seconds?|1 minute)\.", answer.text)


def test_form_that_is_too_large_is_a_page(client: FlaskClient) -> None:
    form = form_of(client.get("/mailer/sign-in").text)
    answer = client.post("/mailer/sign-in", data={"form": form, "user_id": "x" * 2_000_000})
    assert (answer.status_code, answer.mimetype) == (413, "text/html")
    assert "That is too large" in answer.text
    assert "xxxx" not in answer.text


def test_defect_and_a_database_that_is_away_are_pages_without_inner_words(
    app: Flask, client: FlaskClient, any_db: Database
) -> None:
    sign_in(client, "user00000", token_of(any_db, "user00000"))
    with any_db.write() as connection:
        connection.execute(text("ALTER TABLE campaigns RENAME TO gone"))
    app.config["PROPAGATE_EXCEPTIONS"] = False
    broken = client.get("/mailer/")
    assert broken.status_code in (500, 503)
    assert "user00000" in broken.text, "who has signed in keeps the menu"
    with any_db.write() as connection:
        connection.execute(text("ALTER TABLE page_sessions RENAME TO gone_too"))
    away = client.get("/mailer/")
    for page in (broken, away):
        assert page.mimetype == "text/html"
        assert "Nothing that was accepted is lost" in page.text
        for inner in ("SELECT", "campaigns RENAME", "no such table", "Traceback", "sqlalchemy"):
            assert inner not in page.text


def test_error_pages_have_the_frame_and_the_headers_of_pages(client: FlaskClient, any_db: Database) -> None:
    anonymous = client.get("/mailer/nothing")
    assert "To signing in" in anonymous.text
    assert "Sign out" not in anonymous.text
    sign_in(client, "user00000", token_of(any_db, "user00000"))
    known = client.get("/mailer/nothing")
    assert "To the first page" in known.text
    assert "Sign out everywhere" in known.text
    for page in (anonymous, known):
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        assert page.headers["X-Frame-Options"] == "DENY"
        assert page.headers["Cache-Control"] == "no-store"


def test_page_says_where_one_is(client: FlaskClient, any_db: Database) -> None:
    sign_in(client, "user00000", token_of(any_db, "user00000", "manage-campaigns"))
    campaign_id = campaign(any_db)
    for path, current in (("", "Campaigns"), (f"campaigns/{campaign_id}", "Campaigns"), ("system/settings", "System")):
        navigation = client.get(f"/mailer/{path}").text.partition('class="pages"')[2].partition("</nav>")[0]
        assert re.findall(r'aria-current="page">(\w+)</a>', navigation) == [current]


def test_first_page_is_small(client: FlaskClient, any_db: Database) -> None:
    for number in range(60):
        campaign(any_db, subject=f"A subject of the usual length, number {number}")
    sign_in(client, "user00000", token_of(any_db, "user00000", "manage-campaigns", "send-mail"))
    page = client.get("/mailer/")
    size = len(page.data)
    loaded = re.findall(r'(?:href|src)="(static/[^"]+)"', page.text)
    assert loaded
    for path in loaded:
        with client.get(f"/mailer/{path}") as part:
            assert part.status_code == 200
            size += len(part.data)
    assert size < 100_000


def test_pages_can_be_turned_off(any_db: Database) -> None:
    off = create_app(Settings(database_url=any_db.url, secret_key=("k" * 40,), pages=False)).test_client()
    assert off.get("/mailer/sign-in").is_json
    assert off.get("/mailer/").status_code == 404
    assert "This link is not valid" in off.get("/mailer/unsubscribe/x").text


def test_outcomes_are_listed_page_by_page_and_by_status(
    client: FlaskClient, any_db: Database, add_users: Callable[..., list[str]]
) -> None:
    campaign_id = campaign(any_db)
    with any_db.write() as connection:
        rows = [
            {"campaign_id": campaign_id, "user_id": f"user {number:03}", "address": "<a>@example.com", "attempts": 1}
            | {"status": "failed" if number < 3 else "sent", "reply": "550 5.1.1 <gone>", "uncertain_attempts": 0}
            | {"first_at": 1, "updated_at": 1, "due_at": 5 if number else None, "batch": 0}
            for number in range(103)
        ]
        connection.execute(insert(Delivery), rows)
    sign_in(client, "user00000", token_of(any_db, "user00000"))
    place = f"/mailer/campaigns/{campaign_id}/outcomes"

    first = client.get(place)
    assert first.status_code == 200
    assert first.text.count("<tr><th") == 101
    assert "&lt;gone&gt;" in first.text
    more = re.search(r'outcomes\?after=([^"]+)"', first.text)
    assert more is not None
    assert client.get(f"{place}?after={more[1]}").text.count("<tr><th") == 4
    failed = client.get(f"{place}?status=failed").text
    assert (failed.count("<tr><th"), failed.count("after=")) == (4, 0)
    assert client.get(f"{place}?status=nonsense").text.count("<tr><th") == 101
    assert "Nobody with the outcome" in client.get(f"{place}?status=deferred").text


@pytest.fixture
def workspace(any_db: Database) -> Iterator[tuple[FakeWorkspace, FlaskClient]]:
    with FakeWorkspace() as fake:
        fake.passwords = {"ann": "correct horse"}
        settings = {"auth": "workspace", "workspace_url": fake.url, "secret_key": ("k" * 40,), "rate_limit": ""}
        yield fake, create_app(Settings(database_url=any_db.url, **settings)).test_client()


def test_password_is_the_workspaces_and_is_kept_nowhere(
    workspace: tuple[FakeWorkspace, FlaskClient], any_db: Database
) -> None:
    _, client = workspace
    asked = client.get("/mailer/sign-in").text
    assert 'name="password"' in asked
    given = {"form": form_of(asked), "user": "ann", "password": "wrong"}

    refused = client.post("/mailer/sign-in", data=given)
    assert (refused.status_code, sessions(any_db)) == (401, 0)
    assert "The workspace does not let you in" in refused.text

    let_in = client.post("/mailer/sign-in", data={**given, "password": "correct horse"})
    assert let_in.status_code == 303
    assert b"correct horse" not in urlsafe_b64decode(client.get_cookie("mailer_session").value)  # type: ignore[union-attr]
    assert client.get("/mailer/").status_code == 200


def test_second_factor_is_asked_for_and_passed_on(workspace: tuple[FakeWorkspace, FlaskClient]) -> None:
    fake, client = workspace
    needed = {"success": False, "status": "error", "error": "totp-required", "message": "TOTP Required"}
    fake.before = lambda _number: (401, needed, {})
    given = {"form": form_of(client.get("/mailer/sign-in").text), "user": "ann", "password": "correct horse"}
    assert "asks for a code as well" in client.post("/mailer/sign-in", data=given).text
    fake.before = lambda _number: None
    client.post("/mailer/sign-in", data={**given, "code": "123456"})
    assert client.get("/mailer/").status_code == 200


@pytest.mark.parametrize("code", ["123 456", "aB3dE6gH", "١٢٣٤٥٦", "é"], ids=["app", "backup", "arabic", "latin"])
def test_every_kind_of_second_factor_lets_one_in(workspace: tuple[FakeWorkspace, FlaskClient], code: str) -> None:
    fake, client = workspace
    fake.codes["ann"] = code.replace(" ", "")
    given = {"form": form_of(client.get("/mailer/sign-in").text), "user": "ann", "password": "correct horse"}
    refused = client.post("/mailer/sign-in", data={**given, "code": "x\r\ny"})
    assert (refused.status_code, "does not take this code" in refused.text) == (401, True)
    assert client.post("/mailer/sign-in", data={**given, "code": code}).status_code == 303
    assert client.get("/mailer/").status_code == 200


def test_code_that_comes_by_mail_is_said_to_come(workspace: tuple[FakeWorkspace, FlaskClient]) -> None:
    fake, client = workspace
    needed = {"status": "error", "error": "totp-required", "details": {"method": "email", "codeGenerated": True}}
    fake.before = lambda _number: (401, needed, {})
    given = {"form": form_of(client.get("/mailer/sign-in").text), "user": "ann", "password": "correct horse"}
    assert "has sent you a code by e-mail" in client.post("/mailer/sign-in", data=given).text


def test_workspace_that_is_away_is_a_page(workspace: tuple[FakeWorkspace, FlaskClient]) -> None:
    fake, client = workspace
    form = form_of(client.get("/mailer/sign-in").text)
    fake.before = lambda _number: (500, b"", {})
    answer = client.post("/mailer/sign-in", data={"form": form, "user": "ann", "password": "x"})
    assert (answer.status_code, answer.mimetype) == (503, "text/html")
    assert "Not available at the moment" in answer.text
