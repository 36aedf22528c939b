"""The mailbox in a real browser: from a campaign's outcomes to its message, its link, and what it must not do."""

from __future__ import annotations

from collections.abc import Iterator
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import presence_of_element_located, text_to_be_present_in_element
from selenium.webdriver.support.wait import WebDriverWait
from sqlalchemy import insert

from mailer.mailbox.store import MailboxStore
from mailer.messages.links import Links
from mailer.storage.models import User
from tests.conftest import chromium, user_row
from tests.service import Service
from tests.test_mailbox import letter
from tests.test_signed_in_browser import AXE, SECONDS, look
from transports.base import Message

pytestmark = [pytest.mark.slow, pytest.mark.ci, pytest.mark.timeout(400)]

HOSTILE = """<p>Hello <b>[name]</b></p><script>document.title = "ran"</script>
<img src="x" onerror="document.title='ran'">
<form action="/mailer/sign-out" method="post"><button>Press</button></form><meta http-equiv="refresh" content="0;url=/">
<img src="%s/seen.png" alt="A picture"><iframe src="/mailer/"></iframe><a href="[unsubscribe]">Unsubscribe</a>"""


class Elsewhere(BaseHTTPRequestHandler):
    """A server that pictures are on; it notes what is asked for."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(f"{self.path} {self.headers.get('Referer')}")
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[str]]]:
    """The address of another server, and what it was asked for."""
    asked: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Noting", (Elsewhere,), {"asked": asked}))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service with three users, whose mail stays in a folder."""
    made = Service(tmp_path, transport=f"file:{tmp_path}/mail?format=mbox")
    with made.db.write() as connection:
        connection.execute(insert(User), [user_row(number) for number in range(3)])
    with made:
        yield made


def sign_in(browser: webdriver.Chrome, service: Service, headers: dict[str, str]) -> None:
    browser.get(f"{service.url}/mailer/sign-in")
    browser.find_element(By.ID, "user_id").send_keys(headers["X-User-Id"])
    browser.find_element(By.ID, "token").send_keys(headers["X-Auth-Token"])
    browser.find_element(By.CSS_SELECTOR, "main button").click()
    WebDriverWait(browser, SECONDS).until(text_to_be_present_in_element((By.TAG_NAME, "h1"), "Campaigns"))


@pytest.mark.parametrize("javascript", [True, False], ids=["with JavaScript", "without"])
def test_link_of_a_message_unsubscribes_and_the_message_does_nothing_else(
    service: Service, tmp_path: Path, elsewhere: tuple[str, list[str]], javascript: bool
) -> None:
    url, asked = elsewhere
    headers = service.headers("user00000")
    posted = service.post(headers, body=HOSTILE % url)
    service.finish(headers, posted)
    campaign_id = posted.headers["Location"].rpartition("/")[2]
    with chromium(tmp_path, javascript=javascript) as browser:
        sign_in(browser, service, headers)
        browser.get(f"{service.url}/mailer/campaigns/{campaign_id}/outcomes")
        browser.find_element(By.CSS_SELECTOR, "tbody tr:nth-child(2) a").click()
        there = text_to_be_present_in_element((By.CSS_SELECTOR, ".facts"), "user00001@example.com")
        WebDriverWait(browser, SECONDS).until(there)
        message = browser.current_url

        browser.switch_to.frame(browser.find_element(By.CSS_SELECTOR, "iframe"))
        assert "Hello Ann 1" in browser.find_element(By.TAG_NAME, "body").text
        browser.find_element(By.TAG_NAME, "button").click()
        browser.switch_to.default_content()
        assert browser.current_url == message
        assert "ran" not in browser.title
        assert asked == []
        browser.find_element(By.LINK_TEXT, "Load them").click()
        WebDriverWait(browser, SECONDS).until(lambda _: asked)
        assert set(asked) == {"/seen.png None"}

        browser.switch_to.frame(browser.find_element(By.CSS_SELECTOR, "iframe"))
        browser.find_element(By.LINK_TEXT, "Unsubscribe").click()
        WebDriverWait(browser, SECONDS).until(lambda one: len(one.window_handles) == 2)
        browser.switch_to.window(browser.window_handles[1])
        WebDriverWait(browser, SECONDS).until(text_to_be_present_in_element((By.TAG_NAME, "h1"), "Stop these e-mails?"))
        browser.find_element(By.CSS_SELECTOR, "button.main").click()
        WebDriverWait(browser, SECONDS).until(text_to_be_present_in_element((By.TAG_NAME, "h1"), "unsubscribed"))
    again = service.finish(headers, service.post(headers, subject="Next"))
    assert again["sent"] == 2


