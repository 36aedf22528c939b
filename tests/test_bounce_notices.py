"""Bounces in free words, each written here after the manner of a system, and mails that must not be taken for one."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailer.bounces.reading import read
from mailer.bounces.report import Kind

BO = "bo@example.org"
RETURNED = (
    "Return-Path: <bounce@list.example>\nFrom: News <news@list.example>\nTo: Bo <bo@example.org>\n"
    "Subject: Our news\nDate: Mon, 2 Jun 2025 10:00:00 +0000\n"
    "Message-ID: <0197300000aabbccddeeff0.0123456789abcdef0123@list.example>\n"
)


def mail(text: str, sender: str = "MAILER-DAEMON@mx.example.net", subject: str = "Your mail", more: str = "") -> bytes:
    head = f"Return-Path: <>\nDelivered-To: bounce+token@list.example\nFrom: {sender}\nTo: bounce+token@list.example\n"
    head += f"Subject: {subject}\nDate: Mon, 2 Jun 2025 12:00:00 +0200\n{more}"
    return f"{head}\n{text}".encode()


def notices() -> list[tuple[str, str, str, str]]:
    """Each of the file: the system's name, its text, whom it is about, and `hard` or `soft`."""
    blocks = (Path(__file__).parent / "bounce_notices.txt").read_text("utf-8").split("\n=== ")[1:]
    heads_and_texts = [block.partition("\n")[::2] for block in blocks]
    return [
        (*head.split(" | ")[:1], text.replace("{returned}", RETURNED), *head.split(" | ")[1:])
        for head, text in heads_and_texts
    ]


@pytest.mark.parametrize(
    ("text", "about", "hardness"), [row[1:] for row in notices()], ids=[row[0] for row in notices()]
)
def test_a_notice_in_free_words_is_read(text: str, about: str, hardness: str) -> None:
    found = read(mail(text))

    assert [each.address for each in found.reports] == [BO]
    report = found.reports[0]
    assert (report.kind, report.about, report.permanent) == (Kind.BOUNCED, about, hardness == "hard")
    assert report.sent_to[0] == "bounce+token@list.example"
    assert found.sent_to == ("bounce+token@list.example",)
    assert found.automatic


NO_NOTICES = {
    "a person": mail(f"I could not be delivered to {BO}, sorry!", "Bo <bo@example.org>", "Re: Our news"),
    "a person who forwards one": mail(
        f"> <{BO}>: 550 5.1.1 user unknown\n> could not be delivered", "Al <al@example.com>", "Fwd: Undelivered mail"
    ).replace(b"Return-Path: <>", b"Return-Path: <al@example.com>"),
    "a person who writes of failures": mail(
        f"Undelivered mail to {BO}? I have the same problem.", "Al <al@example.com>", "Undelivered mail"
    ).replace(b"Return-Path: <>", b"Return-Path: <al@example.com>"),
    "a vacation note": mail(
        f"I am away. Mail that could not be delivered goes to {BO}.", "Bo <bo@example.org>", "Automatic reply: Our news"
    ),
    "a vacation note by a mail system": mail(
        f"{BO} is away until Monday, your message could not be delivered now.", subject="Out of office: Our news"
    ),
    "Apple's vacation note": mail("I'm only sleeping", "bo@example.org", more="X-Apple-Action: VACATION\n"),
    "a challenge": mail(
        f"Your message to {BO} could not be delivered yet. Please confirm that you are a human by a click.",
        subject="Please confirm",
    ),
    "a challenge of TMDA": mail(
        f"Delivery to {BO} failed so far. Reply to this message to have your mail delivered.", "postmaster@example.org"
    ),
    "a shop": mail(
        f"Your parcel could not be delivered. Write to {BO}", "Shop <no-reply@shop.example>", "Your parcel"
    ).replace(b"Return-Path: <>", b"Return-Path: <x@shop.example>"),
    "an SMTP test of a mail system": mail(f"All is well with {BO}.", subject="Test"),
    "a notice that names nobody": mail("A message could not be delivered."),
}


@pytest.mark.parametrize("raw", NO_NOTICES.values(), ids=NO_NOTICES)
def test_what_is_no_bounce_is_not_taken_for_one(raw: bytes) -> None:
    assert [each for each in read(raw).reports if each.address] == []


@pytest.mark.parametrize(
    ("more", "automatic"),
    [
        ("Auto-Submitted: auto-replied\n", True),
        ("Auto-Submitted: auto-generated; owner-email=a@b.example\n", True),
        ("Auto-Submitted: no\n", False),
        ("Precedence: bulk\n", True),
        ("Precedence: auto_reply\n", True),
        ("X-Autoreply: yes\n", True),
        ("X-Auto-Response-Suppress: All\n", True),
        ("List-Id: <a.b.example>\n", True),
        ("Content-Type: multipart/report; report-type=disposition-notification; boundary=b\n", True),
        ("", False),
    ],
)
def test_automatic_mail_is_told_by_its_header(more: str, automatic: bool) -> None:
    raw = f"Return-Path: <al@example.com>\nFrom: Al <al@example.com>\nSubject: Stop\n{more}\nunsubscribe\n".encode()

    assert read(raw).automatic is automatic


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        (
            "Warning: message 1kSH9f-0005xf-18 delayed 24 hours",
            "has not been delivered to one or more of its recipients",
        ),
        ("Delayed Mail (still being retried)", "Your message could not be delivered for more than 2 hour(s)."),
        ("Warning: could not send message for past 4 hours", "Deferred: Connection refused"),
        ("Delivery Status Notification (Delay)", "Delivery to the following recipient has been delayed:"),
    ],
)
def test_a_delay_is_no_bounce(subject: str, text: str) -> None:
    (report,) = read(mail(f"{text}\n\n  {BO}\n    Connection timed out\n", subject=subject)).reports

    assert (report.kind, report.address, report.permanent) == (Kind.DELAYED, BO, False)


def test_the_returned_message_names_its_campaign() -> None:
    raw = mail(f"could not be delivered\n\n<{BO}>: 550 5.1.1 no\n\n--- Original message follows.\n\n{RETURNED}")
    (by_id,) = read(raw).reports
    (by_feedback,) = read(raw.replace(b"Subject: Our", b"Feedback-ID: c1:bulk:site:example\nSubject: Our")).reports

    assert by_id.campaign_id == "0197300000aabbccddeeff0"
    assert by_id.message_id == "0197300000aabbccddeeff0.0123456789abcdef0123@list.example"
    assert by_feedback.campaign_id == "c1"
    assert by_id.at == 1748858400000


def test_a_bounce_that_quotes_a_subject_about_holidays_is_one() -> None:
    raw = mail(f"could not be delivered\n\n<{BO}>: 550 5.1.1 no\n", subject="Undeliverable: Out of office in June?")

    assert [each.address for each in read(raw).reports] == [BO]
