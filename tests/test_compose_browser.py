"""Writing a campaign in a real browser, with and without JavaScript: from the first letter until it is sent."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait
from sqlalchemy import delete, func, select

from mailer.directory.documents import role_lines
from mailer.storage.models import Campaign, PageSession, SavedDraft, User
from tests.conftest import chromium, user_row
from tests.service import Service
from tests.test_signed_in_browser import AXE, SECONDS, look, press, sign_in

pytestmark = [pytest.mark.slow, pytest.mark.ci, pytest.mark.timeout(400)]

NAME = '<img src=x onerror="document.title=1"><script>document.title=1</script>'
SCRIPT = "<p>Hi [name]</p><script>document.title='ran'; parent.document.title='ran'</script><p>[unsubscribe]</p>"
DARK = "<style>@media (prefers-color-scheme: dark) { p { color: rgb(1, 2, 3) } }</style><p id=p>Hi [unsubscribe]</p>"


def member(number: int) -> dict[str, object]:
    roles = ["user", *(["newsletter"] if number % 2 else [])]
    row = user_row(number, roles=role_lines(roles))
    document = dict(row["document"])  # type: ignore[call-overload]
    document |= {
        "roles": roles,
        "language": "de" if number in (1, 2, 4) else "en",
        "customFields": {"team": f"t{number % 2}"},
    }
    return {**row, "document": document}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service with six users, one of whom has a name that wants out."""
    made = Service(tmp_path, transport="memory:", rate_limit="", audience_rate_limit="", confirm_above=2)
    rows = [member(number) for number in range(6)]
    rows[1] |= {"name": NAME}
    with made.db.write() as connection:
        connection.execute(User.__table__.insert(), rows)
    with made:
        yield made


def wait(browser: webdriver.Chrome, until: Callable[[webdriver.Chrome], object]) -> None:
    WebDriverWait(browser, SECONDS, ignored_exceptions=[Exception]).until(until)


def field(browser: webdriver.Chrome, name: str) -> str:
    return str(browser.find_element(By.NAME, name).get_property("value"))


def write(browser: webdriver.Chrome, **texts: str) -> None:
    for name, text in texts.items():
        found = browser.find_element(By.ID, name.replace("sender", "from"))
        found.clear()
        found.send_keys(text)


def compose(browser: webdriver.Chrome) -> None:
    browser.find_element(By.LINK_TEXT, "Compose").click()
    wait(browser, lambda one: "/compose/" in one.current_url)


def saved(browser: webdriver.Chrome, version: int = 1) -> None:
    """Wait until the draft is saved, and the page says so."""
    said = browser.find_element(By.ID, "saved")
    wait(browser, lambda one: int(field(one, "version")) >= version and said.text.startswith("Saved"))


def click(browser: webdriver.Chrome, do: str) -> None:
    browser.find_element(By.CSS_SELECTOR, f'button[value="{do}"]').click()


def tick(browser: webdriver.Chrome, field: str, value: object) -> None:
    box = browser.find_element(By.CSS_SELECTOR, f"input[name='is.{field}'][value='{json.dumps(value)}']")
    browser.execute_script("arguments[0].closest('details').open = true", box) if _scripts(browser) else None
    box.click()


def _scripts(browser: webdriver.Chrome) -> bool:
    return bool(browser.find_elements(By.CSS_SELECTOR, "#compose"))


def end_sessions(service: Service) -> None:
    with service.db.write() as connection:
        connection.execute(delete(PageSession))


def campaigns(service: Service) -> list[tuple[str, bool]]:
    with service.db.read() as connection:
        found = select(Campaign.subject, Campaign.dry_run).order_by(Campaign.created_at)
        return [tuple(row) for row in connection.execute(found)]  # type: ignore[misc]


