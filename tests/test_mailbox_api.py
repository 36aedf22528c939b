"""The mailbox for programs: Mailpit's API, its own client library against it, and who is let in."""

from __future__ import annotations

import json
import shutil
import subprocess
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import insert

from app import create_app
from mailer.audit.log import Act, entries
from mailer.callers.tokens import Tokens
from mailer.mailbox.arriving import kept_in_mailbox
from mailer.messages.template import delivery_id
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.models import User
from tests.conftest import user_row
from tests.harness import Harness
from tests.service import Service
from tests.test_mailbox import fill, mixed
from transports.base import Message
from transports.memory import MemoryTransport

CLIENTS = Path(__file__).resolve().parent / "clients"
API = "/mailer/mailbox/api/v1"
KEY = ("k" * 40,)
Headers = dict[str, str]


@pytest.fixture
def app(db: Database, add_users: Callable[..., list[str]]) -> Iterator[Flask]:
    """A service after a campaign of user00000 for 5 people, and one of user00001 for one."""
    add_users(db, 5)
    harness = Harness(db, kept_in_mailbox(db, MemoryTransport(), 10_000))
    harness.accept()
    harness.run()
    with db.write() as connection:
        connection.exec_driver_sql("UPDATE campaigns SET caller_id = 'user00001', finished_at = 1")
    fill(db, [Message(delivery_id(harness.campaign_id, "user00003"), "n@example.com", "a@example.com", mixed_crlf())])
    with db.write() as connection:
        connection.exec_driver_sql("UPDATE campaigns SET caller_id = 'user00000'")
    made = create_app(Settings(db.url, transport="memory:", secret_key=KEY, site_url="http://x", rate_limit="5/minute"))
    yield made
    made.extensions["mailer"].db.close()


def mixed_crlf() -> bytes:
    return mixed().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def caller(app: Flask, user_id: str = "user00000", *permissions: str) -> Headers:
    token = Tokens(app.extensions["mailer"].db).create(user_id, permissions or ("send-mail",))
    return {"X-User-Id": user_id, "X-Auth-Token": token}


def basic(headers: Headers) -> Headers:
    both = f"{headers['X-User-Id']}:{headers['X-Auth-Token']}"
    return {"Authorization": f"Basic {b64encode(both.encode()).decode()}"}


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def get(client: FlaskClient, path: str, headers: Headers, **query: object) -> Any:
    answer = client.get(API + path, headers=headers, query_string=query)
    assert answer.status_code == 200, answer.text
    return answer.json if answer.is_json else answer


def test_list_has_mailpits_fields(app: Flask, client: FlaskClient) -> None:
    found = get(client, "/messages", caller(app), limit=2, start=1)

    assert {name: value for name, value in found.items() if name != "messages"} == {
        "total": 5,
        "unread": 5,
        "count": 2,
        "messages_count": 5,
        "messages_unread": 5,
        "start": 1,
        "tags": [],
    }
    newest = found["messages"][0]
    assert newest["To"] == [{"Name": "Ann 3", "Address": "user00003@example.com"}]
    assert newest["From"] == {"Name": "News", "Address": "news@example.com"}
    assert newest["Subject"] == "Hi Ann"
    assert newest["Snippet"].startswith("Hello Ann 3 http://x/mailer/unsubscribe/")
    assert (newest["Read"], newest["Attachments"]) == (False, 0)
    assert newest["Created"].endswith("Z")


def test_message_is_told_whole_and_read_then(app: Flask, client: FlaskClient) -> None:
    headers = caller(app)
    [listed] = get(client, "/search", headers, query="to:user00002")["messages"]

    message = get(client, f"/message/{listed['ID']}", headers)

    assert message["MessageID"] == listed["MessageID"]
    assert message["MessageID"].endswith("@example.com")
    assert message["Text"].startswith("Hello Ann 2")
    assert '<a href="http://x/mailer/unsubscribe/' in message["HTML"]
    assert message["ListUnsubscribe"]["Links"][0].startswith("http://x/mailer/unsubscribe/")
    assert message["ListUnsubscribe"]["Errors"] == ""
    assert message["Size"] == listed["Size"]
    assert message["Date"].startswith("2023-11-14T22:13:20")
    assert get(client, "/messages", headers)["unread"] == 4
    fields = get(client, f"/message/{listed['ID']}/headers", headers)
    assert fields["Subject"] == ["Hi Ann"]
    raw = get(client, f"/message/{listed['ID']}/raw", headers)
    assert raw.mimetype == "text/plain"
    assert len(raw.data) == listed["Size"]


