"""A campaign's pages in a real browser: watched, paused and resumed, told in charts, and harmless whatever it says."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait
from sqlalchemy import insert, update

from mailer.storage.models import CampaignAnswer, CampaignDomain, CampaignMinute, Delivery, User
from tests.conftest import chromium, user_row
from tests.harness import MINUTE, START
from tests.service import Service
from tests.test_campaign_pages import NASTY
from tests.test_reached import add_campaign
from tests.test_signed_in_browser import AXE, SECONDS, await_state, look, press, shows, sign_in

pytestmark = [pytest.mark.slow, pytest.mark.ci, pytest.mark.timeout(400)]

SCRIPT = "<p>Hi [name]</p><script>document.title = parent.document.title = 'taken over'</script>"
SCRIPT += "<img src=x onerror=\"parent.location = 'about:blank'\"> [unsubscribe]"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service that sends a hundred messages in some seconds."""
    made = Service(tmp_path, transport=f"file:{tmp_path}/mail?rate=12/second", checkpoint=5)
    with made.db.write() as connection:
        domains = ["example.com", "example.org", "a-very-long-name-of-a-department.example"]
        rows = [user_row(n, email=f"user{n:05d}@{domains[n % 3]}") for n in range(100)]
        connection.execute(insert(User), rows)
    with made:
        yield made


def wait(browser: webdriver.Chrome, condition: str) -> None:
    """Until the script says true."""
    WebDriverWait(browser, SECONDS, poll_frequency=0.1).until(lambda one: one.execute_script(f"return {condition}"))


def fill(service: Service, campaign_id: str, *words: str, **values: object) -> None:
    """A campaign with everything that its page can show; `words` are its domains and answers."""
    add_campaign(service.db, campaign_id, **values)
    with service.db.write() as connection:
        none = {"failed": 1, "deferred": 2, "uncertain": 1, "skipped": 1}
        domains = [{"domain": one, "part": 0, "sent": 9, **none} for one in words]
        connection.execute(insert(CampaignDomain), [{"campaign_id": campaign_id, **one} for one in domains])
        minutes = [{"minute": START + n * MINUTE, "part": 0, "sent": n * n, **none} for n in range(40)]
        connection.execute(insert(CampaignMinute), [{"campaign_id": campaign_id, **one} for one in minutes])
        answers = [("failed", about) for about in ("address", "mailbox", "message", "sender")] + [("skipped", "")]
        same = {"campaign_id": campaign_id, "count": 3}
        rows = [{**same, "status": s, "about": a, "answer": one} for s, a in answers for one in words]
        connection.execute(insert(CampaignAnswer), rows)
        sent = {"campaign_id": campaign_id, "status": "sent", "attempts": 1, "uncertain_attempts": 0, "reply": "250 ok"}
        sent |= {"first_at": START, "updated_at": START, "complained_at": START, "bounced_at": START}
        back = [{"bounce_about": about, "bounce_permanent": about == "address"} for about in ("address", "mailbox")]
        about = [{**one, "bounce_status": "5.1.1", "bounce_reply": f"550 no such user {words[-1]}"} for one in back]
        came = [{**sent, **one, "user_id": f"user0000{n}", "address": f"{n}@x.org"} for n, one in enumerate(about)]
        connection.execute(insert(Delivery), came)


