"""`make check-mail`: strangers' programs read one campaign's messages and find nothing wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from bench import filters
from bench.check_mail import CASES, samples
from bench.strangers import STRANGERS, Sample, Stranger

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Sample]:
    return samples(tmp_path_factory.mktemp("check") / "outbox")


@pytest.fixture(scope="module", params=STRANGERS, ids=lambda stranger: stranger.name)
def stranger(request: pytest.FixtureRequest) -> Stranger:
    if needs := request.param.needs():
        pytest.skip(f"{request.param.name} is not installed here: {needs}")
    return request.param


def test_stranger_finds_no_defect_in_any_message(stranger: Stranger, made: Sequence[Sample]) -> None:
    found = stranger.read(made)

    assert {sample.name: defects for sample, defects in zip(made, found, strict=True) if defects} == {}


@cache
def bad_message() -> bytes:
    head = b"From: news@example.com\r\nTo: a@b.org, \r\nSubject: =?utf-8?b?Rmlyc3Q=?=\r\n"
    text = b"\r\n--x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nBUY VIAGRA $$$ click here\r\n"
    return (
        head
        + b'Content-Type: multipart/alternative; boundary="x"\r\n'
        + text
        + b"--x\r\nContent-Type: text/html\r\n\r\n<p>Other\r\n--x--\r\n"
    )


def test_stranger_notices_a_message_that_is_badly_made(stranger: Stranger, tmp_path: Path) -> None:
    file = tmp_path / "bad.eml"
    file.write_bytes(bad_message())

    [defects] = stranger.read([Sample("bad", file, "Another", "Another", "Another")])

    assert defects


@pytest.fixture(scope="module")
def rows() -> Sequence[filters.Row]:
    if missing := filters.needs():
        pytest.skip(f"not installed here: {missing}")
    return filters.compared({**CASES, **filters.corpus_cases()})


def test_filters_say_what_the_page_has_and_nothing_about_how_messages_are_made(rows: Sequence[filters.Row]) -> None:
    assert filters.objections(rows) == []
    assert all(row.ours.score < row.theirs.score for row in rows)


def test_page_has_every_newsletter(rows: Sequence[filters.Row]) -> None:
    known = filters.corpus_cases()
    if not known:
        pytest.skip(f"{filters.CORPUS} is not here")
    assert [*filters.on_page()] == [*CASES, *known]


def test_worse_figure_and_a_symbol_are_objected_to(rows: Sequence[filters.Row]) -> None:
    good = rows[0]
    worse = replace(good, ours=good.ours._replace(score=-0.9, rules={"MISSING_MID": 0.1}))
    marked = replace(good, ours=good.ours._replace(symbols=("MIME_HTML_ONLY",)))

    said = [filters.objections([row])[0] for row in (worse, marked, replace(good, name="another"))]

    assert [one.partition(":")[2].split(",")[0] for one in said] == [
        " SpamAssassin -0.900",
        " rspamd says MIME_HTML_ONLY",
        f" is not in {filters.PAGE.name}",
    ]
