"""`make check-mail`: strangers' programs read one campaign's messages and find nothing wrong."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from bench.check_mail import samples
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
