"""What the pages refuse, such as a form that is too large, what they say of it, and what signing out ends."""

from __future__ import annotations

import io
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urljoin

import pytest
from flask.testing import FlaskClient

from app import create_app
from mailer.callers.tokens import PERMISSIONS
from mailer.pages.base import MAX_FORM_BYTES
from mailer.settings import Settings
from mailer.storage.database import Database
from tests.fake_workspace import FakeWorkspace
from tests.test_signed_in_pages import form_of, sign_in, token_of

FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def client(any_db: Database, add_users: Callable[..., list[str]]) -> FlaskClient:
    add_users(any_db, 1)
    settings = Settings(database_url=any_db.url, secret_key=("k" * 40,), transport="memory:", rate_limit="")
    return create_app(settings).test_client()


@pytest.mark.parametrize(
    ("path", "needed"),
    [
        ("compose", ("send-mail",)),
        ("people/", ("manage-users",)),
        ("readmit", ("manage-users",)),
        ("not-written-to", ("manage-users",)),
        ("mailbox/", ("send-mail", "manage-campaigns")),
        ("system", ("manage-campaigns", "view-audit-log")),
        ("system/settings", ("manage-campaigns",)),
        ("system/handing-over", ("manage-campaigns",)),
        ("system/credentials", ("manage-campaigns", "manage-users")),
        ("system/audit-log", ("view-audit-log",)),
    ],
)
@pytest.mark.parametrize("language", ["en", "de"])
def test_page_says_which_permission_is_missing(
    client: FlaskClient, any_db: Database, path: str, needed: tuple[str, ...], language: str
) -> None:
    others = [one for one in ("view-audit-log", "manage-users", "manage-campaigns") if one not in needed][:1]
    sign_in(client, "user00000", token_of(any_db, "user00000", *others))
    answer = client.get(f"/mailer/{path}", headers={"Accept-Language": language})
    assert answer.status_code == 403
    named = [one for one in PERMISSIONS if f"<code>{one}</code>" in answer.text]
    assert sorted(named) == sorted(needed)
    words = {"en": "It takes", "de": "Nötig ist"}
    assert words[language] in answer.text


def test_page_that_is_not_there_names_no_permission(client: FlaskClient, any_db: Database) -> None:
    sign_in(client, "user00000", token_of(any_db, "user00000"))
    assert "It takes" not in client.get("/mailer/campaigns/nothing").text


def seen(client: FlaskClient, place: str) -> tuple[int, str]:
    """The status and the text of a page below `/mailer/`, or of the one that it sends on to."""
    address = urljoin("/mailer/", place)
    answer = client.get(address)
    if answer.status_code == 303:
        answer = client.get(urljoin(address, answer.headers["Location"]))
    return answer.status_code, answer.text


def test_frame_has_links_only_to_what_one_may_see(client: FlaskClient, any_db: Database) -> None:
    for permission in PERMISSIONS:
        client.delete_cookie("mailer_session")
        begun = sign_in(client, "user00000", token_of(any_db, "user00000", permission))
        if begun.status_code != 303:
            continue  # it opens nothing on the pages
        page = seen(client, begun.headers["Location"] or "./")[1]
        frame = page.partition('<nav class="pages"')[2].partition("</nav>")[0]
        places = [part.partition('"')[0].lstrip("./") for part in frame.split('href="')[1:]]
        assert places or permission == "send-urgent-mail"
        for place in places:
            assert seen(client, place)[0] == 200, (permission, place)


@pytest.mark.parametrize("kind", [FORM, "multipart/form-data"])
@pytest.mark.parametrize("path", ["sign-in", "people/user00000/block", "system/hold", "readmit", "unsubscribe/x"])
def test_form_has_a_limit_of_its_own_however_it_is_encoded(
    client: FlaskClient, any_db: Database, kind: str, path: str
) -> None:
    sign_in(client, "user00000", token_of(any_db, "user00000", *PERMISSIONS))
    form = form_of(client.get("/mailer/sign-in").text) if path == "sign-in" else form_of(client.get("/mailer/").text)
    small = client.post(f"/mailer/{path}", data={"form": form, "note": "x" * 1000}, content_type=kind)
    assert small.status_code != 413
    large = client.post(f"/mailer/{path}", data={"form": form, "note": "x" * MAX_FORM_BYTES}, content_type=kind)
    assert large.status_code == (413 if path != "unsubscribe/x" else 404)
    assert large.mimetype == "text/html"


def test_form_in_chunks_has_the_same_limit(client: FlaskClient) -> None:
    form = form_of(client.get("/mailer/sign-in").text)
    for size, status in ((100, 401), (MAX_FORM_BYTES, 413)):
        answer = client.post(
            "/mailer/sign-in",
            input_stream=io.BytesIO(f"form={form}&user_id={'x' * size}&token=x".encode()),
            content_type=FORM,
            headers={"Transfer-Encoding": "chunked"},
            environ_overrides={"wsgi.input_terminated": True},
        )
        assert answer.status_code == status