@pytest.mark.parametrize("javascript", [True, False], ids=["with JavaScript", "without"])
def test_campaign_is_written_looked_at_tested_and_sent_once(service: Service, tmp_path: Path, javascript: bool) -> None:
    with chromium(tmp_path, javascript=javascript) as browser:
        sign_in(browser, service, service.headers("user00000"))
        browser.find_element(By.LINK_TEXT, "Write one").click()
        write(browser, sender="News <news@example.com>", subject="Hi [fname]", body="<p>Hello [name] [unsubscribe]</p>")
        tick(browser, "roles", "user")
        click(browser, "look")
        wait(browser, lambda one: "6 people get it now" in one.find_element(By.ID, "audience").text)
        assert json.loads(field(browser, "query")) == {"roles": "user"}
        assert "The unsubscribe link can be seen" in browser.find_element(By.ID, "checks").text

        click(browser, "preview")
        wait(browser, lambda one: "/preview" in one.current_url)
        assert "Hi Ann" in browser.find_element(By.CSS_SELECTOR, ".facts").text
        browser.find_element(By.LINK_TEXT, "Text").click()
        wait(browser, lambda one: "Hello Ann 0" in one.find_element(By.CSS_SELECTOR, "pre").text)
        browser.find_element(By.LINK_TEXT, "Go on writing").click()

        wait(browser, lambda one: one.find_element(By.ID, "compose"))
        click(browser, "test")
        wait(browser, lambda one: "The test is on its way" in one.page_source)
        assert campaigns(service) == [("Hi [fname]", True)]

        click(browser, "send")
        wait(browser, lambda one: "Send this to 6 people?" in one.find_element(By.TAG_NAME, "h1").text)
        asked = browser.current_url
        browser.back()
        wait(browser, lambda one: field(one, "subject") == "Hi [fname]")
        browser.get(asked)
        write(browser, typed="5")
        press(browser, "Send now")
        wait(browser, lambda one: "Type the number of people who will receive it." in one.page_source)
        write(browser, typed="6")
        button = browser.find_element(By.XPATH, "//button[normalize-space()='Send now']")
        webdriver.ActionChains(browser).double_click(button).perform()
        wait(browser, lambda one: "/campaigns/" in one.current_url)
        sent = browser.current_url
        assert campaigns(service) == [("Hi [fname]", True), ("Hi [fname]", False)]
        browser.get(asked)  # as the back button would
        wait(browser, lambda one: one.current_url == sent)
        with service.db.read() as connection:
            assert (
                connection.scalar(select(func.count()).select_from(SavedDraft).where(SavedDraft.sent_as.is_(None))) == 0
            )


def test_draft_is_saved_as_one_types_and_survives_a_closed_tab(service: Service, browser: webdriver.Chrome) -> None:
    sign_in(browser, service, service.headers("user00000"))
    compose(browser)
    first = browser.current_window_handle
    browser.switch_to.new_window("tab")
    browser.get(f"{service.url}/mailer/compose")
    write(browser, subject="Kept", body="one two")
    saved(browser)
    browser.find_element(By.ID, "body").send_keys(" three")  # and the tab is closed at once
    browser.close()
    browser.switch_to.window(first)
    browser.get(f"{service.url}/mailer/compose/drafts")
    browser.find_element(By.LINK_TEXT, "Kept").click()
    wait(browser, lambda one: field(one, "subject") == "Kept")
    assert field(browser, "body").startswith("one two")
    press_delete = "//button[normalize-space()='Delete']"
    browser.get(f"{service.url}/mailer/compose/drafts")
    browser.find_element(By.XPATH, press_delete).click()
    wait(browser, lambda one: "No drafts" in one.page_source)


def test_form_and_text_of_the_query_show_each_other(service: Service, browser: webdriver.Chrome) -> None:
    sign_in(browser, service, service.headers("user00000"))
    compose(browser)
    tick(browser, "roles", "newsletter")
    wait(browser, lambda one: field(one, "query") == '{"roles": "newsletter"}')
    wait(browser, lambda one: "3 people get it now" in one.find_element(By.ID, "audience").text)
    tick(browser, "language", "de")
    browser.find_element(By.CSS_SELECTOR, "input[value=any]").click()
    wait(browser, lambda one: field(one, "query") == '{"$or": [{"roles": "newsletter"}, {"language": "de"}]}')
    wait(browser, lambda one: "5 people get it now" in one.find_element(By.ID, "audience").text)

    write(browser, query='{"customFields.team": "t1", "createdAt": {"$gte": {"$date": "2015-01-01"}}}')
    team = (By.CSS_SELECTOR, "input[name='is.customFields.team'][value='\"t1\"']")
    wait(browser, lambda one: one.find_element(*team).is_selected() and field(one, "since") == "2015-01-01")
    assert not browser.find_element(By.CSS_SELECTOR, "input[name='is.language'][value='\"de\"']").is_selected()
    write(browser, query='{"name": {"$ne": "x"}}')
    wait(browser, lambda one: "The form cannot show the query" in one.find_element(By.ID, "query-form").text)
    write(browser, query='{"name": ')
    wait(browser, lambda one: "The query cannot be read yet" in one.find_element(By.ID, "audience").text)


def test_session_that_ends_in_mid_compose_loses_nothing(service: Service, browser: webdriver.Chrome) -> None:
    headers = service.headers("user00000")
    sign_in(browser, service, headers)
    compose(browser)
    place = browser.current_url
    write(browser, subject="Kept", body="before")
    saved(browser)
    end_sessions(service)
    browser.find_element(By.ID, "body").send_keys(" and after")
    wait(browser, lambda one: "You have been signed out" in one.find_element(By.ID, "saved").text)
    browser.find_element(By.LINK_TEXT, "Sign in again").click()
    wait(browser, lambda one: one.find_element(By.ID, "user_id"))
    write(browser, user_id=headers["X-User-Id"], token=headers["X-Auth-Token"])
    browser.find_element(By.CSS_SELECTOR, "main button").click()
    wait(browser, lambda one: one.current_url == place and field(one, "body") == "before and after")
    saved(browser, 2)
    browser.refresh()
    wait(browser, lambda one: field(one, "body") == "before and after")