def test_list_says_where_answers_go(app: Flask, client: FlaskClient) -> None:
    content = b"From: n@example.com\r\nReply-To: The Desk <Desk@example.com>\r\nSubject: x\r\n\r\nReply-To: no\r\n"
    harness_id = get(client, "/messages", caller(app))["messages"][0]["MessageID"].partition(".")[0]
    message = Message(delivery_id(harness_id, "user00001"), "n@example.com", "a@example.com", content)
    fill(app.extensions["mailer"].db, [message], at=1_900_000_000_000)
    headers = caller(app, "user00000", "manage-campaigns")
    [newest, before] = get(client, "/messages", headers, limit=2)["messages"]
    assert newest["ReplyTo"] == [{"Name": "The Desk", "Address": "Desk@example.com"}]
    assert before["ReplyTo"] == []
    assert [one["ID"] for one in get(client, "/search", headers, query="reply-to:desk")["messages"]] == [newest["ID"]]


def test_latest_is_an_id_too(app: Flask, client: FlaskClient) -> None:
    headers = caller(app)
    assert get(client, "/message/latest", headers)["To"][0]["Address"] == "user00004@example.com"
    assert get(client, "/message/latest", headers, query="to:user00001")["To"][0]["Address"] == "user00001@example.com"
    assert client.get(f"{API}/message/latest?query=nothing-like-it", headers=headers).status_code == 404


def test_links_and_checks_are_told(app: Flask, client: FlaskClient) -> None:
    headers = caller(app)
    links = get(client, "/message/latest/link-check", headers, follow="false")
    assert links == {"Errors": 0, "Links": [{**links["Links"][0], "StatusCode": 200, "Status": "OK"}]}
    checks = get(client, "/message/latest/html-check", headers)
    assert checks["Total"]["Tests"] == 9
    assert {one["Slug"] for one in checks["Warnings"]} == {"https", "list-unsubscribe"}


def test_attachment_is_kept_and_never_shown(app: Flask, client: FlaskClient) -> None:
    headers = caller(app, "user00000", "manage-campaigns")
    [listed] = get(client, "/search", headers, query="has:attachment")["messages"]
    message = get(client, f"/message/{listed['ID']}", headers)
    assert [one["ContentType"] for one in message["Attachments"]] == ["application/pdf", "text/html"]
    assert [one["ContentID"] for one in message["Inline"]] == ["dot", "other"]
    page = message["Attachments"][1]
    assert len(page["Checksums"]["SHA256"]) == 64

    answer = client.get(f"{API}/message/{listed['ID']}/part/{page['PartID']}", headers=headers)

    assert answer.mimetype == "application/octet-stream"
    assert answer.headers["Content-Disposition"] == "attachment; filename=page.html"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert client.get(f"{API}/message/{listed['ID']}/part/9", headers=headers).status_code == 404


def test_messages_are_marked_and_deleted(app: Flask, client: FlaskClient) -> None:
    headers = caller(app)
    ids = [one["ID"] for one in get(client, "/messages", headers)["messages"]]

    assert client.put(f"{API}/messages", headers=headers, json={"Read": True, "IDs": ids[:2]}).text == "ok"
    assert get(client, "/messages", headers)["unread"] == 3
    assert client.put(f"{API}/messages", headers=headers, json={"Search": "is:read"}).text == "ok"
    assert get(client, "/messages", headers)["unread"] == 5
    assert client.delete(f"{API}/messages", headers=headers, json={"IDs": ids[:2]}).text == "ok"
    assert client.delete(f"{API}/search?query=to:user00000", headers=headers).text == "ok"
    assert get(client, "/info", headers)["Messages"] == 2
    assert client.delete(f"{API}/messages", headers=headers).text == "ok"
    assert get(client, "/messages", headers)["messages"] == []
    with_everything = caller(app, "user00002", "manage-campaigns")
    assert get(client, "/messages", with_everything)["total"] == 1  # somebody else's, which stayed
    found = entries(app.extensions["mailer"].db, act=Act.DELETE_MESSAGES)
    assert [one.details for one in found] == [{"messages": 2}, {"messages": 1}, {"messages": 2}]
    assert {one.who for one in found} == {"user00000"}


