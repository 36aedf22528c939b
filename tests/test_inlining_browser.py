"""Inlined CSS in a browser: real newsletters look the same as before, at two widths and with dark colours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver

from mailer.messages.inlining.inlined import inlined
from tests.conftest import chromium
from tests.test_plaintext_newsletters import NAMES, newsletter

pytestmark = pytest.mark.slow

WINDOWS = ((1280, "light"), (390, "light"), (390, "dark"))
LIKE_OTHERS = {
    *("cerberus-fluid", "konsav-general", "leemunroe-email-inlined"),
    *(one for one in NAMES if one.startswith("postmark-") and one != "postmark-example"),
}
STYLES = """document.getAnimations().forEach((one) => one.finish());  // the scheme has just changed
return [...document.querySelectorAll('body, body *')].map((one) => {
    const style = getComputedStyle(one), box = one.getBoundingClientRect();
    const said = [...style].map((name) => name + ':' + style.getPropertyValue(name));
    return [one.localName, box.x, box.y, box.width, box.height, ...said].join(';');
})"""
OVERRIDES = """<!DOCTYPE html><html><head><style>
    p { color: #010203; margin: 1px 2px; font: 14px/2 serif } p.a { margin-left: 30px !important; width: 100px }
    td { padding: 9px } a:link { color: green } a { color: red } #one.a { color: blue } b { color: purple !important }
    p:nth-child(odd) { border: 3px solid red } :is(b, i) { letter-spacing: 4px } b { letter-spacing: 1px }
    div[style*="color"] { margin: 5px } .x::before { content: "x" } p.late { color: teal; color: no-such(1) }
    @layer base { i { text-indent: 3px } } @supports (display: grid) { h2 { font-size: 9px } } h2 { font-size: 30px }
    @media (max-width: 600px) { p { font-size: 20px } td { padding: 0 !important } p.a { margin: 0 !important } }
    @media (prefers-color-scheme: dark) { p { color: #eee } .a { background: #111 } }
    </style><style media="(max-width: 600px)">h2 { color: orange }</style><style>h2 { color: black }</style></head>
    <body><p class="a" id="one" style="color: pink">One <b style="color: gold">bold</b> <i>italic</i></p>
    <p class="late x">Two <a href="https://example.com/">link</a> <a>anchor</a></p><div style="color:red">Three</div>
    <div>Four</div><h2>Five</h2><p><b><p><i>Six</b></i><table><tr><td>Seven<td>Eight</table></body></html>"""


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """A browser that loads nothing from the network."""
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        driver.execute_cdp_cmd("Network.enable", {})
        driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["http://*", "https://*"]})
        yield driver


def looks(driver: webdriver.Chrome, path: Path) -> dict[tuple[int, str], list[str]]:
    """Every computed style and the place of every element of a page, by width and colour scheme."""
    driver.get(path.as_uri())
    found = {}
    for width, scheme in WINDOWS:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        wanted = [{"name": "prefers-color-scheme", "value": scheme}]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wanted})
        found[width, scheme] = driver.execute_script(STYLES)
    return found


@pytest.mark.parametrize("name", [*(one for one in NAMES if one not in LIKE_OTHERS), "overrides"])
def test_inlined_document_looks_as_before(window: webdriver.Chrome, tmp_path: Path, name: str) -> None:
    source = OVERRIDES if name == "overrides" else newsletter(name)
    before, after = tmp_path / "before.html", tmp_path / "after.html"
    before.write_text(source, "utf-8")
    after.write_text(inlined(source), "utf-8")

    wanted, shown = looks(window, before), looks(window, after)

    for where, styles in wanted.items():
        differ = [
            (one[:60], set(one.split(";")) ^ set(other.split(";")))
            for one, other in zip(styles, shown[where], strict=True)
            if one != other
        ]
        assert not differ, (where, differ[:3])
    assert len({str(one) for one in wanted.values()}) > 1  # the widths do differ


def test_document_without_its_style_sheets_keeps_what_was_inlined(window: webdriver.Chrome, tmp_path: Path) -> None:
    source = re.sub(r"@(media|layer|supports) [^\n]*\n|<style media.*?</style>", "", OVERRIDES)
    before, after = tmp_path / "before.html", tmp_path / "after.html"
    before.write_text(source, "utf-8")
    after.write_text(re.sub(r"<style>.*?</style>", "", inlined(source), flags=re.DOTALL), "utf-8")

    colours = "return [...document.querySelectorAll('p, a, td')].map((one) => getComputedStyle(one).color)"
    window.get(before.as_uri())
    wanted = window.execute_script(colours)
    window.get(after.as_uri())

    assert window.execute_script(colours) == wanted
