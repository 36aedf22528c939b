from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.messages.placeholders import NAMES, unknown_placeholders


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("[fnam]", "fname"),
        ("[Fname]", "fname"),
        ("[FNAME]", "fname"),
        ("[fname ]", "fname"),
        ("[ fname]", "fname"),
        ("[f_name]", "fname"),
        ("[first name]", "fname"),
        ("[First_Name]", "fname"),
        ("[firstname]", "fname"),
        ("[fname|there]", "fname"),
        ("[fname, friend]", "fname"),
        ("[<b>fname</b>]", "fname"),
        ("[f<span style='color:red'>name</span>]", "fname"),
        ("[nmae]", "name"),
        ("[username]", "name"),
        ("[surname]", "lname"),
        ("[Last Name]", "lname"),
        ("[emial]", "email"),
        ("[e-mail]", "email"),
        ("[E-Mail Address]", "email"),
        ("[unsubscibe]", "unsubscribe"),
        ("[Unsubscribe]", "unsubscribe"),
        ("[unsubscribe link]", "unsubscribe"),
        ("[unsubscribe_url]", "unsubscribe"),
        ("[site_name]", "Site_Name"),
        ("[SiteURL]", "Site_URL"),
        ("[company]", None),
        ("[prénom]", None),
    ],
)
def test_word_that_is_no_placeholder_is_named_with_the_nearest(text: str, nearest: str | None) -> None:
    assert unknown_placeholders(f"Hi {text}, [unsubscribe]") == [(text[1:-1], nearest)]


@pytest.mark.parametrize(
    "text",
    [
        *(pytest.param(f"[{name}]", id=name) for name in NAMES),
        pytest.param("[1] [12] [a] [x] [ ] [] [...] [3.4] [sic] ann [at] example [dot] org", id="signs of writing"),
        pytest.param("[RSVP] [URGENT] [News] [EXTERNAL] [Berlin office]", id="prefixes"),
        pytest.param("[A long remark of the editor, in brackets]", id="remark"),
        pytest.param("[[name]] [na[name]me]", id="brackets around a placeholder"),
        pytest.param("<!--[if mso]><table><![endif]--><!--[if !mso]><!--><b>x</b><!--<![endif]-->", id="conditions"),
        pytest.param("<!--[if (gte mso 9)|(IE)]>x<![endif]--><![if !mso]>y<![endif]>", id="more conditions"),
        pytest.param("<style>a[href], input[type=text], div[owa] {}</style>", id="style sheet"),
        pytest.param("<STYLE>u[class]{}</STYLE >", id="style sheet in capitals"),
        pytest.param("<style>a[owa]{}", id="style sheet without an end"),
        pytest.param("<script>a[index] = b[names]</script>", id="script"),
        pytest.param("<!-- [todo] --><!-- [draft]", id="comments"),
        pytest.param("http://[::1]/ https://[fe80::1]:8000/", id="address literals"),
        pytest.param("<![CDATA[x]]>", id="CDATA"),
    ],
)
def test_what_is_no_misspelt_placeholder_is_not_named(text: str) -> None:
    assert unknown_placeholders(text) == []


def test_what_only_outlook_shows_is_looked_at_too() -> None:
    button = "<!--[if mso]><v:roundrect href='[unsubscibe]'>[fnam]</v:roundrect><![endif]-->"

    assert unknown_placeholders(button) == [("unsubscibe", "unsubscribe"), ("fnam", "fname")]


def test_words_of_subject_and_body_are_named_once_and_in_order() -> None:
    assert unknown_placeholders("[nam]", "[city] [nam] [city] [name]") == [("nam", "name"), ("city", None)]


@given(st.text(), st.sampled_from(NAMES))
def test_placeholders_are_never_named(text: str, name: str) -> None:
    assert name not in dict(unknown_placeholders(f"{text}[{name}]{text}"))


@pytest.mark.parametrize("text", ["[", "[<", "<!--", "<style>", "[a <b", "[a]", "<![if ", "<!--[if "])
def test_a_long_body_of_anything_is_searched_in_no_time(text: str) -> None:
    unknown_placeholders(text * 200_000)  # the test's time limit fails it if this is not linear
