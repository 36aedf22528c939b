"""Bounces in free words, each written here after the manner of a system, and mails that must not be taken for one."""

from __future__ import annotations

import base64
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


@pytest.mark.parametrize(
    ("charset", "encoding", "body"),
    [
        ("utf-8", "base64", base64.b64encode(f"送信に失敗しました。\n{BO}\n".encode())),
        ("iso-2022-jp", "7bit", f"送信に失敗しました。\n{BO}\n".encode("iso-2022-jp")),
        ("koi8-r", "8bit", f"Письмо не может быть доставлено:\n{BO}\n".encode("koi8-r")),
        ("utf-8", "quoted-printable", b"could not be del=\nivered to:\n\nbo=40example.org\n"),
    ],
)
def test_a_notice_is_decoded(charset: str, encoding: str, body: bytes) -> None:
    more = f'Content-Type: text/plain; charset="{charset}"\nContent-Transfer-Encoding: {encoding}\n'

    assert [each.address for each in read(mail("", more=more) + body).reports] == [BO]


def test_a_notice_may_be_html_alone() -> None:
    markup = f"<html><p>Your message couldn&#39;t be delivered.</p><p><a href='mailto:x'>{BO}</a></p><p>550 5.1.1 none"
    (report,) = read(mail(markup, more="Content-Type: text/html\n")).reports

    assert (report.address, report.status) == (BO, "5.1.1")


def test_each_recipient_of_a_notice_has_its_own_words() -> None:
    text = f"could not be delivered:\n\n<{BO}>:\n550 5.1.1 none\n\n<al@example.org>:\n552 5.2.2 full\n"
    found = read(mail(text)).reports

    assert [(each.address, each.status) for each in found] == [(BO, "5.1.1"), ("al@example.org", "5.2.2")]


def test_a_header_names_who_failed_whatever_the_language() -> None:
    (report,) = read(mail("Ei onnistunut.", more=f"X-Failed-Recipients: {BO}\n")).reports

    assert report.address == BO


def test_a_status_in_the_text_is_read() -> None:
    text = f"A report.\n\nFinal-Recipient: rfc822; {BO}\nAction: failed\nStatus: 5.1.1\n"
    (report,) = read(mail(text)).reports

    assert (report.address, report.status) == (BO, "5.1.1")


def test_a_report_that_a_gateway_has_wrapped_is_read() -> None:
    status = f"Final-Recipient: rfc822; {BO}\nAction: failed\nStatus: 5.1.1\n"
    part = f"--i\nContent-Type: message/delivery-status\n\n{status}\n--i--\n"
    inner = f"From: a\nMIME-Version: 1.0\nContent-Type: multipart/report; boundary=i\n\n{part}"
    outer = f"--o\nContent-Type: text/plain\n\nReturned mail\n--o\nContent-Type: message/rfc822\n\n{inner}--o--\n"
    (report,) = read(mail(outer, more="Content-Type: multipart/mixed; boundary=o\n")).reports

    assert (report.address, report.status) == (BO, "5.1.1")


def test_a_bounce_to_whoever_wrote_to_themselves_names_them() -> None:
    raw = mail(f"wasn't able to deliver your message\n\n<{BO}>:\n552 quota exceeded\n").replace(
        b"To: bounce+token@list.example", f"To: {BO}".encode()
    )

    assert [each.address for each in read(raw).reports] == [BO]


@pytest.mark.parametrize(
    ("subject", "text", "automatic"),
    [
        ("Re: Out of office? Our tips", "Please unsubscribe me", False),
        ("unsubscribe", "> Click here to get our news\n> Please confirm your e-mail", False),
        ("unsubscribe", "Stop this. You write: click here to get it", False),
        ("AW: Bitte bestätigen", "Abmelden", False),
        ("Automatic reply: unsubscribe", "I am away", True),
        ("Out of office Re: unsubscribe", "I am away", True),
        ("unsubscribe", "Please confirm that you are a human", True),
        ("Fuera de la oficina", "Vuelvo el lunes", True),
        ("Ich bin im Urlaub", "Bis Montag", True),
        ("I am on leave", "Back on Monday", True),
        ("Ausente", "", True),
        ("Absence du 3 au 5 mai", "", True),
        ("Absence: Re: unsubscribe", "", True),
        ("I'm leaving, unsubscribe me", "", False),
        ("Take me off, I am away from this topic", "", False),
        ("Ich bin nicht interessiert, im Urlaub schon gar nicht", "", False),
        ("Absence of interest", "", False),
        ("Urlaubsangebote abbestellen", "", False),
        ("", "", False),
    ],
)
def test_a_wish_is_told_from_an_answer_that_nobody_wrote(subject: str, text: str, automatic: bool) -> None:
    raw = f"Return-Path: <al@example.com>\nFrom: Matt Daemon <al@example.com>\nSubject: {subject}\n\n{text}\n".encode()

    assert read(raw).automatic is automatic
