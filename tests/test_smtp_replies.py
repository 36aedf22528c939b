from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.smtp_replies import (
    RULES,
    Phase,
    Reply,
    ReplyParser,
    ReplySyntaxError,
    Verdict,
    judge,
    without_addresses,
)

A, D, R, U, O = (  # noqa: E741
    Verdict.ACCEPTED,
    Verdict.DEFERRED,
    Verdict.REFUSED,
    Verdict.UNAVAILABLE,
    Verdict.OUT_OF_STEP,
)
MAIL, RCPT, DATA, END = Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.END


def reply(text: str) -> Reply:
    return Reply(int(text[:3]), (text[4:],))


@pytest.mark.parametrize(
    ("phase", "text", "verdict"),
    [
        (MAIL, "250 2.1.0 Ok", A),
        (MAIL, "550 5.7.1 not you", U),
        (MAIL, "451 4.1.8 <a@b>: Sender address rejected: Domain not found", U),
        (MAIL, "452 4.3.1 Insufficient system storage", U),
        (MAIL, "552 5.3.4 Message size exceeds fixed limit", R),
        (MAIL, "552 message too large", R),
        (MAIL, "553 5.6.7 address needs conversion", R),
        (MAIL, "530 5.7.0 Must issue a STARTTLS command first", U),
        (MAIL, "354 go on", O),
        (RCPT, "250 2.1.5 Ok", A),
        (RCPT, "251 will forward", A),
        (RCPT, "550 5.1.1 no such user", R),
        (RCPT, "500 5.3.0 Error: command failed", R),
        (RCPT, "501 5.1.3 bad address syntax", R),
        (RCPT, "450 4.2.0 Greylisted", D),
        (RCPT, "451 4.7.1 Greylisting in action", D),
        (RCPT, "452 4.2.2 mailbox full", D),
        (RCPT, "452 4.2.1 over quota", D),
        (RCPT, "552 5.2.2 mailbox full", R),
        (RCPT, "452 4.3.1 Insufficient system storage", U),
        (RCPT, "452 Insufficient system storage", U),
        (RCPT, "451 4.3.0 Temporary lookup failure", U),
        (RCPT, "454 4.7.0 Throttling failure: Maximum sending rate exceeded", U),
        (RCPT, "450 4.7.1 rate limit exceeded", U),
        (RCPT, "421 4.7.0 too much", U),
        (RCPT, "554 5.7.1 <h[1.2.3.4]>: Client host rejected: Access denied", U),
        (RCPT, "550 5.1.8 sender's domain", U),
        (RCPT, "554 5.7.1 Relay access denied", R),
        (RCPT, "503 5.5.1 Error: need MAIL command", U),
        (RCPT, "354 go on", O),
        (DATA, "354 go on", A),
        (DATA, "250 Ok", O),
        (DATA, "451 later", D),
        (DATA, "554 5.5.1 no valid recipients", R),
        (END, "250 2.0.0 queued", A),
        (END, "354 again", O),
        (END, "554 5.7.1 spam", R),
        (END, "552 5.3.4 too big", R),
        (END, "451 4.7.650 throttled", U),
        (END, "451 4.3.0 queue file write error", U),
        (END, "450 try later", D),
        (END, "421 closing", U),
    ],
    ids=lambda value: value.name if isinstance(value, Verdict | Phase) else value,
)
def test_judge(phase: Phase, text: str, verdict: Verdict) -> None:
    assert judge(phase, reply(text)) is verdict


def test_every_reply_has_a_verdict_that_fits_its_class() -> None:
    allowed = {2: {A, O}, 3: {A, O}, 4: {D, U}, 5: {R, U}}
    for phase, code in itertools.product(Phase, range(200, 600)):
        for detail in ("", *(f"{code // 100}.{subject}.{number}" for subject in range(8) for number in range(9))):
            verdict = judge(phase, Reply(code, (detail,)))

            assert verdict in allowed[code // 100], (phase, code, detail)
            assert (verdict is A) == (code == 354 if phase is DATA else 200 <= code < 300)


def test_every_rule_decides_something() -> None:
    texts = ("", "sender address rejected", "throttled")
    codes = (250, 354, 421, 450, 451, 452, 503, 530, 550, 552)
    details = ("", "5.1.8", "4.1.7", "5.3.4", "4.7.1", "4.7.0", "4.2.2")
    cases = itertools.product(Phase, codes, details, texts)

    used = {
        next(number for number, rule in enumerate(RULES) if rule.holds(phase, Reply(code, (f"{detail} {text}",))))
        for phase, code, detail, text in cases
    }

    assert used == set(range(len(RULES)))


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
