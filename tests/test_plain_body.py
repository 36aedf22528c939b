"""A plain text body: what is one, what it becomes in both parts, and where its addresses end."""

from __future__ import annotations

import html

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.messages.bodies import LINK, compile_bodies
from mailer.messages.html_part.markup import is_html

SITE = {"Site_Name": "A&B", "Site_URL": "https://mail.example.org"}
GO = "https://mail.example.org/u/1"


def parts(body: str, header: str = "", footer: str = "") -> tuple[str, str]:
    """The text and the markup, with the link in them and other gaps in braces."""
    bodies = compile_bodies(header, body, footer, SITE)
    shown = [
        "".join([(GO if part == LINK else f"{{{part}}}") if place % 2 else part for place, part in enumerate(cut)])
        for cut in (bodies.text, bodies.html)
    ]
    return shown[0], shown[1]


def link(url: str) -> str:
    return f'<a href="{html.escape(url)}">{html.escape(url)}</a>'


def mail(address: str) -> str:
    return f'<a href="mailto:{address}">{address}</a>'


@pytest.mark.parametrize(
    "body",
    [
        "Read: <https://example.com/x>",
        "Help <help@example.com>",
        "<mailto:help@example.com>",
        "if a <b then",
        "if a <b and c> d, or a <i",
        "vector<int> and Map<K, V>",
        "Dear <Name>, <name>, <first name>",
        "R&D; Q&A; R&amp;D",
        "a lone <title>, <address>, <time> or <link>, <section> in a letter",
        "<time for lunch>",
        "<a name>",
        "</name> and </ p>",
        "a <- b -> c <-- d --> e <= f",
        "<a href=x",
        "<?xml version='1.0'?>",
        "<[unsubscribe]>",
        "<!",
        "<b.lee@example.com>",
        "1 < 2 > 0",
        "if (i<p && q>0)",
        "x <li of y> z",
        "",
    ],
)
def test_text_that_only_looks_like_html_is_plain(body: str) -> None:
    assert not is_html(body)


@pytest.mark.parametrize(
    "body",
    [
        "<!DOCTYPE html>x", "a <!-- b --> c", "x</b>", "X</B >", "</center>", "</o:p>", "a<br>b", "<BR/>", "<br />",
        "<hr>", "<p>x", "<li>x", "<td>x", "<img src=x>", '<a href="x">', "<A\nHREF='x'>", "<font color=red>x",
        "<div style='x'>", "<span data-x=1>", "<b onclick=x>", "<p hidden>", "<details open>", "if a <b then\nc<br>",
        "<title>a</title>", "<link rel=x>", "<v:roundrect href='x'>",
    ],
)  # fmt: skip
def test_html_is_told_by_what_nobody_writes_by_chance(body: str) -> None:
    assert is_html(body)


