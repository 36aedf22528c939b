"""`inlineCss`: style sheets in style attributes, from the POST to the message, and nothing else in it changed."""

from __future__ import annotations

import email
import email.policy
import re
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from mailer.campaigns.draft import Draft
from mailer.messages.addresses import Mailbox
from mailer.messages.inlining.inlined import inlined
from mailer.messages.inlining.marked_copy import TooMuch
from mailer.messages.layout import TemplateSource
from mailer.messages.recipient import Recipient
from mailer.messages.template import UnusableText, compile_message
from mailer.storage.database import Database
from mailer.storage.models import Campaign
from tests.calling import calling
from tests.service import PAYLOAD
from tests.test_plaintext_newsletters import NAMES, newsletter

BODY = "<style>p { color: red }</style><p>Hello [name] <a href='[unsubscribe]'>leave</a></p>"
INLINED = BODY.replace("<p>", '<p style="color:red">')
ANN = Recipient("u1", 'Ann "A" Lee', "ann@example.org")
SOURCE = TemplateSource("c1", Mailbox("", "n@example.org"), "Hello", BODY, "Site", "https://mail.example.org")
STYLE_ATTRIBUTE = re.compile(r"""\sstyle=("[^"]*"|'[^']*')""")


def html_of(source: TemplateSource) -> str:
    content = compile_message(source).render(ANN, "https://mail.example.org/u", 1_700_000_000_000).content
    part = email.message_from_bytes(content, policy=email.policy.default).get_body(("html",))
    assert part is not None
    return str(part.get_content())


# --- what is inlined --------------------------------------------------------------------------------------------------


QUOTES = """p{font-family:"A 'B",'C'}"""
CASES = {
    "an element": ("p{color:red}", "<p>", '<p style="color:red">'),
    "a tag stays as it is": ("p{color:red}", "<P CLASS=x >", '<P style="color:red" CLASS=x >'),
    "the author's own wins": ("p{color:red}", '<p style="top:0">', '<p style="color:red;top:0">'),
    "single quotes": ("p{color:red}", "<p style='top:0; '>", "<p style='color:red;top:0'>"),
    "no quotes": ("p{color:red}", "<p style=top:0>", '<p style="color:red;top:0">'),
    "important": ("p{a:b!important}", "<p style='a:c'>", "<p style='a:c;a:b'>"),
    "the cascade": ("p{a:b}.x{a:c}#y{a:d}p{a:e}", "<p class=x id=y>", '<p style="a:d" class=x id=y>'),
    "a fallback": ("p{color:red;color:no-such()}", "<p>", '<p style="color:red;color:no-such()">'),
    "quotes": (QUOTES, "<p>", '<p style="font-family:&quot;A &#x27;B&quot;,&quot;C&quot;">'),
    "a placeholder": ("p{a:url([Site_URL]/a.png)}", "<p>", '<p style="a:url([Site_URL]/a.png)">'),
    "placeholders": ("p{a:b}", '<p id="[name]" style="c:[fname]">', '<p id="[name]" style="a:b;c:[fname]">'),
    "states and parts": ("p:hover{a:b}p::before{a:b}p:visited{a:b}", "<p>", "<p>"),
    "a link": ("a:link{a:b}", '<a href="x">', '<a style="a:b" href="x">'),
    "conditions": ("@media(max-width:9px){p{a:b}}@supports(a:b){p{a:b}}", "<p>", "<p>"),
    "no condition": ("@media all{p{a:b}}", "<p>", '<p style="a:b">'),
    "a condition on it": ("p{padding:1px;a:b}@media(x){p{padding-left:0}}", "<p>", '<p style="a:b">'),
    "a condition that wins": ("p{a:b}@media(x){p{a:c!important}}", "<p>", '<p style="a:b">'),
    "a selector that is not known may win": ("p{a:b}:is(p){a:c}", "<p>", "<p>"),
    "a sheet that is not closed": ("p{a:b;p&{c:d}", "<p>", '<p style="a:b">'),
    "no sheet": ("}}{{;p{a:b}", "<p>", "<p>"),
    "a question about an attribute": ("p[style^=top]{a:b}p{c:d}", "<p style='top:0'>", "<p style='top:0'>"),
    "a question that is answered": ("p[style*=top]{a:b}", "<p style='top:0'>", "<p style='a:b;top:0'>"),
    "a question that would be answered": ("@media(x){p[style*=d]{a:b}}p{c:d}", "<p>", "<p>"),
}


@pytest.mark.parametrize("case", CASES)
def test_tag_gets_what_the_sheet_says_of_it(case: str) -> None:
    sheet, tag, expected = CASES[case]

    assert inlined(f"<style>{sheet}</style>{tag}x") == f"<style>{sheet}</style>{expected}x"


