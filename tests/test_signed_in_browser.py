"""The pages in a real browser, with and without JavaScript, and as somebody sees them who sees little."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.expected_conditions import text_to_be_present_in_element
from selenium.webdriver.support.wait import WebDriverWait
from sqlalchemy import update

from mailer.callers import login_links
from mailer.callers.tokens import PERMISSIONS, Tokens
from mailer.campaigns.hold import hold
from mailer.storage.models import User
from tests.conftest import chromium, user_row
from tests.service import Service

pytestmark = [pytest.mark.slow, pytest.mark.ci, pytest.mark.timeout(400)]

AXE = Path(__file__).parent / "clients" / "node_modules" / "axe-core" / "axe.min.js"
SECONDS = 60  # a busy machine may take so long to show a page
BEYOND_THE_EDGE = """
    const edge = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= edge) return [];
    const beyond = (one) => one.getBoundingClientRect().right > edge + 1 && !one.closest(".wide");
    return [...document.querySelectorAll("body *")].filter(beyond).map((one) => one.outerHTML.slice(0, 200));
"""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service that sends a hundred messages in some seconds."""
    made = Service(tmp_path, transport=f"file:{tmp_path}/mail?rate=25/second", checkpoint=5)
    with made.db.write() as connection:
        connection.execute(User.__table__.insert(), [user_row(number) for number in range(100)])
    with made:
        yield made


def sign_in(browser: webdriver.Chrome, service: Service, headers: dict[str, str]) -> None:
    browser.get(f"{service.url}/mailer/")
    browser.find_element(By.ID, "user_id").send_keys(headers["X-User-Id"])
    browser.find_element(By.ID, "token").send_keys(headers["X-Auth-Token"])
    browser.find_element(By.CSS_SELECTOR, "main button").click()
    shows(browser, "h1", "Campaigns")


def shows(browser: webdriver.Chrome, selector: str, text: str) -> None:
    """Wait until the page, which may still be the one before, shows the text there."""
    wait = WebDriverWait(browser, SECONDS, ignored_exceptions=[WebDriverException])  # one page may give way to the next
    wait.until(text_to_be_present_in_element((By.CSS_SELECTOR, selector), text))


def enter(browser: webdriver.Chrome, service: Service, *permissions: str) -> str:
    """Sign in by a login link; returns it."""
    link = f"{service.url}/mailer/sign-in/{login_links.make(service.db, 'user00000', permissions, 600_000)}"
    browser.get(link)
    browser.find_element(By.CSS_SELECTOR, "main button").click()
    return link


def press(browser: webdriver.Chrome, label: str) -> None:
    there = (By.XPATH, f"//button[normalize-space()='{label}']")
    WebDriverWait(browser, SECONDS).until(lambda one: one.find_elements(*there))[0].click()


def await_state(browser: webdriver.Chrome, state: str) -> None:
    ignored = {"ignored_exceptions": [Exception]}  # the part is replaced while it is read
    here = text_to_be_present_in_element((By.CSS_SELECTOR, ".summary .state"), state)
    WebDriverWait(browser, SECONDS, **ignored).until(here)


def reloaded_to(state: str) -> Callable[[webdriver.Chrome], bool]:
    """Whether the page, loaded anew, shows the state."""

    def look_again(browser: webdriver.Chrome) -> bool:
        browser.refresh()
        return state in browser.find_element(By.CSS_SELECTOR, ".summary .state").text

    return look_again


@pytest.mark.parametrize("javascript", [True, False], ids=["with JavaScript", "without"])
def test_campaign_is_watched_paused_and_resumed_to_its_end(service: Service, tmp_path: Path, javascript: bool) -> None:
    headers = service.headers("user00000")
    with chromium(tmp_path, javascript=javascript) as browser:
        sign_in(browser, service, headers)
        assert "No campaign yet" in browser.page_source
        service.post(headers, subject="What is on")
        browser.refresh()
        browser.find_element(By.LINK_TEXT, "What is on").click()
        address = browser.current_url
        WebDriverWait(browser, SECONDS).until(reloaded_to("running"))
        press(browser, "Pause")
        await_state(browser, "paused")
        assert "paused by a person" in browser.page_source
        press(browser, "Resume")
        await_state(browser, "running")
        if javascript:
            await_state(browser, "completed")
        else:
            WebDriverWait(browser, SECONDS).until(reloaded_to("completed"))
        assert "100 of 100 sent" in browser.find_element(By.CSS_SELECTOR, ".summary").text
        assert browser.current_url == address
        assert browser.find_elements(By.CSS_SELECTOR, ".actions button") == []
        browser.find_element(By.CSS_SELECTOR, ".account summary").click()
        press(browser, "Sign out")
        browser.get(address)
        shows(browser, "h1", "Sign in")
        browser.back()
        browser.refresh()
        shows(browser, "h1", "Sign in")


