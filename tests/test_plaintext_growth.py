"""The work of making a text part grows as its source does, whatever the source: counted in calls, not in seconds."""

from __future__ import annotations

import sys
from types import FrameType

import pytest

from mailer.messages.text_part.plaintext import lay_out
from tests.drills import rounds

HOSTILE = {
    "nested": "<div>",
    "nested tables": "<table border=1><tr><td>x",
    "nested lists": "<ul><li>x",
    "nested quotations": "<blockquote>x",
    "nested links": "<object><a href=http://e.org/>",
    "unclosed formatting": "<font size={n}><p>",
    "unclosed formatting of one kind": "<b><p>",
    "unclosed links": "<a href=http://e.org/{n}>x<p>",
    "unmatched ends": "<span></b>",
    "crossed": "<b><i></b></i>",
    "signs": "<",
    "references": "&",
    "cells": "<td>x",
    "a row of cells": "<table border=1><td>x",
    "cells over columns": "<tr><td colspan=1000000 rowspan=65000>x<td>y",
    "rules": "<style>.a{n}{{display:none}}</style><p class=a{n}>x",
    "rules with ancestors": "<style>.a .b{{display:none}}</style><p class='a b'>x",
    "rules for many": "<style>.a{n},.b,p{{display:none}}</style><p class='a{n} b'>x",
    "broken styles": "<p style='display({{[' class=x>",
    "styles": "<p style='display:block;height:0;width:{n}px;overflow:clip'>",
    "Outlook's buttons": "<!--[if mso]><v:rect href='http://e.org'>x</v:rect><![endif]-->",
    "comments": "<!--[if ",
    "rulers": "x<hr>",
    "line ends": "<br>",
    "fillers": "&zwnj;&nbsp;",
    "quotation marks": "<q>",
    "ruby": "<ruby><rt>",
}


SMALL = rounds(200, 800)


def source(piece: str, count: int) -> str:
    start = "<table border=1><tr>" if "<td" in piece and "<table" not in piece else ""
    return start + "".join([piece.format(n=n) if "{" in piece else piece for n in range(count)]) + "end"


def work(markup: str) -> tuple[int, int]:
    """The calls that the text part of `markup` takes, and its length."""
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        segments = lay_out([markup])
    finally:
        sys.setprofile(None)
    return calls, sum(map(len, segments))


@pytest.mark.ci
@pytest.mark.drill
@pytest.mark.parametrize("piece", HOSTILE.values(), ids=HOSTILE.keys())
def test_work_and_length_grow_with_the_source(piece: str) -> None:
    small, large = source(piece, SMALL), source(piece, 8 * SMALL)

    (calls, length), (more_calls, more_length) = work(small), work(large)

    growth = len(large) / len(small)
    assert more_calls <= 1.6 * growth * calls
    assert more_length <= 1.6 * growth * length + 100
    assert more_length <= 6 * len(large)


def test_target_that_is_told_again_and_again_does_not_outgrow_its_source() -> None:
    first = f"<div><a href='http://e.org/{'z' * 20_000}'>x</a></div>"
    again = f"<div><a href='http://f.org'>y</a><a href='http://e.org/{'z' * 2_000}'>x</a></div>"
    markup = first + again * 50

    assert len("".join(lay_out([markup]))) <= 2 * len(markup)


@pytest.mark.slow
def test_a_hundred_thousand_unclosed_elements_are_read_to_the_end() -> None:
    assert "".join(lay_out(["<div><p><b>" * 33_000 + "end"])).strip() == "end"


@pytest.mark.slow
def test_a_megabyte_of_tags_is_read_without_a_tree() -> None:
    calls, _ = work("<p>" * 330_000 + "end")
    assert calls < 330_000 * 30  # a tree and its layout take many more
