"""The pages of the mailbox: who sees what, which headers guard it, and that no message breaks out of its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from email.message import EmailMessage
from html import unescape
from itertools import count

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app import create_app
from mailer.audit.log import Act, entries
from mailer.callers.tokens import Tokens
from mailer.mailbox import reading
from mailer.mailbox.arriving import kept_in_mailbox
from mailer.mailbox.search import Search
from mailer.messages.template import delivery_id
from mailer.settings import Settings
from mailer.storage.database import Database
from tests.harness import Harness
from tests.test_mailbox import fill, letter, mixed
from transports.base import Message
from transports.memory import MemoryTransport

KEY = ("k" * 40,)
ALL = ("manage-campaigns",)
ROW = 'class="whom"'


@pytest.fixture
def harness(any_db: Database, add_users: Callable[..., list[str]]) -> Harness:
    """A campaign of user00000 for 60 people, delivered."""
    add_users(any_db, 60)
    made = Harness(any_db, kept_in_mailbox(any_db, MemoryTransport(), 10_000), batch_size=100)
    made.accept()
    made.run()
    return made


@pytest.fixture
def app(harness: Harness) -> Iterator[Flask]:
    made = create_app(Settings(harness.db.url, transport="memory:", secret_key=KEY, site_url="http://x", rate_limit=""))
    yield made
    made.extensions["mailer"].db.close()


def signed_in(app: Flask, user_id: str = "user00000", *permissions: str) -> tuple[FlaskClient, str]:
    """A browser in which somebody has signed in, and what its forms have to prove."""
    client = app.test_client()
    token = Tokens(app.extensions["mailer"].db).create(user_id, permissions or ("send-mail",))
    client.post("/mailer/sign-in", data={"user_id": user_id, "token": token, "form": form_of(client, "sign-in")})
    return client, form_of(client, "")


def form_of(client: FlaskClient, page: str) -> str:
    return client.get(f"/mailer/{page}").text.partition('name="form" value="')[2].partition('"')[0]


def newest(db: Database) -> reading.Listed:
    return reading.latest(db, None, Search())


def test_list_shows_fifty_and_leads_to_the_rest(app: Flask) -> None:
    client, _ = signed_in(app)
    page = client.get("/mailer/mailbox/").text
    assert page.count(ROW) == 50
    assert "<strong>60</strong> messages" in page
    older = unescape(page.partition('rel="next" href="')[2].partition('"')[0])
    assert client.get("/mailer/mailbox/", query_string=older.partition("?")[2]).text.count(ROW) == 10
    part = client.get("/mailer/mailbox/?now").text
    assert "<html" not in part
    assert part.count(ROW) == 50


def test_search_finds_and_says_what_it_does_not_understand(app: Flask) -> None:
    client, _ = signed_in(app)
    found = client.get("/mailer/mailbox/?q=to:user00007")
    assert found.text.count(ROW) == 1
    assert 'value="to:user00007"' in found.text
    assert "No message is like that" in client.get("/mailer/mailbox/?q=nothing-like-it").text
    refused = client.get("/mailer/mailbox/?q=after:x")
    assert refused.status_code == 400
    assert "is not followed by a date" in refused.text


def test_delivery_leads_to_its_message(app: Flask, harness: Harness) -> None:
    client, _ = signed_in(app)
    outcomes = client.get(f"/mailer/campaigns/{harness.campaign_id}/outcomes").text
    link = unescape(outcomes.partition("mailbox/?campaign=")[2].partition('"')[0])
    answer = client.get(f"/mailer/mailbox/?campaign={link}")
    assert answer.status_code == 303
    message = client.get(f"/mailer/mailbox/{answer.headers['Location'].rpartition('/')[2]}").text
    assert "user00000@example.com" in message
    assert "The message is not here" in client.get("/mailer/mailbox/?campaign=x&user=y").text
    assert client.get(f"/mailer/mailbox/?campaign={harness.campaign_id}").text.count(ROW) == 50


@pytest.mark.parametrize("view", ["html", "text", "source", "headers", "checks", "", "nonsense"])
def test_message_has_views(app: Flask, harness: Harness, view: str) -> None:
    client, _ = signed_in(app)
    page = client.get(f"/mailer/mailbox/{newest(harness.db).id}?view={view}")
    shown = {
        "text": "Hello Ann 59",
        "source": "List-Unsubscribe: ",
        "headers": "Message-ID",
        "checks": "is signed here",
    }
    assert page.status_code == 200
    assert shown.get(view, '<iframe class="letter"') in page.text
    assert newest(harness.db).read


def test_frame_may_do_nothing(app: Flask, harness: Harness) -> None:
    client, _ = signed_in(app)
    number = newest(harness.db).id
    page = client.get(f"/mailer/mailbox/{number}")
    assert 'sandbox="allow-popups allow-popups-to-escape-sandbox"' in page.text
    assert "frame-src 'self'" in page.headers["Content-Security-Policy"]
    frame = client.get(f"/mailer/mailbox/{number}/html")
    policy = frame.headers["Content-Security-Policy"].split("; ")
    assert policy[0] == "default-src 'none'"
    assert "img-src data:" in policy
    assert "sandbox allow-popups allow-popups-to-escape-sandbox" in policy
    assert "frame-ancestors 'self'" in policy
    assert not [one for one in policy if one.startswith(("script-src", "connect-src", "frame-src"))]
    assert frame.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert frame.headers["Referrer-Policy"] == "no-referrer"
    loading = client.get(f"/mailer/mailbox/{number}/html?images=1").headers["Content-Security-Policy"]
    assert "img-src data: https: http:" in loading.split("; ")


def test_files_are_kept_and_never_shown(app: Flask, harness: Harness) -> None:
    content = mixed()
    fill(harness.db, [Message(delivery_id("c2", "u"), "n@example.com", "a@example.com", content)])
    client, _ = signed_in(app, "user00001", *ALL)
    [one] = reading.page(harness.db, None, Search((reading.Kept.recipient == "a@example.com",)), 2)
    page = client.get(f"/mailer/mailbox/{one.id}").text
    assert "page.html" in page
    for part in ("1.2.2", "2", "3"):
        answer = client.get(f"/mailer/mailbox/{one.id}/parts/{part}")
        if answer.status_code == 404:
            continue
        assert answer.mimetype == "application/octet-stream"
        assert answer.headers["Content-Disposition"].startswith("attachment; filename=")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert client.get(f"/mailer/mailbox/{one.id}/parts/3").data == b"<script>alert(1)</script>\n"
    source = client.get(f"/mailer/mailbox/{one.id}/source")
    assert (source.mimetype, source.data) == ("message/rfc822", content)
    assert source.headers["Content-Disposition"] == f"attachment; filename={one.id}.eml"


def test_one_sees_the_messages_of_ones_own_campaigns(app: Flask, harness: Harness) -> None:
    number = newest(harness.db).id
    other, form = signed_in(app, "user00001")
    assert "No message yet" in other.get("/mailer/mailbox/").text
    for path in (f"{number}", f"{number}/html", f"{number}/source", f"{number}/parts/1"):
        assert other.get(f"/mailer/mailbox/{path}").status_code == 404
    assert other.post(f"/mailer/mailbox/{number}/delete", data={"form": form}).status_code == 404
    other.post("/mailer/mailbox/delete", data={"form": form})
    assert reading.count(harness.db, None) == 60
    assert signed_in(app, "user00001", *ALL)[0].get("/mailer/mailbox/").text.count(ROW) == 50


def test_nobody_sees_anything_without_signing_in(app: Flask, harness: Harness) -> None:
    client, number = app.test_client(), newest(harness.db).id
    for path in ("", f"{number}", f"{number}/html", f"{number}/source", f"{number}/parts/1"):
        assert client.get(f"/mailer/mailbox/{path}").headers["Location"].startswith(("../", "sign-in", "./"))
    client.post("/mailer/mailbox/delete")
    assert reading.count(harness.db, None) == 60
    wrong, _ = signed_in(app, "user00000", "manage-users")
    assert wrong.get("/mailer/mailbox/").status_code == 403


def test_messages_are_deleted_by_our_own_forms_alone(app: Flask, harness: Harness) -> None:
    client, form = signed_in(app)
    number = newest(harness.db).id
    for path in (f"{number}/delete", "delete"):
        assert client.post(f"/mailer/mailbox/{path}", data={"form": "x"}).status_code == 400
    assert reading.count(harness.db, None) == 60
    assert client.post(f"/mailer/mailbox/{number}/delete", data={"form": form}).status_code == 303
    client.post("/mailer/mailbox/delete", data={"form": form, "q": "to:user00007"})
    assert reading.count(harness.db, None) == 58
    client.post("/mailer/mailbox/delete", data={"form": form})
    assert reading.count(harness.db, None) == 0
    acts = entries(harness.db, act=Act.DELETE_MESSAGES)
    assert [(one.via, one.details) for one in acts] == [("page", {"messages": count}) for count in (58, 1, 1)]


HOSTILE = st.text("<>\"'&;/= abcäscripttonload%{}\u2028(){{}}", max_size=60)


LATER = count(1_800_000_000_000, 1000)  # one moment for each example: at the same one, ids may be the same


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(HOSTILE, min_size=4, max_size=4))
def test_no_message_breaks_out_of_the_page(app: Flask, harness: Harness, words: list[str]) -> None:
    name, subject, text, label = (word.replace("\u2028", " ") for word in words)
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "n@example.com", "a@example.com", f"<b id=broke>{subject}"
    made[f"X-{'x'}"] = f"<b id=broke>{name}"
    made.set_content(f"<b id=broke>{text}")
    made.add_alternative(f'<a href="https://x/&lt;b id=broke&gt;">&lt;b id=broke&gt;{label}</a>', subtype="html")
    fill(
        harness.db,
        [Message(delivery_id("c3", "u"), "n@example.com", "<b id=broke>@example.com", made.as_bytes())],
        at=next(LATER),
    )
    client, _ = signed_in(app, "user00001", *ALL)
    [one] = reading.page(harness.db, None, Search((reading.Kept.campaign_id == "c3",)), 1)
    pages = ["/mailer/mailbox/?campaign=c3", "/mailer/mailbox/?q=<b id=broke>"]
    pages += [f"/mailer/mailbox/{one.id}?view={view}" for view in ("html", "text", "source", "headers", "checks")]
    for page in pages:
        assert "<b id=broke" not in client.get(page).text
    reading.remove(harness.db, None, Search((reading.Kept.campaign_id == "c3",)))


def test_message_of_another_program_is_shown_as_far_as_it_goes(app: Flask, harness: Harness) -> None:
    fill(harness.db, [Message("no-campaign", "n@example.com", "a@example.com", b"\xff\xfe no header"), letter(1, "c4")])
    client, _ = signed_in(app, "user00001", *ALL)
    for one in reading.page(harness.db, None, Search(), 100)[-3:]:
        for view in ("html", "text", "source", "headers", "checks"):
            assert client.get(f"/mailer/mailbox/{one.id}?view={view}").status_code == 200
        assert client.get(f"/mailer/mailbox/{one.id}/html").status_code == 200