def test_body_in_chunks_deletes_no_more_than_it_names(tmp_path: Path) -> None:
    """Such a body has no length; it was taken for none, which asks for all to be deleted."""
    with Service(tmp_path, transport="memory:") as service:
        with service.db.write() as connection:
            connection.execute(insert(User), [user_row(number) for number in range(3)])
        headers = service.headers("user00000", "send-mail")
        service.finish(headers, service.post(headers, query="{}"))
        listed = service.get(f"{API}/messages", headers).json()["messages"]
        chunks = iter([json.dumps({"IDs": [listed[0]["ID"]]}).encode()])
        asked = {**headers, "Content-Type": "application/json"}
        answer = requests.delete(f"{service.url}{API}/messages", data=chunks, headers=asked, timeout=30)
        assert answer.text == "ok"
        left = service.get(f"{API}/messages", headers).json()["messages"]
        assert [one["ID"] for one in left] == [one["ID"] for one in listed[1:]]


def test_one_sees_the_messages_of_ones_own_campaigns(app: Flask, client: FlaskClient) -> None:
    newest = get(client, "/messages", caller(app))["messages"][0]["ID"]
    other = caller(app, "user00001")
    assert [one["Subject"] for one in get(client, "/messages", other)["messages"]] == ["Files"]
    assert client.get(f"{API}/message/{newest}", headers=other).status_code == 404
    assert client.delete(f"{API}/messages", headers=other, json={"IDs": [newest]}).text == "ok"
    assert get(client, "/messages", caller(app))["total"] == 5
    assert get(client, "/messages", caller(app, "user00002", "manage-campaigns"))["total"] == 6


def test_basic_credentials_are_taken_here_and_nowhere_else(app: Flask, client: FlaskClient) -> None:
    headers = basic(caller(app))
    assert get(client, "/info", headers)["Messages"] == 5
    assert client.get("/api/v1/mailer/campaigns", headers=headers).status_code == 401
    assert client.get("/api/v1/me", headers=headers).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Basic !"},
        {"Authorization": "Bearer x"},
        basic({"X-User-Id": "user00000", "X-Auth-Token": "x"}),
    ],
    ids=["none", "no base64", "bearer", "wrong"],
)
def test_nobody_is_let_in_without_credentials(client: FlaskClient, headers: Headers) -> None:
    answer = client.get(f"{API}/messages", headers=headers)
    assert (answer.status_code, answer.mimetype) == (401, "application/json")
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")
    for method in (client.delete, client.put):
        assert method(f"{API}/messages", headers=headers, json={}).status_code == 401


def test_wrong_credentials_have_the_rate_of_the_api(client: FlaskClient) -> None:
    wrong = basic({"X-User-Id": "user00000", "X-Auth-Token": "x"})
    codes = [client.get(f"{API}/messages", headers=wrong).status_code for _ in range(7)]
    assert codes == [401] * 5 + [429] * 2


def test_permission_is_needed(app: Flask, client: FlaskClient) -> None:
    assert client.get(f"{API}/messages", headers=caller(app, "user00000", "manage-users")).status_code == 403


def test_page_cookie_opens_nothing(app: Flask, client: FlaskClient) -> None:
    headers = caller(app)
    form = client.get("/mailer/sign-in").text.partition('name="form" value="')[2].partition('"')[0]
    credentials = {"user_id": headers["X-User-Id"], "token": headers["X-Auth-Token"], "form": form}
    assert client.post("/mailer/sign-in", data=credentials).status_code == 303
    assert client.get("/mailer/mailbox/").status_code == 200
    assert client.get(f"{API}/messages").status_code == 401
    assert client.delete(f"{API}/messages").status_code == 401
    assert get(client, "/messages", headers)["total"] == 5


