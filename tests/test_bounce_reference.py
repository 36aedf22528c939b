"""docs/reference/bounces.md says what the code does: each table of phrases, rules and types of feedback."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mailer.bounces.formats import automatic, delivery_status, feedback, phrases, returned, verdict
from mailer.bounces.formats.mime import MAX_DEPTH, MAX_PARTS, MAX_SIZE
from mailer.bounces.formats.phrases import Phrase, compile_rows

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "bounces.md"
TABLES = {
    "Not delivered": phrases.FAILURES,
    "Still being tried": phrases.DELAYS,
    "Given up for now": phrases.EXPIRED,
    "The returned message follows": returned.MARKERS,
    "Auto-replies": automatic.AUTO_REPLIES,
    "Challenges": automatic.CHALLENGES,
}
ROWS = [(title, row) for title, rows in TABLES.items() for row in rows]


def section(title: str) -> str:
    return re.split(r"^#+ ", PAGE.read_text("utf-8").split(f"# {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


@pytest.mark.parametrize(("title", "row"), ROWS, ids=[f"{title}-{row.example}" for title, row in ROWS])
def test_a_phrase_is_found_in_its_example_and_is_documented(title: str, row: Phrase) -> None:
    assert compile_rows([row]).search(row.example)
    assert f"| {row.source} | {row.example} |" in section(title)


@pytest.mark.parametrize("title", TABLES)
def test_a_table_of_phrases_has_no_other_row(title: str) -> None:
    assert len(re.findall(r"^\| ", section(title), re.MULTILINE)) == len(TABLES[title]) + 1


def test_the_rules_before_the_table_of_replies_are_documented() -> None:
    rows = re.findall(r"^\| (address|mailbox|message|sender|rate|transport) \| (.+) \|$", PAGE.read_text("utf-8"), re.M)

    assert rows == [(rule.about.value, rule.source) for rule in verdict.RULES]


def test_actions_types_and_bounds_are_documented() -> None:
    text = section("What is recognised")

    assert all(f"`{each}`" in text for each in delivery_status.NO_BOUNCE)
    assert all(f"`{each}`" in text for each in (*feedback.COMPLAINTS, "not-spam", "auth-failure", "dmarc"))
    assert (MAX_SIZE, MAX_DEPTH, MAX_PARTS) == (1 << 20, 8, 64)
