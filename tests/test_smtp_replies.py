from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.answers.replies import Reply, ReplyParser, ReplySyntaxError, without_addresses

PIECES = st.lists(st.integers(1, 40), min_size=1)


@given(sizes=PIECES)
def test_parser_takes_replies_in_any_pieces(sizes: list[int]) -> None:
    data = b"250-first\r\n250 2.0.0 last\r\n354\r\n250 \r\n421 4.3.2 a\x07b\n"
    parser, found = ReplyParser(), []

    for size in itertools.cycle(sizes):
        parser.feed(data[:size])
        data = data[size:]
        while (each := parser.next()) is not None:
            found.append(each)
        if not data:
            break

    assert found == [
        Reply(250, ("first", "2.0.0 last")),
        Reply(354, ("",)),
        Reply(250, ("",)),
        Reply(421, ("4.3.2 a b",)),
    ]
    assert parser.empty


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n",
        b"\r\n",
        b"199 too low\r\n",
        b"600 too high\r\n",
        b"250_x\r\n",
        b"2500\r\n",
        b"250-a\r\n251 b\r\n",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"2" * 5000,
        b"250 " + b"x" * 5000 + b"\r\n",
        b"250-x\r\n" * 1000,
    ],
    ids=lambda data: data[:12],
)
def test_parser_refuses_nonsense_and_floods(data: bytes) -> None:
    parser = ReplyParser()
    parser.feed(data)

    with pytest.raises(ReplySyntaxError):
        parser.next()


@given(st.binary(max_size=300))
def test_parser_never_fails_otherwise(data: bytes) -> None:
    parser = ReplyParser()
    parser.feed(data)
    try:
        while (found := parser.next()) is not None:
            assert 200 <= found.code < 600
    except ReplySyntaxError:
        pass


def test_reply_shows_code_and_text() -> None:
    found = Reply(550, ("5.1.1 no", "such user"))

    assert (str(found), found.enhanced) == ("550 5.1.1 no such user", "5.1.1")
    assert len(str(Reply(250, ("x" * 9000,)))) < 600


def test_addresses_are_taken_out() -> None:
    assert without_addresses("550 <ann@example.org>: no") == "550 <address> no"