WRONG = [
    ("GET", "/messages?limit=x", None, 400, "limit"),
    ("GET", "/messages?limit=-1", None, 400, "limit"),
    ("GET", "/messages?start=99999999999999999999", None, 400, "start"),
    ("GET", "/messages?surprise=1", None, 400, "surprise"),
    ("GET", "/search", None, 400, "query"),
    ("GET", "/search?query=", None, 400, "query"),
    ("GET", "/search?query=after:x", None, 400, "query"),
    ("GET", "/search?query=x&tz=nowhere", None, 400, "tz"),
    ("DELETE", "/search", None, 400, "query"),
    ("DELETE", "/messages", {"IDs": "all"}, 400, "IDs"),
    ("DELETE", "/messages", {"ids": ["1"]}, 400, "ids"),
    ("DELETE", "/messages", {"IDs": ["x"]}, 404, ""),
    ("PUT", "/messages", {"Read": "perhaps"}, 400, "Read"),
    ("PUT", "/messages", {"IDs": ["1"], "Search": "x"}, 400, "Search"),
    ("GET", "/message/0", None, 404, ""),
    ("GET", "/message/99999999999999999999999", None, 404, ""),
    ("GET", "/message/-1/raw", None, 404, ""),
    ("POST", "/messages", {}, 405, ""),
    ("GET", "/nothing", None, 404, ""),
]


def test_what_cannot_be_is_refused_and_changes_nothing(app: Flask, client: FlaskClient) -> None:
    headers = caller(app)
    for method, path, body, status, field in WRONG:
        answer = client.open(API + path, method=method, headers=headers, json=body)
        assert (answer.status_code, answer.mimetype) == (status, "application/json"), (path, answer.text)
        assert not field or answer.json["details"]["field"] == field, path
    assert get(client, "/messages", headers)["total"] == 5
    assert get(client, "/messages", headers)["unread"] == 5


@pytest.mark.parametrize("settings", [{"mailbox": 0}, {"transport": "smtp://127.0.0.1:1"}], ids=["off", "by SMTP"])
def test_without_a_mailbox_there_is_nothing(any_db: Database, add_users, settings: dict[str, Any]) -> None:
    add_users(any_db, 1)
    app = create_app(Settings(any_db.url, **{"transport": "memory:", **settings}, secret_key=KEY))
    client, headers = app.test_client(), caller(app)
    for path in (f"{API}/messages", "/mailer/mailbox/", "/mailer/mailbox/1"):
        assert client.get(path, headers=headers).status_code == 404
    app.extensions["mailer"].db.close()


@pytest.mark.slow
def test_mailpits_own_client_waits_for_messages_and_reads_them(tmp_path: Path) -> None:
    if shutil.which("node") is None or not (CLIENTS / "node_modules" / "mailpit-api").exists():
        pytest.skip("no node, or `npm install --prefix tests/clients` has not been run")
    service = Service(tmp_path, transport=f"file:{tmp_path}/mail?rate=10/second")
    with service.db.write() as connection:
        connection.execute(insert(User), [user_row(number) for number in range(3)])
    with service:
        headers = service.headers("user00000")
        service.post(headers, subject="What is on")
        asked = {"url": f"{service.url}/mailer/mailbox", "subject": "What is on"}
        asked |= {"userId": headers["X-User-Id"], "token": headers["X-Auth-Token"]}
        command = ["node", "mailpit_client.mjs", json.dumps(asked)]
        done = subprocess.run(command, cwd=CLIENTS, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)

    assert told["found"]["Subject"] == "What is on"
    assert told["several"]["messages_count"] == 3
    assert (told["list"]["count"], told["list"]["total"]) == (2, 3)
    assert [one["To"][0]["Address"] for one in told["search"]["messages"]] == ["user00001@example.com"]
    assert told["latest"]["HTML"].startswith("<p>Hello Ann")
    assert told["headers"]["Subject"] == ["What is on"]
    assert told["source"].startswith("From: news@example.com\r\n")
    assert told["links"]["Errors"] == 0
    assert told["html"]["Total"]["Tests"] == 9
    assert (told["marked"], told["unread"], told["info"]["Messages"]) == ("ok", 0, 3)
    assert (told["one"], told["left"], told["bySearch"], told["all"], told["empty"]["total"]) == (
        "ok",
        2,
        "ok",
        "ok",
        0,
    )
    assert "404" in told["gone"]
    assert "401" in told["refused"]
