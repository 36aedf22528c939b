"""One story over all pages, in a real browser: what somebody writes reaches people, and one of them leaves for good."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import text_to_be_present_in_element
from selenium.webdriver.support.wait import WebDriverWait

from mailer.storage.models import User
from tests.conftest import chromium, user_row
from tests.service import Service
from tests.test_compose_browser import click, field, tick, wait, write
from tests.test_signed_in_browser import SECONDS, press, sign_in

pytestmark = [pytest.mark.slow, pytest.mark.ci, pytest.mark.timeout(400)]

PEOPLE = 40
PERMISSIONS = ("send-mail", "manage-campaigns", "manage-users")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A staging service that sends slowly enough for somebody to pause it."""
    settings = {"transport": f"file:{tmp_path}/mail?rate=8/second", "checkpoint": 2, "rate_limit": ""}
    made = Service(tmp_path, confirm_above=10, **settings)
    with made.db.write() as connection:
        connection.execute(User.__table__.insert(), [user_row(number) for number in range(PEOPLE)])
    with made:
        yield made


def test_from_the_first_letter_to_the_person_who_is_erased(service: Service, tmp_path: Path) -> None:
    headers = service.headers("user00000", *PERMISSIONS)
    with chromium(tmp_path) as browser:
        # a part of the page may be replaced while it is read
        until = WebDriverWait(browser, SECONDS, ignored_exceptions=[WebDriverException]).until

        def shown(selector: str, text: str) -> None:
            until(text_to_be_present_in_element((By.CSS_SELECTOR, selector), text))

        def send(people: int) -> str:
            click(browser, "send")
            shown("h1", f"Send this to {people} people?")
            if people > 10:
                browser.find_element(By.ID, "typed").send_keys(str(people))
            press(browser, "Send now")
            until(lambda one: "/campaigns/" in one.current_url)
            return browser.current_url

        sign_in(browser, service, headers)
        browser.find_element(By.LINK_TEXT, "Write one").click()
        body = "<p>Hello [name]</p><p><a href='[unsubscribe]'>Unsubscribe</a></p>"
        write(browser, sender="News <news@example.com>", subject="Hi [fname]", body=body)
        tick(browser, "roles", "user")
        wait(browser, lambda one: f"{PEOPLE} people get it now" in one.find_element(By.ID, "audience").text)
        assert json.loads(field(browser, "query")) == {"roles": "user"}
        click(browser, "preview")
        shown("h1", "Preview")
        browser.switch_to.frame(browser.find_element(By.CSS_SELECTOR, "iframe"))
        shown("body", "Hello Ann 0")
        browser.switch_to.default_content()
        browser.find_element(By.LINK_TEXT, "Go on writing").click()
        until(lambda one: one.find_elements(By.ID, "compose"))
        assert json.loads(field(browser, "query")) == {"roles": "user"}
        click(browser, "test")
        shown(".said", "test")
        first = send(PEOPLE)

        until(lambda one: int(one.find_element(By.CSS_SELECTOR, ".counts dd").text) > 0)
        press(browser, "Pause")
        shown("#now", "paused")
        browser.find_element(By.PARTIAL_LINK_TEXT, "have not had it").click()
        until(lambda one: "not reached" in one.find_element(By.TAG_NAME, "main").text)
        browser.get(first)
        press(browser, "Resume")
        shown("#now", "completed")
        assert f"{PEOPLE} of {PEOPLE}" in browser.find_element(By.ID, "now").text

        browser.get(f"{first}/outcomes")
        browser.find_element(By.CSS_SELECTOR, "tbody tr:nth-child(4) a").click()
        shown(".facts", "user00003@example.com")
        browser.switch_to.frame(browser.find_element(By.CSS_SELECTOR, "iframe"))
        browser.find_element(By.LINK_TEXT, "Unsubscribe").click()
        until(lambda one: len(one.window_handles) == 2)
        browser.switch_to.window(browser.window_handles[1])
        until(text_to_be_present_in_element((By.TAG_NAME, "h1"), "Stop these e-mails?"))
        browser.find_element(By.CSS_SELECTOR, "main button").click()
        browser.close()
        browser.switch_to.window(browser.window_handles[0])

        browser.find_element(By.LINK_TEXT, "Compose").click()
        until(lambda one: "/compose/" in one.current_url)
        write(browser, sender="News <news@example.com>", subject="Again", body=body)
        second = send(PEOPLE - 1)
        shown("#now", "completed")
        assert (
            "user00003"
            not in service.get(
                f"{second.replace('/mailer/', '/api/v1/mailer/')}/deliveries".removeprefix(service.url), headers
            ).text
        )

        browser.get(f"{service.url}/mailer/people/user00003")
        shown("#mail", "unsubscribed")
        assert "by the link in a message" in browser.find_element(By.TAG_NAME, "main").text
        assert "Hi [fname]" in browser.find_element(By.CSS_SELECTOR, ".wide").text
        browser.find_element(By.PARTIAL_LINK_TEXT, "Erase this person").click()
        browser.find_element(By.ID, "typed").send_keys("user00003")
        press(browser, "Erase for good")
        shown("h1", "People")
        browser.get(f"{service.url}/mailer/mailbox/?q=to:user00003")
        assert "user00003@example.com" not in browser.find_element(By.TAG_NAME, "main").text
        browser.get(f"{first}/outcomes")
        assert "user00003@example.com" not in browser.page_source