@pytest.mark.parametrize("name", NAMES)
def test_newsletter_changes_in_its_style_attributes_alone(name: str) -> None:
    source = newsletter(name)
    made = inlined(source)

    assert STYLE_ATTRIBUTE.sub("", made) == STYLE_ATTRIBUTE.sub("", source)
    assert made != source or name == "leemunroe-email-inlined"  # it has nothing but media queries


@pytest.mark.parametrize(
    "kept",
    [
        "<!--[if mso]><p><table><tr><td><![endif]-->",
        "<!--[if !mso]><!--><p style='color:red'>x</p><!--<![endif]-->",
        "<!--[if gte mso 9]><xml><o:PixelsPerInch>96</o:PixelsPerInch></xml><style>p{top:0}</style><![endif]-->",
        "<!-- p -->",
        "<![if !mso]><b>x</b><![endif]>",
        "<title>[Site_Name] &amp; <p></title>",
        "<script>if (a<p>b) {}</script>",
        "<textarea><p></textarea>",
        "<link rel=stylesheet href='https://example.org/x.css'>",
    ],
)
def test_what_is_no_tag_of_the_document_stays(kept: str) -> None:
    source = f"<!DOCTYPE html><style>p{{color:red}}</style>{kept}<p>x"

    assert kept in inlined(source) or kept in inlined(source).replace("color:red;color:red", "color:red")
    assert inlined(source).endswith('<p style="color:red">x')


@given(st.text(st.sampled_from("<>/=\"' pabstyle{}:;!-[]#.x\n"), max_size=80))
def test_any_markup_keeps_all_but_style_attributes(noise: str) -> None:
    source = f"<style>p{{color:red}} a{{top:0}}</style>{noise}<p>x"

    made = inlined(source)

    rest = iter(made)
    assert all(character in rest for character in source if character not in "; \n\"'")  # in this order
    assert inlined(noise.replace("style", "")) == noise.replace("style", "")