@pytest.mark.skipif(not AXE.exists(), reason="no axe-core in tests/clients/node_modules")
def test_pages_are_accessible_and_fit_at_every_width_in_both_schemes(service: Service, tmp_path: Path) -> None:
    headers = service.headers("user00000", *PERMISSIONS)
    posted = service.post(
        headers, subject="A subject without any place to break: " + "x" * 60, query='{"_id": "user00001"}'
    )
    service.finish(headers, posted)
    campaign_id = posted.headers["Location"].rpartition("/")[2]
    with chromium(tmp_path) as browser:
        link = login_links.make(service.db, "user00000", PERMISSIONS, 600_000)
        for path in ("sign-in", f"sign-in/{link}", "sign-in/used"):
            browser.get(f"{service.url}/mailer/{path}")
            look(browser)
        browser.get(f"{service.url}/mailer/")
        press(browser, "Sign in")
        look(browser)
        sign_in(browser, service, headers)
        pages = ["", f"campaigns/{campaign_id}", f"campaigns/{campaign_id}/outcomes", "nowhere"]
        for path in (
            *pages,
            "system",
            "system/events",
            "system/settings",
            "system/audit-log",
            "system/audit-log?since=x",
        ):
            browser.get(f"{service.url}/mailer/{path}")
            look(browser)
        hold(service.db, "a reason without any place to break: " + "x" * 60)
        browser.get(f"{service.url}/mailer/system")
        browser.find_element(By.CSS_SELECTOR, ".account summary").click()
        look(browser)


def test_german_fits_on_a_phone(service: Service, tmp_path: Path) -> None:
    with service.db.write() as connection:
        connection.execute(update(User).values(document={"language": "de"}))
    with chromium(tmp_path) as browser:
        enter(browser, service, *PERMISSIONS)
        for path in (
            "",
            "system",
            "system/events",
            "system/settings",
            "system/audit-log",
            "system/credentials",
            "system/handing-over",
            "nowhere",
        ):
            browser.get(f"{service.url}/mailer/{path}")
            assert browser.find_element(By.TAG_NAME, "html").get_attribute("lang") == "de"
            look(browser)


@pytest.mark.parametrize("javascript", [True, False], ids=["with JavaScript", "without"])
def test_link_lets_one_in_once_and_the_menu_out_again(service: Service, tmp_path: Path, javascript: bool) -> None:
    with chromium(tmp_path, javascript=javascript) as browser:
        link = enter(browser, service, "manage-campaigns")
        shows(browser, "h1", "Campaigns")
        for place in browser.find_elements(By.CSS_SELECTOR, ".pages a"):
            assert place.is_displayed()
        browser.get(link)
        shows(browser, "h1", "This link is not valid")
        browser.get(f"{service.url}/mailer/system")
        browser.find_element(By.CSS_SELECTOR, ".account summary").click()
        press(browser, "Sign out everywhere")
        shows(browser, "h1", "Sign in")
        browser.get(f"{service.url}/mailer/system")
        shows(browser, "h1", "Sign in")


def test_link_from_another_site_finds_one_signed_in_and_a_form_of_it_does_nothing(
    service: Service, browser: webdriver.Chrome, tmp_path: Path
) -> None:
    headers = service.headers("user00000")
    sign_in(browser, service, headers)
    posted = service.post(headers, subject="What is on")
    at = f"{service.url}/mailer/campaigns/{posted.headers['Location'].rpartition('/')[2]}"
    elsewhere = tmp_path / "elsewhere.html"
    elsewhere.write_text(f'<a href="{at}">look</a><form method="post" action="{at}/pause"><button>go</button></form>')
    browser.get(elsewhere.as_uri())
    press(browser, "go")
    shows(browser, "h1", "Sign in")
    browser.get(elsewhere.as_uri())
    browser.find_element(By.LINK_TEXT, "look").click()
    shows(browser, "h1", "What is on")
    assert "paused" not in browser.find_element(By.CSS_SELECTOR, ".summary .state").text


def test_page_says_that_its_numbers_are_old(service: Service, browser: webdriver.Chrome) -> None:
    headers = service.headers("user00000")
    sign_in(browser, service, headers)
    service.post(headers, subject="What is on")
    browser.refresh()
    browser.find_element(By.LINK_TEXT, "What is on").click()
    old = browser.find_element(By.ID, "old")
    assert not old.is_displayed()
    Tokens(service.db).revoke_all("user00000")
    WebDriverWait(browser, SECONDS).until(lambda _: old.is_displayed())
    old.find_element(By.TAG_NAME, "a").click()
    shows(browser, "h1", "Sign in")


