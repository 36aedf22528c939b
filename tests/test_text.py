"""The rules about characters: which text fits where, at the edges of every range."""

import re

import pytest

from mailer import text

LINE_ENDS = ["\n", "\r", "\t", "\x01", "\x1f", "\x7f", "\x85", "\x9f", "\u2028", "\u2029"]
UNSTORABLE = ["\0", "\ud800", "\udbff", "\udc00", "\udfff"]
FINE = ["", "a b", "é", "~", "\xa0", "\ud7ff", "\ue000", "\u200d", "😀"]


@pytest.mark.parametrize("sign", [*FINE, *LINE_ENDS])
def test_what_both_databases_can_keep_is_storable(sign: str) -> None:
    assert text.is_storable(f"a{sign}b")


@pytest.mark.parametrize("sign", UNSTORABLE)
def test_nul_and_half_a_surrogate_pair_are_not_storable(sign: str) -> None:
    assert not text.is_storable(f"a{sign}b")


@pytest.mark.parametrize("sign", FINE)
def test_what_a_header_may_hold_is_one_line_and_stays_as_it_is(sign: str) -> None:
    assert text.is_one_line(f"a{sign}b")
    assert text.one_line(f"a{sign}b") == f"a{sign}b"


@pytest.mark.parametrize("sign", [*LINE_ENDS, *UNSTORABLE])
def test_what_no_header_may_hold_becomes_one_blank(sign: str) -> None:
    assert not text.is_one_line(f"a{sign}b")
    assert text.one_line(f"a{sign}{sign}b") == "a b"


@pytest.mark.parametrize(
    ("value", "fits"), [("", True), ("a b~", True), ("é", False), ("a\nb", False), ("\x7f", False)]
)
def test_an_http_header_holds_printable_ascii(value: str, fits: bool) -> None:
    assert text.is_http_header_value(value) is fits


def test_what_nobody_sees_is_one_class_of_characters() -> None:
    unseen = re.compile(text.INVISIBLE_CLASS)

    assert all(map(unseen.fullmatch, " \t\0\x80\xa0\xad\u200b\u2003\u2028\u2060\u3000\u3164\ufeff"))
    assert not any(map(unseen.search, ("a", "=", "é", "-", "👍")))
