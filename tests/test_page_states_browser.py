"""What pages look like in the states that a test comes by last: nothing there, everything stopped, refused, wrong.

Each is looked at on a phone and on a tablet, in both schemes, and with letters half as large again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from sqlalchemy import insert, update

from mailer.callers.tokens import PERMISSIONS
from mailer.campaigns import saved_drafts
from mailer.campaigns.hold import hold
from mailer.messages.links import Links
from mailer.storage.models import Batch, Campaign, CampaignState, CircuitBreaker, User
from tests.conftest import chromium, user_row
from tests.harness import START
from tests.service import Service
from tests.test_campaign_browser import fill
from tests.test_every_page_browser import look_like, sights
from tests.test_reached import add_campaign
from tests.test_signed_in_browser import AXE, BEYOND_THE_EDGE, enter, press, shows

pytestmark = [
    pytest.mark.slow,
    pytest.mark.ci,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not AXE.exists(), reason="no axe-core in tests/clients/node_modules"),
]

LATER = 2**50  # ms: nothing is due while the test runs
LARGER_LETTERS = """
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(`html { font-size: ${arguments[0]} }`);
    document.adoptedStyleSheets = [sheet];
"""
EMPTY = ("", "compose", "compose/drafts", "people/?q=x", "not-written-to", "mailbox/", "mailbox/?q=x")
EMPTY_TOO = ("system", "system/events", "system/audit-log?who=x", "system/credentials", "people/user00000")
WRONG = saved_drafts.Typed("not an address", "nor this", "", "", '{"roles": ')
FINE = saved_drafts.Typed("news@example.com", "", "Hello", "<p>Hi [unsubscribe]</p>", "")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service that nobody has used yet; it asks for the number of people above two."""
    made = Service(tmp_path, transport="memory:", confirm_above=2, rate_limit="")
    with made.db.write() as connection:
        connection.execute(User.__table__.insert(), [user_row(number) for number in range(5)])
    with made:
        yield made


def found(browser: webdriver.Chrome, where: str) -> list[object]:
    """What is wrong with the page that is shown."""
    wrong: list[object] = []
    for width, scheme in ((360, "light"), (768, "dark")):
        look_like(browser, width, scheme)
        wrong += [(where, width, one) for one in sights(browser)]
    look_like(browser, 360, "light")
    browser.execute_script(LARGER_LETTERS, "150%")
    wrong += [(where, "large letters", one) for one in browser.execute_script(BEYOND_THE_EDGE)]
    browser.execute_script(LARGER_LETTERS, "100%")
    return wrong


def test_pages_without_anything_on_them(service: Service, tmp_path: Path) -> None:
    with chromium(tmp_path) as browser:
        enter(browser, service, *PERMISSIONS)
        wrong: list[object] = []
        for place in (*EMPTY, *EMPTY_TOO):
            browser.get(f"{service.url}/mailer/{place}")
            wrong += found(browser, place)
    assert wrong == []


def test_campaign_in_each_state(service: Service, tmp_path: Path) -> None:
    reason = "550 5.7.1 the sender was not verified: https://postmaster.example/" + "x" * 60
    for state in CampaignState:
        ended = START if state.startswith(("completed", "cancelled", "failed")) else None
        fill(service, state, "example.com", state=state, reason=reason, due_at=LATER, finished_at=ended)
    counts = {"sent": 1_199_001, "failed": 12_345, "deferred": 1, "uncertain": 66, "skipped": 23_155}
    batch = {"number": 0, "first_id": "a", "last_id": "z", "state": "waiting", "due_at": LATER, "fence": 1}
    with service.db.write() as connection:
        rows = [
            {**batch, "campaign_id": one, "attempting": [], "planned": 1_234_569, **counts} for one in CampaignState
        ]
        connection.execute(insert(Batch), rows)
        connection.execute(update(Campaign).where(Campaign.id == "paused").values(version=2))
    add_campaign(service.db, "purged", state="completed", subject="", body="", due_at=LATER)
    with chromium(tmp_path) as browser:
        enter(browser, service, *PERMISSIONS)
        wrong: list[object] = []
        for one in ("", *(f"campaigns/{each}" for each in (*CampaignState, "purged")), "campaigns/paused/edit"):
            browser.get(f"{service.url}/mailer/{one}")
            wrong += found(browser, one)
    assert wrong == []


