from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import text_to_be_present_in_element
from selenium.webdriver.support.wait import WebDriverWait
from sqlalchemy import delete, insert, select
from sqlalchemy.exc import OperationalError
from werkzeug.serving import make_server

from app import create_app
from mailer.campaigns.people.erasure import erase
from mailer.errors import TooManyRequests
from mailer.messages.links import NOBODY, PREVIEW, Links
from mailer.pages.unsubscribe import make_blueprint
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.models import User
from tests.conftest import chromium, user_row

pytestmark = pytest.mark.slow

LINKS = Links(["a key of some length " * 2], "http://127.0.0.1")
PAGE = "/mailer/unsubscribe/" + LINKS.link("user00000").rpartition("/")[2]
FOREIGN = (
    "/mailer/unsubscribe/" + Links(["another key of some length " * 2], "http://x").link("user00000").rpartition("/")[2]
)
FORGED = [
    pytest.param("/mailer/unsubscribe/x", id="no signature"),
    pytest.param(PAGE[:-6] + "AAAAAA", id="wrong signature"),
    pytest.param(FOREIGN, id="foreign key"),
    pytest.param("/mailer/unsubscribe/%00", id="NUL"),
    pytest.param("/mailer/unsubscribe/%FF.%ED%A0%80", id="not UTF-8"),
]


@pytest.fixture
def app(any_db: Database, add_users: Callable[..., list[str]]) -> Flask:
    add_users(any_db, 2)
    app = Flask(__name__, static_folder=None)
    app.register_blueprint(make_blueprint(LINKS, any_db, "Tom & <Jerry>"))
    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def unsubscribed(db: Database) -> list[str]:
    with db.read() as connection:
        return list(connection.scalars(select(User.id).where(User.unsubscribed_at.is_not(None))))


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_page_fetched_changes_nothing(client: FlaskClient, any_db: Database, method: str) -> None:
    answer = client.open(PAGE, method=method)

    assert answer.status_code == 200
    assert unsubscribed(any_db) == []


def test_page_shows_a_form_that_posts_to_itself(client: FlaskClient) -> None:
    page = client.get(PAGE).text

    assert '<form method="post">' in page
    assert "Tom &amp; &lt;Jerry&gt;" in page
    assert "<script" not in page


@pytest.mark.parametrize(
    "data",
    [
        pytest.param({"action": "unsubscribe"}, id="button"),
        pytest.param({"List-Unsubscribe": "One-Click"}, id="one click"),
        pytest.param({}, id="empty body"),
    ],
)
def test_post_unsubscribes_once_and_for_all(client: FlaskClient, any_db: Database, data: dict[str, str]) -> None:
    first, again = client.post(PAGE, data=data), client.post(PAGE, data=data)

    assert (first.status_code, again.status_code) == (200, 200)
    assert "Set-Cookie" not in first.headers
    assert 'value="subscribe"' in first.text
    assert unsubscribed(any_db) == ["user00000"]


def test_post_of_one_click_as_multipart_unsubscribes(client: FlaskClient, any_db: Database) -> None:
    answer = client.post(PAGE, data={"List-Unsubscribe": "One-Click"}, content_type="multipart/form-data")

    assert answer.status_code == 200
    assert unsubscribed(any_db) == ["user00000"]


def test_post_to_subscribe_takes_it_back(client: FlaskClient, any_db: Database) -> None:
    client.post(PAGE)

    answer = client.post(PAGE, data={"action": "subscribe"})

    assert answer.status_code == 200
    assert 'value="unsubscribe"' in answer.text
    assert unsubscribed(any_db) == []


@pytest.mark.parametrize("path", FORGED)
def test_forged_link_gets_one_identical_page_and_changes_nothing(
    client: FlaskClient, any_db: Database, path: str
) -> None:
    client.post(PAGE)
    reference = client.get("/mailer/unsubscribe/nonsense")

    answers = [client.get(path), client.post(path), client.post(path, data={"action": "subscribe"})]

    assert {answer.status_code for answer in answers} == {404}
    assert {answer.text for answer in answers} == {reference.text}
    assert {tuple(answer.headers) for answer in answers} == {tuple(reference.headers)}
    assert "<form" not in reference.text
    assert unsubscribed(any_db) == ["user00000"]


@pytest.mark.parametrize("action", ["unsubscribe", "subscribe"])
def test_post_for_a_user_who_is_gone_gets_the_same_page(client: FlaskClient, any_db: Database, action: str) -> None:
    with any_db.write() as connection:
        connection.execute(delete(User))

    answer = client.post(PAGE, data={"action": action})

    assert (answer.status_code, answer.text) == (404, client.get(FOREIGN).text)


