"""Reports of the standards: delivery status (RFC 3464, RFC 6533), feedback (RFC 5965), and Amazon's and Microsoft's."""

from __future__ import annotations

import json

import pytest

from mailer.bounces.formats.verdict import judge
from mailer.bounces.reading import read
from mailer.bounces.report import Kind
from transports.base import About

BO = "bo@example.org"
RETURNED = "From: News <news@list.example>\nTo: bo@example.org\nSubject: News\nMessage-ID: <1.2@list.example>\n"


def report(
    *groups: str, kind: str = "message/delivery-status", returned: str = RETURNED, sender: str = "x@mx.example"
) -> bytes:
    parts = [
        "Content-Type: text/plain\n\nA report.\n",
        f"Content-Type: {kind}\n\n" + "\n\n".join(groups) + "\n",
        f"Content-Type: message/rfc822\n\n{returned}\nHello\n",
    ]
    head = f"From: {sender}\nTo: bounce+token@list.example\nDate: Mon, 2 Jun 2025 12:00:00 +0200\n"
    head += 'Content-Type: multipart/report; report-type=x; boundary="=b="\n\n'
    return (head + "".join(f"--=b=\n{part}\n" for part in parts) + "--=b=--\n").encode()


def status(
    recipient: str = f"Final-Recipient: rfc822; {BO}", action: str = "failed", code: str = "5.1.1", more: str = ""
) -> str:
    return f"{recipient}\nAction: {action}\nStatus: {code}\n{more}".rstrip()


MTA = "Reporting-MTA: dns; mx.example"


def test_each_recipient_has_a_report_of_its_own() -> None:
    second = status("Final-Recipient: rfc822; al@example.org", code="4.2.2")
    found = read(report(MTA, status(more="Last-Attempt-Date: Mon, 2 Jun 2025 10:00:00 +0000"), second)).reports

    assert [(each.address, each.status, each.about, each.permanent) for each in found] == [
        (BO, "5.1.1", About.ADDRESS, True),
        ("al@example.org", "4.2.2", About.MAILBOX, False),
    ]
    assert [each.at for each in found] == [1748858400000, 1748858400000]
    assert {each.message_id for each in found} == {"1.2@list.example"}
    assert {each.sent_to for each in found} == {("bounce+token@list.example",)}


def test_the_original_recipient_is_the_one_that_was_written_to() -> None:
    (found,) = read(
        report(MTA, status(f"Original-Recipient: rfc822;{BO}\nFinal-Recipient: rfc822;b.berg@in.example"))
    ).reports

    assert found.address == BO


@pytest.mark.parametrize(
    ("recipient", "address"),
    [
        ("Final-Recipient: utf-8; bjørn@bücher.example", "bjørn@bücher.example"),
        (r"Final-Recipient: utf-8; bj\x{F8}rn@example.org", "bjørn@example.org"),
        ("Final-Recipient: RFC822; <bo@example.org> (Bo)", BO),
        ("Original-Recipient: <bo@example.org>", BO),
        ("Final-Recipient: rfc822;|/usr/bin/procmail", BO),  # no address: the message was to one alone
    ],
)
def test_recipients_are_read_in_each_form(recipient: str, address: str) -> None:
    kind = "message/global-delivery-status" if "utf-8" in recipient else "message/delivery-status"

    assert [each.address for each in read(report(MTA, status(recipient), kind=kind)).reports] == [address]


@pytest.mark.parametrize(
    ("action", "kinds"),
    [
        ("failed", [Kind.BOUNCED]),
        ("Failed (bad address)", [Kind.BOUNCED]),
        ("delayed", [Kind.DELAYED]),
        ("delivered", []),
        ("relayed", []),
        ("expanded", []),
    ],
)
def test_an_action_tells_what_became_of_it(action: str, kinds: list[Kind]) -> None:
    mail = read(report(MTA, status(action=action)))

    assert [each.kind for each in mail.reports] == kinds
    assert mail.automatic


def test_a_report_that_a_person_attaches_is_none() -> None:
    raw = report(MTA, status(), sender="Al <al@example.com>").replace(b"multipart/report", b"multipart/mixed")

    assert read(raw).reports == ()