@pytest.mark.parametrize(
    ("body", "markup"),
    [
        pytest.param("Read: <https://example.com/x>.", f"Read: &lt;{link('https://example.com/x')}&gt;.", id="angle"),
        pytest.param("Help <help@example.com>", f"Help &lt;{mail('help@example.com')}&gt;", id="mail"),
        pytest.param("a <b then vector<int>", "a &lt;b then vector&lt;int&gt;", id="signs"),
        pytest.param("<[unsubscribe]>", f"&lt;{link(GO)}&gt;", id="link in brackets"),
        pytest.param("Leave: [unsubscribe].", f"Leave: {link(GO)}.", id="link in a sentence"),
        pytest.param("https://[unsubscribe]", link(GO), id="link after a scheme"),
        pytest.param("[UNSUBSCRIBE]", "[UNSUBSCRIBE]", id="no placeholder"),
        pytest.param("(see https://x.org/a_(b)).", f"(see {link('https://x.org/a_(b)')}).", id="parentheses"),
        pytest.param('"https://x.org", https://y.org!',
                     f"&quot;{link('https://x.org')}&quot;, {link('https://y.org')}!", id="punctuation"),
        pytest.param("“https://x.org/a” «https://x.org/b»", f"“{link('https://x.org/a')}” «{link('https://x.org/b')}»",
                     id="typographic quotes"),
        pytest.param("'https://x.org/a'", f"&#x27;{link('https://x.org/a')}&#x27;", id="single quotes"),
        pytest.param("[https://x.org/a] {https://x.org/b}", f"[{link('https://x.org/a')}] {{{link('https://x.org/b')}}}",
                     id="brackets"),
        pytest.param("**https://x.org/a** https://x.org/…", f"**{link('https://x.org/a')}** {link('https://x.org/')}…",
                     id="stars and an ellipsis"),
        pytest.param("请看https://例え.jp/テスト。谢谢", f"请看{link('https://例え.jp/テスト')}。谢谢",
                     id="international"),
        pytest.param("HTTPS://X.org/A", link("HTTPS://X.org/A"), id="capitals"),
        pytest.param("http://localhost:8000/a http://[::1]/b",
                     f"{link('http://localhost:8000/a')} {link('http://[::1]/b')}",
                     id="hosts"),
        pytest.param("https:// http://. xhttps://x.org", "https:// http://. xhttps://x.org", id="no addresses"),
        pytest.param("mail o'neil@x.org, ann@müller.de; not a@b",
                     "mail <a href=\"mailto:o%27neil@x.org\">o&#x27;neil@x.org</a>, "
                     '<a href="mailto:ann@m%C3%BCller.de">ann@müller.de</a>; not a@b', id="mail addresses"),
        pytest.param("R&D@x.org x@y.org@z.org", "R&amp;D@x.org x@y.org@z.org", id="no mail addresses"),
        pytest.param("mailto:ann@x.org?subject=x", f"mailto:{mail('ann@x.org')}?subject=x", id="mailto"),
        pytest.param("[fname]@x.org ann@x.[name]", "{fname}@x.org ann@x.{name}", id="addresses with gaps"),
        pytest.param("https://u:p@x.org/", link("https://u:p@x.org/"), id="login in a URL"),
        pytest.param("a\nb\r\nc\rd", "a<br>\nb<br>\nc<br>\nd", id="line ends"),
        pytest.param("  a   b\n c d ", "&nbsp;&nbsp;a&nbsp;&nbsp; b<br>\n&nbsp;c d ", id="blanks"),
        pytest.param("a\tb\n\tc", "a&nbsp;&nbsp;&nbsp;&nbsp;&nbsp;&nbsp; b<br>\n" + "&nbsp;" * 8 + "c", id="tabs"),
        pytest.param("[Site_Name]: [Site_URL].", f"A&amp;B: {link('https://mail.example.org')}.", id="site"),
        pytest.param("[Site_URL]/a?n=[name]",
                     link("https://mail.example.org/a?n={name in URL}"),
                     id="a URL on the site"),
    ],
)  # fmt: skip
def test_markup_of_a_plain_body(body: str, markup: str) -> None:
    assert parts(body)[1] == markup