def test_campaign_is_watched_without_loading_the_page_anew_paused_and_resumed(service: Service, tmp_path: Path) -> None:
    headers = service.headers("user00000")
    with chromium(tmp_path) as browser:
        sign_in(browser, service, headers)
        posted = service.post(headers, subject="What is on")
        browser.get(f"{service.url}/mailer/campaigns/{posted.headers['Location'].rpartition('/')[2]}")
        browser.execute_script("window.here = true")
        wait(browser, "document.querySelector('#domain-numbers') !== null")
        browser.find_element(By.CSS_SELECTOR, "#domain-numbers summary").click()
        browser.execute_script("document.getElementById('to-sent').focus()")
        before = browser.execute_script("return document.querySelector('.counts dd').textContent")
        wait(browser, f"document.querySelector('.counts dd').textContent !== '{before}'")
        assert browser.execute_script("return window.here") is True  # fetched, not loaded
        assert browser.execute_script("return document.activeElement.id") == "to-sent"
        assert browser.execute_script("return document.querySelector('#domain-numbers').open") is True
        assert "a minute" in browser.find_element(By.CSS_SELECTOR, ".summary").text

        press(browser, "Pause")
        await_state(browser, "paused")
        assert "until somebody resumes it" in browser.page_source
        time.sleep(3)  # the checkpoint in hand ends
        browser.refresh()
        stands = browser.execute_script("return document.querySelector('.counts dd').textContent")
        time.sleep(3)
        browser.refresh()
        assert browser.execute_script("return document.querySelector('.counts dd').textContent") == stands
        links = [one.get_attribute("href") for one in browser.find_elements(By.CSS_SELECTOR, "#mend ~ .actions a")]
        asked = [one.partition("?")[2].partition("&")[2].partition("=")[0] for one in links if one and "?" in one]
        assert asked == ["not-reached", "reached"]
        press(browser, "Resume")
        await_state(browser, "completed")
        assert "100 of 100 sent" in browser.find_element(By.CSS_SELECTOR, ".summary").text
        shown = [one.text for one in browser.find_elements(By.CSS_SELECTOR, ".domains li > :first-child")]
        assert shown == ["example.com", "a-very-long-name-of-a-department.example", "example.org"]


def test_corrected_text_goes_to_the_rest_and_the_stopped_one_cannot_go_on(service: Service, tmp_path: Path) -> None:
    headers = service.headers("user00000")
    posted = service.post(headers, subject="With a mistake")
    campaign_id = posted.headers["Location"].rpartition("/")[2]
    with chromium(tmp_path) as browser:
        sign_in(browser, service, headers)
        browser.get(f"{service.url}/mailer/campaigns/{campaign_id}")
        wait(browser, "document.querySelector('.counts dd').textContent !== '0'")
        press(browser, "Pause")
        await_state(browser, "paused")
        payload = {"from": "news@example.com", "subject": "Mended", "body": "[unsubscribe]"}
        payload |= {"notReached": {"campaign": campaign_id}}  # type: ignore[dict-item]
        for _ in range(50):
            mended = requests.post(f"{service.url}/api/v1/mailer", json=payload, headers=headers, timeout=30)
            if mended.status_code != 409:  # the last checkpoint is on record
                break
            time.sleep(0.1)
        service.finish(headers, mended)
        press(browser, "Resume")
        shows(browser, "[role=alert]", "so it cannot be resumed")
    first, second = (
        service.get(f"/api/v1/mailer/campaigns/{one}/export?status=sent", headers).text.splitlines()[1:]
        for one in (campaign_id, mended.headers["Location"].rpartition("/")[2])
    )
    had = [{line.partition(",")[0] for line in lines} for lines in (first, second)]
    assert had[0]
    assert not had[0] & had[1]
    assert len(had[0] | had[1]) == 100


def test_script_in_a_body_never_runs(service: Service, tmp_path: Path) -> None:
    headers = service.headers("user00000")
    fill(service, "scripted", "example.com", body=SCRIPT, subject="A subject")
    with chromium(tmp_path) as browser:
        sign_in(browser, service, headers)
        browser.get(f"{service.url}/mailer/campaigns/scripted")
        browser.execute_script("document.querySelector('iframe').scrollIntoView()")
        browser.switch_to.frame(browser.find_element(By.TAG_NAME, "iframe"))
        WebDriverWait(browser, SECONDS).until(lambda one: "Hi [fname]" in one.find_element(By.TAG_NAME, "body").text)
        browser.switch_to.default_content()
        assert browser.title.startswith("A subject")
        browser.get(f"{service.url}/mailer/campaigns/scripted/body")  # in a window of its own
        assert "Hi [fname]" in browser.find_element(By.TAG_NAME, "body").text
        assert browser.title == ""