def test_a_read_receipt_is_no_bounce() -> None:
    mail = read(
        report(
            "Final-Recipient: rfc822; bo@example.org\nDisposition: manual-action/x; displayed",
            kind="message/disposition-notification",
        )
    )

    assert (mail.reports, mail.automatic) == ((), True)


@pytest.mark.parametrize(
    ("kind", "complaints"),
    [("abuse", 1), ("fraud", 1), ("opt-out", 1), ("Abuse", 1), ("not-spam", 0), ("auth-failure", 0), ("dmarc", 0)],
)
def test_feedback_is_a_complaint_by_its_type(kind: str, complaints: int) -> None:
    fields = (
        f"Feedback-Type: {kind}\nVersion: 1\nOriginal-Rcpt-To: <{BO}>\nArrival-Date: Mon, 2 Jun 2025 10:00:00 +0000"
    )
    mail = read(report(fields, kind="message/feedback-report"))

    assert [(each.kind, each.address, each.at) for each in mail.reports] == [
        (Kind.COMPLAINED, BO, 1748858400000)
    ] * complaints
    assert mail.automatic


def test_a_complaint_without_a_recipient_is_about_whom_the_message_was_to() -> None:
    (found,) = read(report("Feedback-Type: abuse", kind="message/feedback-report")).reports

    assert (found.address, found.message_id) == (BO, "1.2@list.example")


def test_a_complaint_that_names_nobody_still_names_the_message() -> None:
    returned = (
        "From: news@list.example\nTo: undisclosed recipients:;\nSubject: News\nFeedback-ID: c1:x\nMessage-ID: <1@b>\n"
    )
    (found,) = read(report("Feedback-Type: abuse", kind="message/feedback-report", returned=returned)).reports

    assert (found.address, found.campaign_id, found.message_id) == (None, "c1", "1@b")


def test_a_complaint_has_the_address_that_a_bounce_would_have_gone_to() -> None:
    fields = "Feedback-Type: abuse\nOriginal-Mail-From: <bounce+a@list.example>"
    returned = f"Return-Path: <bounce+b@list.example>\n{RETURNED}"
    (found,) = read(report(fields, kind="message/feedback-report", returned=returned)).reports

    assert found.sent_to == ("bounce+token@list.example", "bounce+a@list.example", "bounce+b@list.example")


def test_microsoft_complains_by_a_field_of_the_message() -> None:
    raw = (
        "From: <staff@hotmail.com>\nSubject: complaint about message from 192.0.2.1\nTo: abuse@list.example\n"
        "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\n"
        f"X-HmXmrOriginalRecipient: {BO}\n{RETURNED}\nHello\n--b--\n"
    )
    (found,) = read(raw.encode()).reports

    assert (found.kind, found.address) == (Kind.COMPLAINED, BO)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (
            {
                "notificationType": "Bounce",
                "bounce": {
                    "bounceType": "Permanent",
                    "bouncedRecipients": [
                        {"emailAddress": BO, "status": "5.1.1", "diagnosticCode": "smtp; 550 5.1.1 user unknown"}
                    ],
                },
            },
            [(Kind.BOUNCED, BO)],
        ),
        (
            {"notificationType": "Complaint", "complaint": {"complainedRecipients": [{"emailAddress": BO}]}},
            [(Kind.COMPLAINED, BO)],
        ),
        ({"notificationType": "Delivery"}, []),
        ({"notificationType": "Bounce", "bounce": {"bouncedRecipients": [7, {}]}}, [(Kind.BOUNCED, None)]),
        ({"notificationType": "Bounce", "bounce": 3}, []),
    ],
)
def test_amazon_s_notifications_are_read_where_they_come_as_mail(document: object, expected: list[object]) -> None:
    head = "From: SNS <no-reply@sns.amazonaws.com>\nSubject: AWS Notification Message\n\n"
    found = read((head + json.dumps(document) + "\n--\nBye\n").encode()).reports

    assert [(each.kind, each.address) for each in found] == expected