@pytest.mark.parametrize("data", [None, {}, {"action": "subscribe"}], ids=["GET", "POST", "subscribe"])
def test_who_was_erased_is_told_that_they_are_unsubscribed_and_offered_nothing(
    client: FlaskClient, any_db: Database, data: dict[str, str] | None
) -> None:
    """The button to subscribe again led to a page that called their link not valid."""
    erase(any_db, "user00000", spool_path=Path("/nonexistent/spool"))

    answer = client.get(PAGE) if data is None else client.post(PAGE, data=data)

    assert answer.status_code == 200
    assert "<h1>You are unsubscribed</h1>" in answer.text
    assert "<form" not in answer.text


def test_one_click_never_subscribes(client: FlaskClient, any_db: Database) -> None:
    client.post(PAGE, data={"List-Unsubscribe": "One-Click", "action": "subscribe"})
    assert unsubscribed(any_db) == ["user00000"]


def test_link_of_a_dry_run_to_no_user_works_and_says_that_it_was_a_trial(client: FlaskClient, any_db: Database) -> None:
    path = urlsplit(LINKS.link(NOBODY)).path

    offer, answer = client.get(path), client.post(path)

    assert (offer.status_code, answer.status_code) == (200, 200)
    assert "This was a trial" in answer.text
    assert "<form" not in answer.text
    assert unsubscribed(any_db) == []


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_link_of_a_preview_says_that_it_was_one(client: FlaskClient, any_db: Database, method: str) -> None:
    answer = client.open(urlsplit(LINKS.link(PREVIEW)).path, method=method)

    assert answer.status_code == 200
    assert "This was a preview" in answer.text
    assert "<form" not in answer.text
    assert unsubscribed(any_db) == []


def test_dry_run_of_a_stranger_unsubscribes_no_user_who_is_called_so(
    client: FlaskClient, any_db: Database, add_users: Callable[..., list[str]]
) -> None:
    with any_db.write() as connection:
        connection.execute(insert(User), [user_row(7, id=user_id) for user_id in ("dry-run", "preview")])

    for whose in (NOBODY, PREVIEW):
        for action in ("unsubscribe", "subscribe"):
            assert client.post(urlsplit(LINKS.link(whose)).path, data={"action": action}).status_code == 200

    assert unsubscribed(any_db) == []
    assert client.post(urlsplit(LINKS.link("dry-run")).path).status_code == 200  # their own link, as it always was
    assert unsubscribed(any_db) == ["dry-run"]


def test_old_link_of_a_dry_run_still_says_that_it_was_a_trial(client: FlaskClient) -> None:
    assert "This was a trial" in client.post(urlsplit(LINKS.link("dry-run")).path).text


def from_page(address: str, link: str) -> str:
    """Where a browser finds `link`: to it an empty segment is one, to `urljoin` it is none."""
    folders = address.partition("?")[0].split("/")[: -1 - link.count("../")]
    return "/".join([*folders, link.replace("../", "")])


@pytest.mark.parametrize(
    "appended",
    [".", ")", ",", "%3E", "/", "%2F", "%E2%80%9D", "%20", "=", "&gt;", ").", "//", "?x=1", "%0D%0A", ".%0A"],
)
def test_link_works_with_what_a_mail_program_appended(client: FlaskClient, any_db: Database, appended: str) -> None:
    offer = client.get(PAGE + appended)
    assert (offer.status_code, offer.text.count("<form")) == (200, 1)
    sheet = re.search('rel="stylesheet" href="([^"]+)"', offer.text)
    assert sheet is not None
    with client.get(from_page(PAGE + appended, sheet[1])) as style:
        assert style.mimetype == "text/css"
    assert unsubscribed(any_db) == []

    answer = client.post(PAGE + appended, data={"List-Unsubscribe": "One-Click"})

    assert (answer.status_code, unsubscribed(any_db)) == (200, ["user00000"])


@pytest.fixture
def whole_app(tmp_path: Path) -> Flask:
    """The service as it is, whose errors are JSON elsewhere."""
    app = create_app(Settings(secret_key=("a key of some length " * 2,), database_url=f"sqlite:///{tmp_path}/m.db"))
    app.config["PROPAGATE_EXCEPTIONS"] = False

    @app.get("/mailer/unsubscribe/429")
    def busy() -> None:
        raise TooManyRequests(3)

    return app


