"""The pages about people in a real browser: found, unsubscribed with a note, left out by the next campaign, erased."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import text_to_be_present_in_element
from selenium.webdriver.support.wait import WebDriverWait

from mailer.campaigns.people.actions import Action, act
from mailer.storage.models import User
from tests.conftest import chromium, user_row
from tests.service import Service
from tests.test_signed_in_browser import AXE, SECONDS, look, press, sign_in

pytestmark = [pytest.mark.slow, pytest.mark.ci, pytest.mark.timeout(400)]

LONG = "Maximiliana-Alexandrina " + "Oberhuber" * 8
PERMISSIONS = ("send-mail", "manage-campaigns", "manage-users")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service with some people, one of whom has a name without any place to break."""
    made = Service(tmp_path, transport="memory:", rate_limit="")
    ada = user_row(7, id="ada", name="Ada Lovelace", email="ada@analytic.example", username="countess")
    long = user_row(8, id="x" * 120, name=LONG, email=f"{'y' * 60}@{'z' * 60}.example")
    with made.db.write() as connection:
        connection.execute(User.__table__.insert(), [*(user_row(number) for number in range(5)), ada, long])
    with made:
        yield made


def heading(browser: webdriver.Chrome, text: str) -> None:
    WebDriverWait(browser, SECONDS).until(text_to_be_present_in_element((By.TAG_NAME, "h1"), text))


def search(browser: webdriver.Chrome, text: str) -> None:
    field = browser.find_element(By.ID, "q")
    field.clear()
    field.send_keys(text)
    field.submit()
    WebDriverWait(browser, SECONDS).until(lambda one: "?q=" in one.current_url)


@pytest.mark.parametrize("javascript", [True, False], ids=["with JavaScript", "without"])
def test_person_is_found_unsubscribed_left_out_and_erased(service: Service, tmp_path: Path, javascript: bool) -> None:
    headers = service.headers("user00000", *PERMISSIONS)
    service.finish(headers, service.post(headers, subject="The first"))
    with chromium(tmp_path, javascript=javascript) as browser:
        sign_in(browser, service, headers)
        browser.find_element(By.LINK_TEXT, "People").click()
        heading(browser, "People")
        search(browser, "lovel")
        browser.find_element(By.LINK_TEXT, "Ada Lovelace").click()
        heading(browser, "Ada Lovelace")
        assert "The first" in browser.find_element(By.CSS_SELECTOR, ".wide").text
        browser.find_element(By.ID, "note").send_keys("asked by telephone")
        press(browser, "Unsubscribe")
        WebDriverWait(browser, SECONDS).until(text_to_be_present_in_element((By.ID, "mail"), "unsubscribed"))
        assert "done for them by user00000" in browser.find_element(By.CSS_SELECTOR, ".two").text
        assert "asked by telephone" in browser.find_element(By.CSS_SELECTOR, ".notes").text

        service.finish(headers, service.post(headers, subject="The second"))
        browser.refresh()
        assert "The second" not in browser.page_source
        press(browser, "Subscribe again")
        WebDriverWait(browser, SECONDS).until(text_to_be_present_in_element((By.ID, "mail"), "written to"))

        browser.find_element(By.PARTIAL_LINK_TEXT, "Erase this person").click()
        heading(browser, "Erase Ada Lovelace")
        browser.find_element(By.ID, "typed").send_keys("countess")
        press(browser, "Erase for good")
        WebDriverWait(browser, SECONDS).until(
            text_to_be_present_in_element((By.CSS_SELECTOR, ".said"), "Nothing was erased")
        )
        field = browser.find_element(By.ID, "typed")
        field.clear()
        field.send_keys("ada")
        press(browser, "Erase for good")
        heading(browser, "People")
        assert "The person was erased" in browser.find_element(By.CSS_SELECTOR, ".said").text
        search(browser, "ada")
        assert "Nobody has this" in browser.page_source
        browser.back()
        browser.back()
        browser.refresh()
        assert "Ada Lovelace" not in browser.page_source


@pytest.mark.skipif(not AXE.exists(), reason="no axe-core in tests/clients/node_modules")
def test_pages_of_people_are_accessible_and_fit_at_every_width_in_both_schemes(
    service: Service, tmp_path: Path
) -> None:
    headers = service.headers("user00000", *PERMISSIONS)
    service.finish(headers, service.post(headers, subject="A subject without any place to break: " + "x" * 60))
    act(service.db, "x" * 120, Action.BLOCK, "z" * 200)
    act(service.db, "x" * 120, Action.UNSUBSCRIBE, "asked by telephone")
    with chromium(tmp_path) as browser:
        sign_in(browser, service, headers)
        for path in (
            *("people/", "people/?q=lovel", "people/?q=ada", "people/?q=nobody", "people/?erased=3", "people/ada"),
            *(f"people/{'x' * 120}", f"people/{'x' * 120}/erase", "people/ada/erase", "people/gone"),
        ):
            browser.get(f"{service.url}/mailer/{path}")
            look(browser)


def test_page_of_a_person_works_by_the_keyboard_alone(service: Service, browser: webdriver.Chrome) -> None:
    headers = service.headers("user00000", *PERMISSIONS)
    sign_in(browser, service, headers)
    browser.get(f"{service.url}/mailer/people/ada")
    reached = []
    for _ in range(20):
        browser.switch_to.active_element.send_keys("\ue004")  # Tab
        active = browser.switch_to.active_element
        reached.append(active.get_attribute("id") or active.text or active.get_attribute("name"))
    wanted = ["note", "Unsubscribe", "Block the address", "Export all there is"]
    assert [one for one in dict.fromkeys(reached) if one in wanted] == wanted