def test_forms_that_were_refused_and_pages_of_errors(service: Service, tmp_path: Path) -> None:
    refused, fine = saved_drafts.new_id(), saved_drafts.new_id()
    for draft, typed in ((refused, WRONG), (fine, FINE)):
        saved_drafts.save(service.db, "user00000", draft, typed, 0)
    with chromium(tmp_path) as browser:
        wrong: list[object] = []
        enter(browser, service, "send-mail")
        browser.get(f"{service.url}/mailer/system")
        shows(browser, "h1", "Not for you")
        wrong += found(browser, "403")
        enter(browser, service, *PERMISSIONS)

        browser.get(f"{service.url}/mailer/compose/{refused}")
        browser.execute_script("document.querySelector('[value=send]').click()")
        shows(browser, ".said", "Nothing was done yet")
        wrong += found(browser, "a draft that is refused")
        browser.get(f"{service.url}/mailer/compose/{fine}/send")
        wrong += found(browser, "a number to type")
        browser.find_element(By.ID, "typed").send_keys("7")
        press(browser, "Send now")
        shows(browser, ".said.bad", "number")
        wrong += found(browser, "a number that is wrong")

        browser.get(f"{service.url}/mailer/system")
        browser.execute_script("const one = document.getElementById('reason'); one.value = ' '; one.form.submit()")
        shows(browser, ".wrong", "")
        wrong += found(browser, "a hold without a reason")
        browser.execute_script(
            "const one = document.getElementById('reason'); one.value = 'x'.repeat(30000); one.form.submit()"
        )
        shows(browser, "h1", "That is too large")
        wrong += found(browser, "413")
    assert wrong == []


def test_unsubscribe_page_after_each_press(service: Service, tmp_path: Path) -> None:
    with chromium(tmp_path) as browser:
        browser.get(Links(["k" * 40], service.url).link("user00001"))
        wrong: list[object] = []
        for title in ("Stop these e-mails?", "You are unsubscribed", "You are subscribed again"):
            shows(browser, "h1", title)
            wrong += found(browser, title)
            browser.find_element(By.CSS_SELECTOR, "main button").click()
    assert wrong == []


def test_everything_held_in_staging_with_a_transport_that_does_not_work(tmp_path: Path) -> None:
    long = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft"
    staging = {"transport": "smtp://127.0.0.1:9", "redirect_to": "team@example.com", "site_name": long}
    with Service(tmp_path, rate_limit="1/minute", **staging) as service, chromium(tmp_path) as browser:
        with service.db.write() as connection:
            connection.execute(User.__table__.insert(), [user_row(number) for number in range(5)])
            row = {"id": 1, "reason": "connect: Connection refused " + "x" * 60, "since": START, "failures": 9}
            connection.execute(insert(CircuitBreaker), [{**row, "retry_at": LATER}])
        service.post(service.headers("user00000"))
        hold(service.db, "the relay is moved, " + "x" * 60)
        enter(browser, service, *PERMISSIONS)
        wrong: list[object] = []
        for place in ("", "compose", "system", "system/settings", "system/events"):
            browser.get(f"{service.url}/mailer/{place}")
            assert browser.find_elements(By.CSS_SELECTOR, ".banner")
            wrong += found(browser, place)
        browser.delete_all_cookies()
        browser.get(f"{service.url}/mailer/sign-in")
        while browser.find_element(By.TAG_NAME, "h1").text != "Too many tries":
            browser.find_element(By.ID, "user_id").send_keys("nobody")
            browser.find_element(By.ID, "token").send_keys("wrong")
            press(browser, "Sign in")
            wrong += found(browser, "signing in")
    assert wrong == []