@pytest.mark.parametrize("javascript", [True, False], ids=["with JavaScript", "without"])
def test_nasty_words_open_no_dialog_and_add_no_element(service: Service, tmp_path: Path, javascript: bool) -> None:
    headers = service.headers("user00000")
    fill(service, "nasty", *NASTY, subject=NASTY[0], sender_name=NASTY[2], reason=NASTY[2], state="paused")
    with chromium(tmp_path, javascript=javascript) as browser:
        sign_in(browser, service, headers)
        for path in ("", "campaigns/nasty", "campaigns/nasty/outcomes"):
            browser.get(f"{service.url}/mailer/{path}")
            assert (
                browser.find_elements(By.CSS_SELECTOR, "main img, main script, [onerror], [onload], [onmouseover]")
                == []
            )
            if not path.endswith("outcomes"):
                assert NASTY[0] in browser.find_element(By.TAG_NAME, "body").text
        browser.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)  # a dialog would raise here


def test_states_are_filtered_by_keyboard(service: Service, tmp_path: Path) -> None:
    headers = service.headers("user00000")
    add_campaign(service.db, "c1", state="cancelled", subject="The cancelled one")
    add_campaign(service.db, "c2", state="completed", subject="The completed one")
    with chromium(tmp_path) as browser:
        sign_in(browser, service, headers)
        browser.find_element(By.LINK_TEXT, "cancelled").send_keys(Keys.ENTER)
        wait(browser, "location.search === '?state=cancelled'")
        assert "The cancelled one" in browser.page_source
        assert "The completed one" not in browser.page_source


@pytest.mark.skipif(not AXE.exists(), reason="no axe-core in tests/clients/node_modules")
def test_pages_are_accessible_and_fit_at_every_width_in_both_schemes(service: Service, tmp_path: Path) -> None:
    headers = service.headers("user00000", "send-mail", "manage-campaigns", "manage-users")
    long = "x" * 70 + ".example"
    fill(service, "full", "example.com", long, "", subject="Unbroken " + "x" * 70, state="completed_with_issues")
    fill(service, "paused", "example.com", state="paused", reason="paused by a person")
    with service.db.write() as connection:
        connection.execute(update(User).values(name="x" * 200))
    with chromium(tmp_path) as browser:
        sign_in(browser, service, headers)
        for path in (
            "",
            "?state=issues",
            "?state=going",
            "campaigns/full",
            "campaigns/paused",
            "campaigns/full/outcomes",
            "campaigns/full/outcomes?reported=bounced",
            "people/user00000?every=1",
            "people/user00000",
        ):
            browser.get(f"{service.url}/mailer/{path}")
            for one in browser.find_elements(By.TAG_NAME, "details"):
                browser.execute_script("arguments[0].open = true", one)
            look(browser)


def test_report_prints_with_its_numbers_and_without_its_buttons(service: Service, tmp_path: Path) -> None:
    headers = service.headers("user00000")
    fill(service, "printed", "example.com", state="completed_with_issues")
    with chromium(tmp_path) as browser:
        sign_in(browser, service, headers)
        browser.get(f"{service.url}/mailer/campaigns/printed")
        dark = [{"name": "prefers-color-scheme", "value": "dark"}]  # paper is white all the same
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": dark})
        sent = browser.find_element(By.CSS_SELECTOR, ".share .sent").value_of_css_property("fill")
        assert sent == "rgb(36, 115, 74)"
        hidden = browser.execute_script(
            "return [...document.querySelectorAll('button, .top, .downloads, .no-print')]"
            ".filter((one) => one.getClientRects().length).map((one) => one.outerHTML.slice(0, 90))"
        )
        assert hidden == []
        for shown in ("#over-time", "#by-domain", "#failures", "#left-out", "#what-it-said", ".domains svg"):
            assert browser.find_element(By.CSS_SELECTOR, shown).is_displayed()
        assert len(browser.execute_cdp_cmd("Page.printToPDF", {})["data"]) > 10_000
