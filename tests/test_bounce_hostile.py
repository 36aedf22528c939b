"""Mails that are made to break a reader: whatever comes, it is read, and soon."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from mailer.bounces.formats.mime import MAX_DEPTH, MAX_PARTS, open_mail
from mailer.bounces.reading import MAX_SENT_TO, Mail, read
from mailer.bounces.report import Report
from mailer.text import is_one_line
from tests.drills import rounds

HEAD = b"Return-Path: <>\nFrom: MAILER-DAEMON@x.example\nTo: a@b.example\nSubject: failure notice\n"
SIZE = 2_000_000  # twice what is looked at
BOUNDED = 10.0  # seconds, on whatever machine; it takes a tenth of one


def filled(unit: bytes, head: bytes = HEAD + b"\n") -> bytes:
    return head + unit * (SIZE // len(unit))


NESTED = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (each, each) for each in range(1000))
STATUS = b"Final-Recipient: rfc822; a%d@b.example\nAction: failed\nStatus: 5.1.1\n\n"
MIXED = b"Content-Type: multipart/mixed; boundary=b\n\n"
REPORT = b"Content-Type: multipart/report; boundary=b\n\n"
DELIVERY = b"--b\nContent-Type: message/delivery-status\n\n"
HOSTILE = {
    "nothing": b"",
    "NUL": b"\0" * 100_000,
    "no header": b"\n\nfailure notice a@b.example",
    "no body": HEAD,
    "one line": b"x" * SIZE,
    "blank lines": b"\n" * SIZE,
    "blanks": filled(b" "),
    "at signs": filled(b"@"),
    "halves of addresses": filled(b"a@"),
    "addresses": filled(b"could not be delivered to <a@b.example>\n"),
    "many addresses": HEAD + b"\n" + b"".join(b"a%d@b.example\n" % each for each in range(50_000)),
    "angles": filled(b"<"),
    "quotes": filled(b'"'),
    "codes": filled(b"550 550-"),
    "phrases": filled(b"delivery "),
    "quoted headers": filled(b"To: a\n"),
    "headers": filled(b"From: a\nTo: b\nSubject: c\nMessage-ID: <d>\n\n"),
    "fields": b"a: b\n" * (SIZE // 5),
    "a long address": HEAD + b"\ncould not be delivered\n\n<" + b"a" * 64 + b"@" + b"b.bb" * 90 + b">: no\n",
    "a field": b"Subject: failure\n" + b" x\n" * (SIZE // 3),
    "encoded words": b"From: MAILER-DAEMON\nSubject: " + b"=?utf-8?q?a?= " * 100_000,
    "parts in parts": NESTED,
    "messages in messages": b"Content-Type: message/rfc822\n\n" * 1000,
    "the same boundary": MIXED + (b"--b\n" + MIXED) * 20_000,
    "parts": REPORT + (DELIVERY + STATUS % 1) * 20_000,
    "recipients": REPORT + DELIVERY + b"".join(STATUS % each for each in range(20_000)),
    "base64": HEAD + b"Content-Transfer-Encoding: base64\n\n" + b"QUJD=" * 1_000_000,
    "quoted-printable": HEAD + b"Content-Transfer-Encoding: quoted-printable\n\n" + b"=4" * 1_000_000,
    "HTML": HEAD + b"Content-Type: text/html\n\n" + b"<p &#x" * 1_000_000,
    "a status in JSON": b'From: a@amazonaws.com\n\n{"eventType": "Bounce", "bounce": '
    b'{"bouncedRecipients": [{"status": "a\\n\\u0000"}]}}',
    "JSON": b"From: a@sns.amazonaws.com\n\n" + b'{"notificationType":' * 100_000,
    "dates": HEAD + b"Date: Mon, 99 Foo 99999999999999999999 99:99:99 +999999999\n\nundelivered: <a@c.example>",
    "code points": REPORT + DELIVERY + b"Final-Recipient: utf-8; \\x{D800}\\x{110000}@b.example\n",
}
CHARSETS = [
    "utf-8",
    "idna",
    "punycode",
    "undefined",
    "unicode_escape",
    "utf-7",
    "zlib",
    "hz",
    "utf-32",
    "no",
    "\0",
    "ü",
]


def check(mail: Mail) -> None:
    """What a caller relies on."""
    assert mail.automatic or not mail.reports
    assert len(mail.reports) <= 100
    assert len(mail.sent_to) <= MAX_SENT_TO
    for each in mail.reports:
        check_report(each)


def check_report(report: Report) -> None:
    lines = (report.address or "", report.status, report.reply, report.campaign_id or "", report.message_id or "")
    assert all(is_one_line(line) and len(line) <= 600 for line in lines)
    assert re.fullmatch(r"|[245]\.\d{1,3}\.\d{1,3}", report.status)
    assert report.at is None or 0 <= report.at < 2**53


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_mail_is_read_in_bounded_time(raw: bytes) -> None:
    started = time.monotonic()

    check(read(raw))

    assert time.monotonic() - started < BOUNDED


@pytest.mark.parametrize("charset", CHARSETS, ids=ascii)
def test_any_charset_is_read(charset: str) -> None:
    head = HEAD + b"Content-Type: text/plain; charset=" + charset.encode("latin-1") + b"\n\n"

    check(read(head + b"could not be delivered to <a@c.example>\n\x1b$B%\xff+AAA-\xed\xa0\x80" * 1000))


def test_fifty_megabytes_take_no_longer() -> None:
    started = time.monotonic()

    (report,) = read(filled(b"could not be delivered to <a@c.example>\n") + b"x" * 50_000_000).reports

    assert report.address == "a@c.example"
    assert time.monotonic() - started < BOUNDED


def test_nesting_is_bounded() -> None:
    letter = open_mail(NESTED)

    assert len(letter.parts) <= MAX_PARTS
    assert MAX_DEPTH < 20


PIECES = st.sampled_from(
    [
        b"From: MAILER-DAEMON\n",
        b"Return-Path: <>\n",
        b"Subject: Undeliverable\n",
        b"\n",
        b"\n\n",
        b"\r\n",
        b"--b\n",
        b"--b--\n",
        b"Content-Type: multipart/report; boundary=b\n",
        b"Content-Type: message/delivery-status\n",
        b"Content-Type: message/feedback-report\n",
        b"Content-Type: message/rfc822\n",
        b"Content-Type: text/html\n",
        b"Content-Transfer-Encoding: base64\n",
        b"Final-Recipient: rfc822; a@c.example\n",
        b"Action: failed\n",
        b"Status: 5.1.1\n",
        b"Diagnostic-Code: smtp; 550 5.1.1 no\n",
        b"Feedback-Type: abuse\n",
        b"Message-ID: <a@b>\n",
        b"Date: Mon, 2 Jun 2025 10:00:00 +0000\n",
        b"could not be delivered\n",
        b"<a@c.example>: 550 no\n",
        b"\0",
        b"\xff",
        "ü".encode(),
        b"550-5.1.1 a\n550 5.1.1 b\n",
        b"--- Below this line is a copy of the message.\n",
        b'"',
        b" ",
        b"=?x?q?",
    ]
)


@pytest.mark.drill
@hypothesis(max_examples=rounds(300, 20_000))
@given(st.lists(PIECES | st.binary(max_size=20), max_size=40).map(b"".join))
def test_whatever_is_put_together_is_read(raw: bytes) -> None:
    check(read(raw))


@pytest.mark.drill
@hypothesis(max_examples=rounds(200, 20_000))
@given(st.binary(max_size=2000))
def test_any_octets_are_read(raw: bytes) -> None:
    check(read(raw))
    check(read(HEAD + raw))