def test_text_of_a_campaign_may_be_as_large_as_the_api_takes_it(client: FlaskClient, any_db: Database) -> None:
    sign_in(client, "user00000", token_of(any_db, "user00000"))
    page = seen(client, "compose")[1]
    draft = page.partition('data-draft="')[2].partition('"')[0]
    body = "[unsubscribe]" + "x" * (10 * MAX_FORM_BYTES)
    fields = {"form": form_of(page), "body": body, "version": "0", "do": "save"}
    saved = client.post(f"/mailer/compose/{draft}", data=fields, content_type="multipart/form-data")
    assert saved.status_code in (200, 303)
    assert body in client.get(f"/mailer/compose/{draft}").text


@pytest.fixture
def workspace(any_db: Database) -> Iterator[tuple[FakeWorkspace, FlaskClient]]:
    with FakeWorkspace() as fake:
        fake.passwords = {"ann": "correct horse"}
        settings = {"auth": "workspace", "workspace_url": fake.url, "secret_key": ("k" * 40,), "rate_limit": ""}
        yield fake, create_app(Settings(database_url=any_db.url, **settings)).test_client()


def by_password(client: FlaskClient) -> int:
    form = form_of(client.get("/mailer/sign-in").text)
    given = {"form": form, "user": "ann", "password": "correct horse"}
    return client.post("/mailer/sign-in", data=given).status_code


def sign_out(client: FlaskClient) -> int:
    return client.post("/mailer/sign-out", data={"form": form_of(client.get("/mailer/").text)}).status_code


def test_session_of_a_password_ends_in_the_workspace_too(workspace: tuple[FakeWorkspace, FlaskClient]) -> None:
    fake, client = workspace
    before = set(fake.tokens)
    assert by_password(client) == 303
    assert len(set(fake.tokens) - before) == 1
    cookie = client.get_cookie("mailer_session")
    assert cookie is not None
    assert sign_out(client) == 303
    assert set(fake.tokens) == before
    client.set_cookie("mailer_session", cookie.value)
    assert client.get("/mailer/").status_code == 303


def test_token_that_somebody_has_brought_stays_theirs(workspace: tuple[FakeWorkspace, FlaskClient]) -> None:
    fake, client = workspace
    fake.tokens["ann", "personal"] = {"roles": ["admin"], "active": True}
    assert sign_in(client, "ann", "personal").status_code == 303
    assert sign_out(client) == 303
    assert ("ann", "personal") in fake.tokens


def test_session_ends_here_while_the_workspace_is_away(workspace: tuple[FakeWorkspace, FlaskClient]) -> None:
    fake, client = workspace
    by_password(client)
    cookie = client.get_cookie("mailer_session")
    form = form_of(client.get("/mailer/").text)
    for answer in ((500, b"", {}), (429, {}, {}), (401, {"status": "error"}, {})):
        fake.before = lambda _number, answer=answer: answer
        assert client.post("/mailer/sign-out", data={"form": form}).status_code == 303
    fake.before = lambda _number: None
    assert cookie is not None
    client.set_cookie("mailer_session", cookie.value)
    assert client.get("/mailer/").status_code == 303


class WithoutRoles(FakeWorkspace):
    """Who logs in there may do nothing here."""

    def posted(self, path: str, headers: Any, body: Any) -> tuple[int, Any, dict[str, str]]:
        answer = super().posted(path, headers, body)
        for account in self.tokens.values():
            account["roles"] = []
        return answer


def test_password_that_opens_nothing_here_leaves_no_session_there(any_db: Database) -> None:
    with WithoutRoles() as fake:
        fake.passwords = {"ann": "correct horse"}
        settings = {"auth": "workspace", "workspace_url": fake.url, "secret_key": ("k" * 40,), "rate_limit": ""}
        client = create_app(Settings(database_url=any_db.url, **settings)).test_client()
        before = set(fake.tokens)
        assert by_password(client) == 403
        assert set(fake.tokens) == before


def test_cookie_says_that_its_token_is_ours_only_where_it_is(workspace: tuple[FakeWorkspace, FlaskClient]) -> None:
    fake, client = workspace
    by_password(client)
    kept = client.get_cookie("mailer_session")
    assert kept is not None
    assert b'"ours"' in urlsafe_b64decode(kept.value)
    fake.tokens["ann", "personal"] = {"roles": ["admin"], "active": True}
    sign_in(client, "ann", "personal")
    kept = client.get_cookie("mailer_session")
    assert kept is not None
    assert b'"ours"' not in urlsafe_b64decode(kept.value)


def test_form_of_a_campaign_names_the_permission_for_urgent_mail(client: FlaskClient, any_db: Database) -> None:
    sign_in(client, "user00000", token_of(any_db, "user00000"))
    place = urljoin("/mailer/", client.get("/mailer/compose").headers["Location"])
    given = {"from": "a@example.com", "subject": "-", "body": "[unsubscribe]", "priority": "urgent", "do": "send"}
    answer = client.post(place, data={**given, "form": form_of(client.get(place).text), "version": "0"})
    assert (answer.status_code, "send-urgent-mail" in answer.text) == (400, True)