def test_list_shows_new_messages_by_itself_and_finds_them(service: Service, tmp_path: Path) -> None:
    headers = service.headers("user00000")
    with chromium(tmp_path) as browser:
        sign_in(browser, service, headers)
        browser.find_element(By.LINK_TEXT, "Mailbox").click()
        assert "No message yet" in browser.page_source
        service.finish(headers, service.post(headers, subject="First"))
        WebDriverWait(browser, SECONDS).until(presence_of_element_located((By.CSS_SELECTOR, ".mails li:nth-child(3)")))

        browser.find_element(By.ID, "q").send_keys("to:user00002")
        browser.find_element(By.CSS_SELECTOR, ".find button").click()
        WebDriverWait(browser, SECONDS).until(lambda one: len(one.find_elements(By.CSS_SELECTOR, ".mails li")) == 1)
        [found] = browser.find_elements(By.CSS_SELECTOR, ".mails li")
        assert "user00002@example.com" in found.text
        found.find_element(By.TAG_NAME, "a").click()
        WebDriverWait(browser, SECONDS).until(text_to_be_present_in_element((By.TAG_NAME, "h1"), "First"))
        browser.find_element(By.XPATH, "//button[normalize-space()='Delete this message']").click()
        WebDriverWait(browser, SECONDS).until(lambda one: len(one.find_elements(By.CSS_SELECTOR, ".mails li")) == 2)
        browser.find_element(By.CSS_SELECTOR, "details.more summary").click()
        browser.find_element(By.XPATH, "//button[normalize-space()='Delete all']").click()
        WebDriverWait(browser, SECONDS).until(
            text_to_be_present_in_element((By.CSS_SELECTOR, ".empty"), "No message yet")
        )


@pytest.mark.skipif(not AXE.exists(), reason="no axe-core in tests/clients/node_modules")
def test_pages_are_accessible_and_fit_at_every_width_in_both_schemes(service: Service, tmp_path: Path) -> None:
    store = MailboxStore(service.db, 10_000)
    store.add([letter(number, Subject=f"Number {number} " + "with a long subject " * 4) for number in range(60)])
    store.add([full_of_everything(service)])
    headers = service.headers("user00000", "manage-campaigns")
    with chromium(tmp_path) as browser:
        sign_in(browser, service, headers)
        for path in ("", "?q=nothing-like-it", "?q=after:x", "?q=to:user00001", "?campaign=x&user=y"):
            browser.get(f"{service.url}/mailer/mailbox/{path}")
            look(browser)
        browser.get(f"{service.url}/mailer/mailbox/")
        browser.find_element(By.CSS_SELECTOR, ".mails a").click()
        message = browser.current_url
        for view in ("html", "text", "source", "headers", "checks"):
            browser.get(f"{message}?view={view}")
            look(browser)


def full_of_everything(service: Service) -> Message:
    """A message of which every page has something to show."""
    made = EmailMessage()
    made["From"], made["To"], made["Reply-To"] = "News <news@example.com>", "Ann <a@example.com>", "desk@example.com"
    made["Subject"], made["X-Long"] = "x" * 120, "y" * 300
    link = Links(["k" * 40], service.url).link("user00001")
    made.set_content(f"Hello {'z' * 200}\n{link}\n")
    made.add_alternative(f'<h1>Hello</h1><img src="https://example.com/{"a" * 200}.png"><a href="{link}">x</a>', "html")
    made.add_attachment(b"x" * 9000, "application", "pdf", filename="A very long name of a file " * 5 + ".pdf")
    return Message("c1.x", "news@example.com", "a@example.com", made.as_bytes())