def test_nothing_is_loaded_from_elsewhere(tmp_path: Any) -> None:
    asked: list[bytes] = []

    class Recorder(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            asked.append(self.rfile.readline())

    sheet = tmp_path / "sheet.css"
    sheet.write_text("p { color: red }")
    with socketserver.TCPServer(("127.0.0.1", 0), Recorder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        site = f"http://127.0.0.1:{server.server_address[1]}/x.css"
        links = "".join(f'<link rel="stylesheet" href="{one}">' for one in (site, sheet, sheet.as_uri(), "sheet.css"))
        imports = f"<style>@import '{site}'; @import url({sheet}); i{{top:0}}</style>"
        source = f"<head><base href='{site}'>{links}{imports}</head><p>x"
        made = inlined(source)
        server.shutdown()

    assert (made, asked) == (source, [])


# --- bounds -----------------------------------------------------------------------------------------------------------

HOSTILE = {
    "deep": "<style>p{a:b}</style>" + "<div>" * 100_000 + "<p>",
    "deep tables": "<style>p{a:b}</style>" + "<table><tr><td>" * 100_000 + "<p>",
    "repeated formatting": "<style>p{a:b}</style>" + "".join(f"<p><b id=a{n}>" for n in range(9_000)),
    "many tags": "<style>p{a:b}</style>" + "<p>x</p>" * 100_000,
    "many rules": "<style>" + "p{a:b}" * 10_000 + "</style>" + "<p>x</p>" * 1_000,
    "large values": f"<style>p{{a:{'b' * 10_000}}}</style>" + "<p>x</p>" * 1_000,
    "a large sheet": "<style>" + "p{a:b}" * 100_000 + "</style><p>",
}
SLOW = {
    "siblings": ("p ~ p ~ p ~ p ~ .x ~ p{a:b}" * 200, "<p>x</p>" * 4_000),
    "ancestors": ("div div div div .x div p{a:b}" * 200, ("<div>" * 200 + "<p>" * 12 + "</div>" * 200) * 10),
    "positions": ("p:nth-last-of-type(7n+3):nth-child(5n){a:b}" * 200, "<p>x</p>" * 4_000),
    "negations": ("p:not(.a):not(.b):not(.c){a:b}" * 50, "<p>x</p>" * 4_000),
    "brackets": ("p{a:" + "(" * 50_000 + "}" + "@media x{" * 5_000, "<p>"),
    "no tags": ("p{a:b}", "<style" * 50_000 + "<p " * 50_000),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_more_than_is_reasonable_is_refused_at_once(name: str) -> None:
    start = time.monotonic()

    with pytest.raises(TooMuch):
        inlined(HOSTILE[name])

    assert time.monotonic() - start < 5


@pytest.mark.parametrize("name", SLOW)
def test_what_is_slow_to_match_takes_a_bounded_time(name: str) -> None:
    start = time.monotonic()

    inlined("<style>{}</style>{}".format(*SLOW[name]))

    assert time.monotonic() - start < 5


# --- the message ------------------------------------------------------------------------------------------------------


def test_message_has_inlined_styles_and_its_placeholders_filled() -> None:
    made = html_of(replace(SOURCE, inline_css=True)).rstrip("\n")

    link = "<a href='https://mail.example.org/u'>leave</a>"
    assert made == f'<style>p {{ color: red }}</style><p style="color:red">Hello Ann &quot;A&quot; Lee {link}</p>'


def test_message_is_the_same_to_the_byte_where_it_is_not_asked_for() -> None:
    assert BODY.replace("[name]", "Ann &quot;A&quot; Lee").replace(
        "[unsubscribe]", "https://mail.example.org/u"
    ) == html_of(SOURCE).rstrip("\n")


def test_style_sheet_of_the_body_is_inlined_in_what_stands_around_it() -> None:
    made = html_of(replace(SOURCE, inline_css=True, header="<p>Above</p>", footer="<p>Below</p>"))

    assert [made.count(f'<p style="color:red">{word}') for word in ("Above", "Hello", "Below")] == [1, 1, 1]


def test_plain_text_is_left_alone() -> None:
    plain = replace(SOURCE, body="p { color: red } [unsubscribe]", header="<style>p{a:b}</style><p>Above</p>")

    assert html_of(replace(plain, inline_css=True)) == html_of(plain)


@pytest.mark.parametrize("name", NAMES[::4])
def test_text_part_of_a_newsletter_does_not_change(name: str) -> None:
    source = replace(SOURCE, body=newsletter(name) + "[unsubscribe]")
    before, after = (
        compile_message(one).preview(ANN, "https://mail.example.org/u")
        for one in (source, replace(source, inline_css=True))
    )

    assert after.text == before.text
    assert after.html != before.html or name == "leemunroe-email-inlined"


def test_row_whose_styles_cannot_be_inlined_is_sent_to_nobody() -> None:
    with pytest.raises(UnusableText, match="body: its styles cannot be inlined: the body has more than 256 elements"):
        compile_message(replace(SOURCE, body=BODY + HOSTILE["deep"], inline_css=True))


# --- the request ------------------------------------------------------------------------------------------------------


@pytest.fixture
def client(any_db: Database, add_users: Callable[..., Any]) -> Iterator[FlaskClient]:
    """A client that calls as the first of two users."""
    add_users(any_db, 2)
    with calling(any_db) as made:
        yield made


def asked(db: Database) -> list[bool | None]:
    with db.read() as connection:
        return list(connection.scalars(select(Campaign.inline_css)))


@pytest.mark.parametrize(
    ("given", "kept"),
    [({}, None), ({"inlineCss": True}, True), ({"inlineCss": "true"}, True), ({"inlineCss": "false"}, None)],
)
def test_campaign_keeps_what_was_asked_for(
    client: FlaskClient, any_db: Database, given: dict[str, Any], kept: bool | None
) -> None:
    answer = client.post("/api/v1/mailer", json={**PAYLOAD, "body": BODY, **given})
    said = client.get(f"{answer.headers['Location']}/message").json

    assert (answer.status_code, answer.json, asked(any_db)) == (200, {"success": True}, [kept])
    assert said is not None
    assert said["message"]["inlineCss"] is bool(kept)


def test_preview_shows_it(client: FlaskClient) -> None:
    payload = {name: value for name, value in PAYLOAD.items() if name != "dryrun"}
    answer = client.post("/api/v1/mailer/preview", json={**payload, "body": BODY, "inlineCss": True})

    assert answer.json is not None
    assert '<p style="color:red">' in answer.json["html"]


@pytest.mark.parametrize("path", ["", "/preview"])
def test_styles_that_cannot_be_inlined_are_refused_by_name(client: FlaskClient, any_db: Database, path: str) -> None:
    payload = {name: value for name, value in PAYLOAD.items() if name != "dryrun"}
    answer = client.post(f"/api/v1/mailer{path}", json={**payload, "body": BODY + HOSTILE["deep"], "inlineCss": True})

    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["details"]["field"] == "inlineCss"
    assert (
        "inlineCss: This cannot be done: the body has more than 256 elements inside each other" in answer.json["error"]
    )
    assert asked(any_db) == []


def test_neither_a_boolean_nor_its_word_is_refused(client: FlaskClient, any_db: Database) -> None:
    answer = client.post("/api/v1/mailer", json={**PAYLOAD, "inlineCss": "yes"})

    assert (answer.status_code, asked(any_db)) == (400, [])


def test_fingerprint_of_a_campaign_without_it_is_that_of_before() -> None:
    draft = Draft("News", "news@example.com", "Hi", "[unsubscribe]", {}, False)

    assert "inline_css" not in {name for name, value in draft.columns().items() if value is not None}
    assert replace(draft, inline_css=True).fingerprint() != draft.fingerprint()
