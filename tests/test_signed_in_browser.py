"""The pages in a real browser, with and without JavaScript, and as somebody sees them who sees little."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import text_to_be_present_in_element
from selenium.webdriver.support.wait import WebDriverWait

from mailer.storage.models import User
from tests.conftest import chromium, user_row
from tests.service import Service

pytestmark = [pytest.mark.slow, pytest.mark.ci]

AXE = Path(__file__).parent / "clients" / "node_modules" / "axe-core" / "axe.min.js"
SECONDS = 30
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
    WebDriverWait(browser, SECONDS).until(text_to_be_present_in_element((By.TAG_NAME, "h1"), "Campaigns"))


def press(browser: webdriver.Chrome, label: str) -> None:
    browser.find_element(By.XPATH, f"//button[normalize-space()='{label}']").click()


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
        press(browser, "Sign out")
        browser.get(address)
        assert browser.find_element(By.TAG_NAME, "h1").text == "Sign in"
        browser.back()
        browser.refresh()
        assert browser.find_element(By.TAG_NAME, "h1").text == "Sign in"


@pytest.mark.skipif(not AXE.exists(), reason="no axe-core in tests/clients/node_modules")
def test_pages_are_accessible_and_fit_at_every_width_in_both_schemes(service: Service, tmp_path: Path) -> None:
    headers = service.headers("user00000", "send-mail", "manage-campaigns")
    posted = service.post(
        headers, subject="A subject without any place to break: " + "x" * 60, query='{"_id": "user00001"}'
    )
    service.finish(headers, posted)
    campaign_id = posted.headers["Location"].rpartition("/")[2]
    with chromium(tmp_path) as browser:
        browser.get(f"{service.url}/mailer/sign-in")
        look(browser)
        sign_in(browser, service, headers)
        for path in ("", f"campaigns/{campaign_id}", f"campaigns/{campaign_id}/outcomes", "nowhere"):
            browser.get(f"{service.url}/mailer/{path}")
            look(browser)


def look(browser: webdriver.Chrome) -> None:
    """No violation of WCAG AA that can be found, nothing beyond the edge, and nothing that the policy refuses."""
    for width, scheme in itertools.product((360, 800, 1600), ("light", "dark")):
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        assert browser.execute_script(BEYOND_THE_EDGE) == []
        browser.execute_script(AXE.read_text("utf-8"))
        found = browser.execute_async_script("axe.run(document).then((r) => arguments[0](r.violations))")
        assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
    refused = [line["message"] for line in browser.get_log("browser") if "Content Security Policy" in line["message"]]
    assert refused == []
