"""The text part of real newsletters, and of what MJML makes: compared with what a browser shows of them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver

from mailer.messages.text_part.plaintext import lay_out
from tests.conftest import chromium

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
CORPUS = Path(os.environ.get("MAILER_TEST_CORPUS", ROOT.parent / "shared" / "corpus")) / "newsletters"
NAMES = [
    "cerberus-fluid", "cerberus-hybrid", "cerberus-responsive", "konsav-explorational", "konsav-general",
    "konsav-promotional", "leemunroe-email", "leemunroe-email-inlined", "postmark-comment-notification",
    "postmark-dunning", "postmark-example", "postmark-invoice", "postmark-password-reset",
    "postmark-password-reset-help", "postmark-receipt", "postmark-trial-expired", "postmark-trial-expiring",
    "postmark-user-invitation", "postmark-welcome",
]  # fmt: skip
TARGET = re.compile(r"""<a\s[^>]*href\s*=\s*["']((?:https?|mailto|tel):[^"']+)["']""", re.IGNORECASE)
CLIPPED = """for (const one of document.querySelectorAll('*'))
    if (one.getBoundingClientRect().height === 0 && getComputedStyle(one).overflow === 'hidden')
        one.style.display = 'none'"""
MJML = {
    "columns": """<mj-section><mj-column><mj-image alt="Harbour" src="https://example.com/h.png"
        href="https://example.com/h"/></mj-column><mj-column><mj-text>Two <b>columns</b></mj-text>
        <mj-button href="https://example.com/b">Read on</mj-button></mj-column></mj-section>""",
    "data": """<mj-section><mj-column><mj-table><tr><th>Year</th><th>Ships</th></tr><tr><td>1900</td><td>12</td></tr>
        </mj-table><mj-divider/><mj-text><a href="mailto:a@example.com">Write</a></mj-text></mj-column></mj-section>""",
    "widgets": """<mj-hero mode="fluid-height" background-width="600px" background-height="100px">
        <mj-text>On top</mj-text></mj-hero><mj-section><mj-column><mj-social><mj-social-element name="github" href="https://example.com/git">Code
        </mj-social-element></mj-social><mj-navbar hamburger="hamburger"><mj-navbar-link href="https://example.com/n">One
        </mj-navbar-link></mj-navbar></mj-column></mj-section>""",
}
MJML_TEXT = {
    "columns": "[Harbour] <https://example.com/h>\n\nTwo columns\n\nRead on <https://example.com/b>",
    "data": "Year  Ships\n1900  12\n\nWrite <mailto:a@example.com>",
    "widgets": "On top\n\nCode <https://example.com/git>\n\nOne <https://example.com/n>",
}


def text(markup: str) -> str:
    return "".join(lay_out([markup]))


def newsletter(name: str) -> str:
    path = CORPUS / f"{name}.html"
    if not path.exists():
        pytest.skip("no folder of newsletters beside the project, and none in MAILER_TEST_CORPUS")
    return path.read_text("utf-8")


def made_by_mjml(name: str) -> str:
    if shutil.which("node") is None or not (ROOT / "bench" / "node_modules" / "mjml").is_dir():
        pytest.skip("MJML is not installed: npm install --prefix bench")
    document = f"<mjml><mj-head><mj-preview>secret</mj-preview></mj-head><mj-body>{MJML[name]}</mj-body></mjml>"
    command = ["node", str(ROOT / "bench" / "mjml.mjs")]
    return subprocess.run(command, input=document.encode(), capture_output=True, check=True, timeout=60).stdout.decode()


@pytest.fixture(scope="module")
def desktop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """A browser with a wide window that loads nothing from the network."""
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        driver.set_window_size(1280, 900)
        driver.execute_cdp_cmd("Network.enable", {})
        driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["http://*", "https://*"]})
        yield driver


def seen(driver: webdriver.Chrome, markup: str, folder: Path) -> list[str]:
    """The words that a browser shows."""
    page = folder / "page.html"
    page.write_text(re.sub(r"@import[^;]*;|<link[^>]*>", "", markup), "utf-8")
    driver.get(page.as_uri())
    driver.execute_script(CLIPPED)  # which innerText does not know to be invisible
    return words(str(driver.execute_script("return document.body.innerText")))


def words(shown: str) -> list[str]:
    return re.findall(r"\w+", shown.casefold().replace("http://", ""))


def said(shown: str, alts: set[str]) -> list[str]:
    """The words of a text part without what it adds: targets, alternative texts, bullets and numbers."""
    shown = re.sub(r" ?<[a-z]+:[^<>\s]*>", "", shown)
    shown = re.sub(r"(?m)^ *\d+\. ", "", shown)
    for alt in alts:
        shown = shown.replace(f"[{alt}]", "")
    return words(shown)


def check(markup: str, driver: webdriver.Chrome, folder: Path) -> None:
    shown = text(markup)
    alts = {" ".join(alt.split()) for alt in re.findall(r'alt="([^"]+)"', markup)}

    assert said(shown, alts) == seen(driver, markup, folder)
    assert all(
        target.removeprefix("mailto:") in shown for target in TARGET.findall(re.sub(r"(?s)<!--.*?-->", "", markup))
    )
    assert all(line == line.rstrip() for line in shown.split("\n"))
    assert "\n\n\n\n" not in shown
    targets = sum(map(len, re.findall(r"<[a-z]+:[^<>\s]*>", shown)))
    assert len(shown) <= 1.5 * (len(" ".join(said(shown, alts))) + targets + sum(map(len, alts)) * 5) + 200


@pytest.mark.parametrize("name", NAMES)
def test_text_of_a_newsletter_has_the_words_that_a_browser_shows(
    name: str, desktop: webdriver.Chrome, tmp_path: Path
) -> None:
    check(newsletter(name), desktop, tmp_path)


@pytest.mark.parametrize("name", MJML)
def test_text_of_what_mjml_makes_has_the_words_that_a_browser_shows(
    name: str, desktop: webdriver.Chrome, tmp_path: Path
) -> None:
    check(made_by_mjml(name), desktop, tmp_path)


@pytest.mark.parametrize("name", MJML)
def test_text_of_what_mjml_makes_is_this(name: str) -> None:
    assert text(made_by_mjml(name)).strip() == MJML_TEXT[name]


def test_text_of_a_newsletter_is_this() -> None:
    assert text(newsletter("leemunroe-email-inlined")) == (
        "Hi there\n\n"
        "Sometimes you just want to send a simple HTML email with a simple design and clear call to action. "
        "This is it.\n\n"
        "Call To Action <http://htmlemail.io>\n\n"
        "This is a really simple email template. It's sole purpose is to get the recipient to click the button with no "
        "distractions.\n\n"
        "Good luck! Hope it works.\n\n"
        "Company Inc, 7-11 Commercial Ct, Belfast BT1 2NB\n"
        "Don't like these emails? Unsubscribe <http://htmlemail.io/blog>.\n\n"
        "Powered by http://htmlemail.io\n"
    )


def test_text_of_a_receipt_has_its_rows() -> None:
    shown = text(newsletter("postmark-receipt"))

    assert "Description      Amount\n{{description}}  {{amount}}\nTotal            {{total}}\n" in shown
    assert "This is a receipt for your recent purchase" not in shown  # its preview text