def test_session_that_ends_is_mended_in_another_tab(service: Service, browser: webdriver.Chrome) -> None:
    headers = service.headers("user00000")
    sign_in(browser, service, headers)
    compose(browser)
    write(browser, subject="Kept")
    saved(browser)
    end_sessions(service)
    browser.find_element(By.ID, "subject").send_keys(" and more")
    wait(browser, lambda one: "You have been signed out" in one.find_element(By.ID, "saved").text)
    here = browser.current_window_handle
    browser.switch_to.new_window("tab")
    sign_in(browser, service, headers)
    browser.close()
    browser.switch_to.window(here)
    browser.find_element(By.ID, "subject").send_keys(", still here")
    saved(browser, 2)
    browser.refresh()
    assert field(browser, "subject") == "Kept and more, still here"


def test_session_that_ends_while_another_tab_saves_loses_nothing(service: Service, browser: webdriver.Chrome) -> None:
    headers = service.headers("user00000")
    sign_in(browser, service, headers)
    compose(browser)
    place, here = browser.current_url, browser.current_window_handle
    write(browser, subject="Kept", body="before")
    saved(browser)
    end_sessions(service)
    browser.find_element(By.ID, "body").send_keys(" and after")
    wait(browser, lambda one: "You have been signed out" in one.find_element(By.ID, "saved").text)
    browser.switch_to.new_window("tab")
    sign_in(browser, service, headers)
    browser.get(place)
    browser.find_element(By.ID, "subject").send_keys(" elsewhere")
    saved(browser, 2)
    browser.close()
    browser.switch_to.window(here)
    browser.get(place)
    wait(browser, lambda one: "saved elsewhere meanwhile" in one.find_element(By.ID, "saved").text)
    assert field(browser, "body") == "before and after"
    click(browser, "save")
    wait(browser, lambda one: "Nothing was overwritten" in one.page_source)
    click(browser, "copy")
    wait(browser, lambda one: one.current_url != place and field(one, "body") == "before and after")
    browser.get(place)
    assert (field(browser, "subject"), field(browser, "body")) == ("Kept elsewhere", "before")


def test_what_was_saved_is_not_taken_for_the_text_of_another_tab(service: Service, browser: webdriver.Chrome) -> None:
    sign_in(browser, service, service.headers("user00000"))
    compose(browser)
    place = browser.current_url
    write(browser, sender=" news@example.com ", subject=" Hi ", body="[unsubscribe]")
    tick(browser, "roles", "user")
    click(browser, "look")  # the service writes some of it in another way
    wait(browser, lambda one: "6 people get it now" in one.find_element(By.ID, "audience").text)
    browser.get(f"{service.url}/mailer/compose/drafts")
    browser.get(place)
    browser.find_element(By.ID, "subject").send_keys(" you")
    wait(browser, lambda one: one.find_element(By.ID, "saved").text.startswith("Saved"))
    browser.refresh()
    assert field(browser, "subject") == "Hi you"


def test_session_that_ends_without_javascript_loses_nothing(service: Service, tmp_path: Path) -> None:
    headers = service.headers("user00000")
    with chromium(tmp_path, javascript=False) as browser:
        sign_in(browser, service, headers)
        compose(browser)
        write(browser, sender="news@example.com", subject="Kept", body="<p>Long [unsubscribe]</p>")
        end_sessions(service)
        click(browser, "send")
        wait(browser, lambda one: "You have been signed out" in one.find_element(By.TAG_NAME, "h1").text)
        here = browser.current_window_handle
        browser.find_element(By.PARTIAL_LINK_TEXT, "Sign in").click()
        wait(browser, lambda one: len(one.window_handles) == 2)
        browser.switch_to.window(next(one for one in browser.window_handles if one != here))
        wait(browser, lambda one: one.find_element(By.ID, "user_id"))
        write(browser, user_id=headers["X-User-Id"], token=headers["X-Auth-Token"])
        browser.find_element(By.CSS_SELECTOR, "main button").click()
        wait(browser, lambda one: "Campaigns" in one.find_element(By.TAG_NAME, "h1").text)
        browser.close()
        browser.switch_to.window(here)
        press(browser, "Go on with this text")
        wait(browser, lambda one: field(one, "subject") == "Kept")
        assert field(browser, "body") == "<p>Long [unsubscribe]</p>"
        click(browser, "send")
        wait(browser, lambda one: "Send this to 6 people?" in one.page_source)