def test_sending_is_held_and_released_by_an_operator(service: Service, tmp_path: Path) -> None:
    with chromium(tmp_path) as browser:
        enter(browser, service, *PERMISSIONS)
        browser.get(f"{service.url}/mailer/system")
        browser.find_element(By.ID, "reason").send_keys("the relay is moved")
        press(browser, "Hold all sending")
        shows(browser, ".banner", "the relay is moved")
        browser.find_element(By.LINK_TEXT, "Campaigns").click()
        shows(browser, ".banner", "the relay is moved")
        browser.find_element(By.LINK_TEXT, "System").click()
        press(browser, "Let everything go on")
        WebDriverWait(browser, SECONDS).until(lambda one: not one.find_elements(By.CSS_SELECTOR, ".banner"))


def test_too_many_tries_are_a_page(tmp_path: Path) -> None:
    with Service(tmp_path, transport="memory:", rate_limit="1/minute") as service, chromium(tmp_path) as browser:
        browser.get(f"{service.url}/mailer/sign-in")
        for _ in range(2):
            browser.find_element(By.ID, "user_id").clear()
            browser.find_element(By.ID, "user_id").send_keys("nobody")
            browser.find_element(By.ID, "token").send_keys("wrong")
            press(browser, "Sign in")
        shows(browser, "h1", "Too many tries")
        assert "Try again in" in browser.page_source


def test_first_page_is_small_and_soon_there(
    service: Service, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Bytes as they come over the wire. The time is only told: it depends on what else the machine does."""
    with chromium(tmp_path) as browser:
        enter(browser, service, *PERMISSIONS)
        browser.execute_cdp_cmd("Network.setCacheDisabled", {"cacheDisabled": True})
        browser.get(f"{service.url}/mailer/")
        loaded = browser.execute_script(
            "return [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
            ".map((one) => [one.name, one.transferSize, one.domInteractive ?? 0])"
        )
        assert len(loaded) > 1
        assert sum(size for _, size, _ in loaded) < 100_000, loaded
        record_property("interactive after ms", max(interactive for _, _, interactive in loaded))


def test_printed_page_fits_on_paper_without_what_is_for_the_screen(service: Service, tmp_path: Path) -> None:
    service.post(service.headers("user00000"), subject="A subject of a usual length for a newsletter of ours")
    with chromium(tmp_path) as browser:
        enter(browser, service, *PERMISSIONS)
        paper = {"width": 718, "height": 1000, "deviceScaleFactor": 1, "mobile": False}  # A4 without its margins
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", paper)
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
        for path in ("", "system/audit-log"):
            browser.get(f"{service.url}/mailer/{path}")
            assert browser.execute_script("return document.documentElement.scrollWidth") <= 718
            assert not browser.find_element(By.CSS_SELECTOR, ".top").is_displayed()
            assert browser.find_element(By.TAG_NAME, "table").is_displayed()


def test_keyboard_gets_to_the_content_first_and_focus_is_seen(service: Service, tmp_path: Path) -> None:
    with chromium(tmp_path) as browser:
        enter(browser, service, *PERMISSIONS)
        browser.get(f"{service.url}/mailer/")
        ActionChains(browser).send_keys(Keys.TAB).perform()
        first = browser.switch_to.active_element
        assert (first.text, first.is_displayed()) == ("To the content", True)
        assert first.rect["x"] >= 0
        for _ in range(4):
            ActionChains(browser).send_keys(Keys.TAB).perform()
            focused = browser.switch_to.active_element
            assert focused.value_of_css_property("outline-style") == "solid", focused.get_attribute("outerHTML")


def look(browser: webdriver.Chrome) -> None:
    """No violation of WCAG AA that can be found, nothing beyond the edge, and nothing that the policy refuses.

    What axe finds depends on the width by what is shown, and on the scheme by its colours: two runs see all of both.
    """
    browser.execute_script(AXE.read_text("utf-8"))
    for width, scheme in itertools.product((360, 800, 1600), ("light", "dark")):
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        assert browser.execute_script(BEYOND_THE_EDGE) == []
        if (width, scheme) in ((360, "light"), (1600, "dark")):
            found = browser.execute_async_script("axe.run(document).then((r) => arguments[0](r.violations))")
            assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
    refused = [line["message"] for line in browser.get_log("browser") if "Content Security Policy" in line["message"]]
    assert refused == []
