"""Against a real Postfix, started here with its own configuration and queue, that delivers into a Maildir."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from bench.processes import free_port
from tests.postfix_servers import Postfix, listening, postfix_server
from transports.base import About, Message, Status
from transports.smtp.transport import SMTPTransport

pytestmark = pytest.mark.slow

DOMAIN = "example.org"
REFUSALS = f"""\
smtpd_delay_reject = no
smtpd_relay_restrictions = reject_unauth_destination
smtpd_sender_restrictions = check_sender_access inline:{{stranger@{DOMAIN}=reject}}
smtpd_recipient_restrictions = check_recipient_access inline:{{gone@{DOMAIN}=reject, busy@{DOMAIN}=defer}}
"""
PORT = free_port()


@pytest.fixture(scope="module")
def postfix() -> Iterator[Postfix]:
    with postfix_server() as server:
        server.start(server.with_box(DOMAIN) + REFUSALS, listening(PORT), [PORT])
        yield server


def message(number: int | str, recipient: str = "", sender: str = "news") -> Message:
    head = f"Message-ID: <{number}@{DOMAIN}>\r\nDate: Tue, 24 Nov 2026 02:10:44 +0000\r\nFrom: news@{DOMAIN}\r\n\r\n"
    content = f"{head}.\r\n..\r\n.dot\r\nGrüße {number}\r\n".encode()
    return Message(f"m-{number}", f"{sender}@{DOMAIN}", recipient or f"user{number}@{DOMAIN}", content)


@pytest.mark.parametrize("options", ["bdat=no", "bdat=yes", "bdat=yes&max_messages=7", "dsn=failure"])
def test_each_message_arrives_once_and_unchanged(postfix: Postfix, options: str) -> None:
    batches = [[message(f"{thread}-{n}") for n in range(50)] for thread in range(4)]
    statuses: list[Status] = []

    with closing(SMTPTransport.from_url(f"smtp://127.0.0.1:{PORT}?{options}")) as transport:
        threads = [
            threading.Thread(target=lambda batch=batch: statuses.extend(each.status for each in transport.send(batch)))
            for batch in batches
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    arrived = postfix.delivered(200)

    assert statuses == [Status.SENT] * 200
    given = sorted(each.content.replace(b"\r\n", b"\n") for batch in batches for each in batch)
    assert sorted(content[content.index(b"Message-ID: ") :] for content in arrived) == given


@pytest.mark.parametrize("options", ["bdat=no", "bdat=yes"])
def test_refusals_are_told_apart(postfix: Postfix, options: str) -> None:
    big = Message("big", f"news@{DOMAIN}", f"big@{DOMAIN}", b"x" * 70 + b"\r\n" + b"y\r\n" * 100_000)
    batch = [
        message("first"),
        message("gone", f"gone@{DOMAIN}"),
        message("busy", f"busy@{DOMAIN}"),
        message("middle"),
        message("elsewhere", "someone@elsewhere.test"),
        big,
        message("last"),
    ]

    with closing(SMTPTransport.from_url(f"smtp://127.0.0.1:{PORT}?{options}")) as transport:
        outcomes = list(transport.send(batch))

    initials = "".join(each.status.value[0] for each in outcomes)
    assert initials == "srdsrrs"
    assert [each.about.value for each in outcomes if each.status is not Status.SENT] == [
        "message",  # an access map's word without a reason
        "message",
        "message",
        "message",
    ]
    assert "Access denied" in outcomes[1].reply
    assert len(postfix.delivered(3)) == 3


def test_refused_sender_is_an_outcome_about_the_sender(postfix: Postfix) -> None:
    batch = [message("x", sender="stranger"), message("y")]

    with closing(SMTPTransport.from_url(f"smtp://127.0.0.1:{PORT}")) as transport:
        refused, sent = transport.send(batch)

    assert (refused.status, refused.about) == (Status.REFUSED, About.SENDER)
    assert "Sender address rejected" in refused.reply
    assert sent.status is Status.SENT