def test_two_tabs_do_not_overwrite_each_other(service: Service, browser: webdriver.Chrome) -> None:
    sign_in(browser, service, service.headers("user00000"))
    compose(browser)
    write(browser, subject="First")
    saved(browser)
    place, first = browser.current_url, browser.current_window_handle
    browser.switch_to.new_window("tab")
    browser.get(place)
    write(browser, subject="Second")
    saved(browser, 2)
    browser.switch_to.window(first)
    browser.find_element(By.ID, "subject").send_keys(" stays")
    wait(browser, lambda one: "saved elsewhere meanwhile" in one.find_element(By.ID, "saved").text)
    click(browser, "save")
    wait(browser, lambda one: "Nothing was overwritten" in one.page_source)
    assert field(browser, "subject") == "First stays"
    click(browser, "copy")
    wait(browser, lambda one: one.current_url != place and field(one, "subject") == "First stays")
    browser.get(place)
    assert field(browser, "subject") == "Second"


def test_body_with_a_script_never_runs_and_a_name_stays_a_name(service: Service, browser: webdriver.Chrome) -> None:
    sign_in(browser, service, service.headers("user00000"))
    compose(browser)
    write(browser, sender="news@example.com", subject=NAME, body=SCRIPT, query='{"roles": "newsletter"}')
    saved(browser)
    wait(browser, lambda one: NAME in one.find_element(By.ID, "audience").text)
    draft = browser.current_url
    for path in ("", "/preview", "/preview?user=user00001", "/preview/html?user=user00001", "/preview?view=source"):
        browser.get(draft + path)
        frames = browser.find_elements(By.TAG_NAME, "iframe")
        for frame in frames:
            browser.switch_to.frame(frame)
            assert "Hi" in browser.find_element(By.TAG_NAME, "body").text
            assert browser.find_elements(By.CSS_SELECTOR, "body img") == []
            browser.switch_to.default_content()
        assert browser.title not in ("1", "ran"), path
        assert browser.find_elements(By.CSS_SELECTOR, "main img, main script") == [], path
    assert "1" not in browser.title.split()


def test_preview_is_dark_where_it_is_asked_for(service: Service, browser: webdriver.Chrome) -> None:
    sign_in(browser, service, service.headers("user00000"))
    compose(browser)
    write(browser, sender="news@example.com", subject="x", body=DARK)
    saved(browser)
    draft = browser.current_url
    seen = {}
    for width, scheme in (("600", "light"), ("600", "dark"), ("360", "dark")):
        browser.get(f"{draft}/preview?width={width}&scheme={scheme}")
        frame = browser.find_element(By.TAG_NAME, "iframe")
        assert frame.size["width"] == int(width)
        browser.switch_to.frame(frame)
        paragraph = browser.find_element(By.ID, "p")
        seen[width, scheme] = (paragraph.value_of_css_property("color"), _canvas(browser))
        browser.switch_to.default_content()
    assert re.sub(r"\D+", " ", seen["600", "light"][0]).split()[:3] == ["0", "0", "0"]
    assert re.sub(r"\D+", " ", seen["360", "dark"][0]).split()[:3] == ["1", "2", "3"]
    assert seen["600", "dark"] == seen["360", "dark"]


def _canvas(browser: webdriver.Chrome) -> str:
    return browser.find_element(By.TAG_NAME, "html").value_of_css_property("color-scheme")


@pytest.mark.skipif(not AXE.exists(), reason="no axe-core in tests/clients/node_modules")
def test_pages_are_accessible_and_fit_at_every_width_in_both_schemes(service: Service, tmp_path: Path) -> None:
    with chromium(tmp_path) as browser:
        sign_in(browser, service, service.headers("user00000"))
        browser.get(f"{service.url}/mailer/compose/drafts")
        look(browser)
        compose(browser)
        look(browser)
        long = "A subject without any place to break: " + "x" * 60
        write(browser, sender="news@example.com", subject=long, body="<p>Hi</p> <img src='http://x.example/'>")
        tick(browser, "roles", "user")
        wait(browser, lambda one: "people get it now" in one.find_element(By.ID, "audience").text)
        look(browser)
        draft = browser.current_url
        click(browser, "send")
        wait(browser, lambda one: "Nothing was done yet" in one.page_source)
        look(browser)
        write(browser, body="<p>Hi [name]</p> <p>[unsubscribe]</p>")
        saved(browser, 2)
        for path in ("/preview", "/preview?view=text", "/preview?view=source", "/send"):
            browser.get(draft + path)
            look(browser)
        browser.get(f"{service.url}/mailer/compose/drafts")
        look(browser)
        end_sessions(service)
        browser.get(f"{service.url}/mailer/sign-in")