AS_SENT = {
    "encoded slash": PAGE.replace("subscribe/", "subscribe%2F"),
    "all slashes encoded": "/" + PAGE[1:].replace("/", "%2F"),
    "first one too": PAGE.replace("/", "//", 1).replace("/m", "%2Fm"),
    "twice": "/" + PAGE[1:].replace("/", "%252F"),
    "doubled slashes": PAGE.replace("/", "//"),
    "line end": PAGE + "%0D%0A",
    "wrapped": PAGE[:40] + "=%0D%0A" + PAGE[40:],
}


@pytest.mark.parametrize("sent", AS_SENT.values(), ids=AS_SENT)
def test_link_works_whose_slashes_or_line_ends_were_mangled(whole_app: Flask, sent: str) -> None:
    """Through every layer, with the path as a server hands it over: decoded, and beside it as it was sent."""
    services = whole_app.extensions["mailer"]
    with services.db.write() as connection:
        connection.execute(insert(User), [user_row(0)])
    client = whole_app.test_client()
    raw = {"PATH_INFO": unquote(sent), "RAW_URI": sent}

    offer = client.get(environ_overrides=raw)
    sheet = re.search('rel="stylesheet" href="([^"]+)"', offer.text)
    assert sheet is not None
    assert from_page(sent, sheet[1]).lstrip("/") == "mailer/unsubscribe/static/unsubscribe.css"
    answer = client.post(environ_overrides=raw, data={"List-Unsubscribe": "One-Click"})

    assert (answer.status_code, unsubscribed(services.db)) == (200, ["user00000"])


ERRORS = {
    "404 without a token": ("GET", "/mailer/unsubscribe/", 404, "This link is not valid"),
    "404 without a slash": ("GET", "/mailer/unsubscribe", 404, "This link is not valid"),
    "404 of a style sheet": ("GET", "/mailer/unsubscribe/static/no.css", 404, "This link is not valid"),
    "404 of a token": ("POST", FOREIGN, 404, "This link is not valid"),
    "405": ("PUT", PAGE, 405, "This cannot be done here"),
    "405 of another method": ("DELETE", PAGE, 405, "This cannot be done here"),
    "429": ("GET", "/mailer/unsubscribe/429", 429, "Too many requests"),
    "500": ("POST", PAGE + "#broken", 500, "Something went wrong"),
    "503": ("POST", PAGE + "#away", 503, "Not available at the moment"),
}


@pytest.mark.parametrize(("method", "path", "status", "title"), ERRORS.values(), ids=ERRORS)
def test_errors_are_pages_for_people(
    whole_app: Flask, monkeypatch: pytest.MonkeyPatch, method: str, path: str, status: int, title: str
) -> None:
    error = {"broken": RuntimeError(), "away": OperationalError("", {}, Exception())}.get(path.partition("#")[2])
    if error:

        def fail(*_args: object, **_kwargs: object) -> None:
            raise error

        monkeypatch.setattr(whole_app.extensions["mailer"].db, "write", fail)
    answer = whole_app.test_client().open(path.partition("#")[0], method=method)

    assert (answer.status_code, answer.mimetype) == (status, "text/html")
    assert f"<h1>{title}</h1>" in answer.text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert ("Allow" in answer.headers) == (status == 405)
    assert ("Retry-After" in answer.headers) == (status in (429, 503))
    assert whole_app.test_client().get("/elsewhere").is_json


@pytest.mark.parametrize("path", [PAGE, FOREIGN])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_page_tells_browsers_to_be_careful(client: FlaskClient, path: str, method: str) -> None:
    headers = client.open(path, method=method).headers

    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "noindex" in headers["X-Robots-Tag"]
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.fixture
def site(app: Flask) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    """The page must work without scripts."""
    with chromium(tmp_path, javascript=False) as driver:
        yield driver


def test_page_in_a_browser_unsubscribes_and_subscribes_again(
    browser: webdriver.Chrome, site: str, any_db: Database
) -> None:
    wait = WebDriverWait(browser, 15)
    browser.get(site + PAGE)
    assert "Stop these e-mails?" in browser.title
    button = browser.find_element(By.TAG_NAME, "button")
    assert button.value_of_css_property("cursor") == "pointer"  # the style sheet was let in by the policy
    assert button.size["height"] >= 44
    assert button.rect["x"] + button.size["width"] <= 390
    assert unsubscribed(any_db) == []

    button.click()
    wait.until(text_to_be_present_in_element((By.TAG_NAME, "h1"), "You are unsubscribed"))
    assert unsubscribed(any_db) == ["user00000"]

    browser.find_element(By.TAG_NAME, "button").click()
    wait.until(text_to_be_present_in_element((By.TAG_NAME, "h1"), "You are subscribed again"))
    assert unsubscribed(any_db) == []
    assert browser.get_log("browser") == []