@pytest.mark.parametrize(
    ("words", "status_code", "about", "permanent"),
    [
        ("550 5.1.1 user unknown", "", About.ADDRESS, True),
        ("550 5.7.1 IP address blacklisted by recipient", "5.1.1", About.MESSAGE, True),  # derived from 550
        ("553 http://rbl.example/?ip=192.0.2.1", "5.1.3", About.MESSAGE, True),  # derived from 553
        ("550 no such user", "5.0.0", About.ADDRESS, True),
        ("", "5.1.1", About.ADDRESS, True),
        ("", "5.2.2", About.MAILBOX, True),
        ("450 4.7.1 Client host rejected", "4.4.7", About.TRANSPORT, False),
        ("550 4.4.7 QUEUE.Expired; message expired", "4.4.7", About.MESSAGE, False),
        (
            "Host or domain name not found. Name service error for name=x.example: Host not found",
            "5.4.4",
            About.ADDRESS,
            True,
        ),
        ("connect to x.example[192.0.2.1]:25: Connection timed out", "4.4.1", About.MESSAGE, False),
        ("550-5.7.26 Unauthenticated email is not accepted\n550 5.7.26 due to its policy", "", About.SENDER, True),
        ("550 5.1.8 no such domain as the sender's", "", About.SENDER, True),
        ("host mx.example said: 550 5.1.1 no (in reply to RCPT TO command)", "", About.ADDRESS, True),
        ("554 rejected (in reply to MAIL FROM command)", "", About.SENDER, True),
        ("", "", About.MESSAGE, True),
        ("an MX or SRV record indicated no SMTP service", "", About.ADDRESS, True),
        ("Sorry, I couldn't find any host named x.example. (#5.1.2)", "", About.ADDRESS, True),
        ("Host unknown (Name server: x.example: host not found)", "5.1.2", About.ADDRESS, True),
        ("Host x.example not found, try again", "4.4.3", About.MESSAGE, False),
        ("The recipient name is not recognized", "", About.ADDRESS, True),
        ("because the domain x.example couldn't be found", "", About.ADDRESS, True),
        ("As their mailbox is full.", "", About.MAILBOX, True),
    ],
)
def test_a_bounce_is_judged_by_its_words_and_its_status(
    words: str, status_code: str, about: About, permanent: bool
) -> None:
    assert judge(words, status_code)[:2] == (about, permanent)


def test_addresses_beyond_ascii_are_read_in_a_header() -> None:
    raw = report(MTA, status()).replace(b"To: bounce+token@list.example", "To: <bjørn@bücher.example>".encode())

    assert read(raw).sent_to == ("bjørn@bücher.example",)


@pytest.mark.parametrize(
    ("diagnostic", "reply"),
    [
        ("smtp; 550 5.1.1 no; such user", "550 5.1.1 no; such user"),
        ("550 5.1.1 no; such user", "550 5.1.1 no; such user"),
        ("X-Unix;67", "67"),
        ("smtp;\n 550 5.1.1\n\tno such user", "550 5.1.1 no such user"),
    ],
)
def test_a_diagnostic_code_is_read_with_and_without_its_type(diagnostic: str, reply: str) -> None:
    (found,) = read(report(MTA, status(more=f"Diagnostic-Code: {diagnostic}"))).reports

    assert found.reply == reply


def test_what_amazon_calls_transient_is_soft() -> None:
    bounce = {"bounceType": "Transient", "bouncedRecipients": [{"emailAddress": BO, "status": "5.1.1"}]}
    text = json.dumps({"eventType": "Bounce", "bounce": bounce})
    (found,) = read(f"From: <no-reply@sns.amazonaws.com>\n\n{text}\n".encode()).reports

    assert not found.permanent


def test_a_blank_line_within_a_group_does_not_part_it() -> None:
    found = read(report(MTA, f"Final-Recipient: rfc822; {BO}\n\nAction: failed\n\nStatus: 5.1.1")).reports

    assert [(each.address, each.status) for each in found] == [(BO, "5.1.1")]


def test_a_recipient_of_whom_nothing_is_said_has_no_report() -> None:
    assert read(report(MTA, f"Final-Recipient: rfc822; {BO}")).reports == ()