@pytest.mark.parametrize(
    ("body", "text", "markup"),
    [
        pytest.param("R&amp;D &copy; &#8364; &#x20AC; &lt;b&gt;", "R&D © € € <b>", "R&amp;D © € € &lt;b&gt;",
                     id="known"),
        pytest.param("R&D; &foo; &copy 2024 AT&T &;", "R&D; &foo; &copy 2024 AT&T &;",
                     "R&amp;D; &amp;foo; &amp;copy 2024 AT&amp;T &amp;;", id="unknown or without an end"),
        pytest.param("&amp;lt; &#91;name&#93;", "&lt; [name]", "&amp;lt; [name]", id="read once"),
        pytest.param("https://x.org/?a=1&copy=2&amp;b=3&copy;4 x", "https://x.org/?a=1&copy=2&amp;b=3&copy;4 x",
                     link("https://x.org/?a=1&copy=2&amp;b=3&copy;4") + " x", id="not inside a URL"),
        pytest.param("&lt;https://x.org/a&gt;,x", "<https://x.org/a>,x", f"&lt;{link('https://x.org/a')}&gt;,x",
                     id="brackets around a URL"),
        pytest.param("&quot;https://x.org/a&quot; https://x.org/b&gt;.", '"https://x.org/a" https://x.org/b>.',
                     f"&quot;{link('https://x.org/a')}&quot; {link('https://x.org/b')}&gt;.", id="quotes around a URL"),
        pytest.param("&lt;ann@x.org&gt;", "<ann@x.org>", f"&lt;{mail('ann@x.org')}&gt;", id="brackets around mail"),
    ],
)  # fmt: skip
def test_character_references_in_a_plain_body_keep_their_meaning(body: str, text: str, markup: str) -> None:
    assert parts(body) == (text, markup)


@pytest.mark.parametrize(
    "body",
    ["a\n\n\n\nb", "col 1    col 2\n---      ---\nx\ty", "  lead\n\n", "\n\n", "trailing  \nx", "> quoted\n-- \nsig"],
)
def test_text_part_of_a_plain_body_is_the_text_as_it_stands(body: str) -> None:
    assert parts(body)[0] == body


def test_value_in_a_bare_url_is_encoded_in_both_parts() -> None:
    url = "https://x.org/?n=[name]&u=[unsubscribe]&s=[Site_URL]&t=[Site_Name]"
    filled = "https://x.org/?n={name in URL}&u={unsubscribe in URL}&s=https%3A%2F%2Fmail.example.org&t=A%26B"

    assert parts(f"Go: {url}. [unsubscribe]") == (f"Go: {filled}. {GO}", f"Go: {link(filled)}. {link(GO)}")


def test_header_and_footer_stand_around_a_plain_body_in_both_parts() -> None:
    text, markup = parts("a  <b\n[unsubscribe]", "<h1>[Site_Name]</h1>", "<p>Bye")

    assert text == f"A&B\n\na  <b\n{GO}\n\nBye\n"
    assert markup == f"<h1>A&amp;B</h1>a&nbsp; &lt;b<br>\n{link(GO)}<p>Bye"


@given(st.text(alphabet="ab<>&;/:@.[]()'\" \n\thttps://x.org[name]", max_size=60))
def test_markup_of_any_plain_body_shows_the_same_words(body: str) -> None:
    if is_html(body):
        return
    text, markup = parts(body)

    shown = html.unescape("".join(piece.partition(">")[2] if piece.startswith(("a href", "/a", "br>")) else "<" + piece
                                  for piece in ("x>" + markup).split("<"))[1:].removeprefix("x>"))  # fmt: skip
    assert shown.split() == html.unescape(text).split() or "&" in body


@pytest.mark.slow
@pytest.mark.parametrize(
    "piece",
    ["https://x.org/((((", "https://x.org/&gt;", "a@b.org ", "a@", "a.", "((", "&lt;https://x&gt", "http://", "  ",
     "\t",
     "[Site_URL]", "https://x.org/?a=[name]", "<", "&#", "o'"],
)  # fmt: skip
def test_a_long_plain_body_is_compiled_in_linear_time(piece: str) -> None:
    assert parts(piece * 50_000)  # if it is not linear, the test's time limit fails it


@pytest.mark.parametrize("mark", "،؛؟।。！")
def test_url_ends_before_the_punctuation_of_any_script(mark: str) -> None:
    assert compile_bodies("", f"x https://example.com/a{mark} y", "", {}).html == [
        f"x {link('https://example.com/a')}{mark} y"
    ]


def test_run_of_blanks_is_no_wider_than_any_line() -> None:
    text, markup = parts("a" + "\t" * 100_000 + "b")

    assert text == "a" + "\t" * 100_000 + "b"
    assert len(markup) < 2000
