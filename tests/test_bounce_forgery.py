"""Anybody can write to the address for bounces: what is not proved harms nobody."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mailer.bounces.collecting import Collected, take
from mailer.bounces.report import Kind, Recorded, Report
from mailer.messages.template import message_id
from tests.test_bounce_recording import GONE, LEFT, ON_BOTH, SPAM, Road, everything, road

__all__ = ["road"]

VICTIM, OTHER = "user00001", "user00002"
AT_VICTIM = f"{VICTIM}@example.com"
FORGED = f"bounce+{'a' * 48}@example.com"
DSN = "Final-Recipient: rfc822; {victim}\nAction: failed\nStatus: 5.1.1\n"
ARF = "Feedback-Type: abuse\nUser-Agent: x/1\nVersion: 1\nOriginal-Rcpt-To: {victim}\n"
TYPES = {"delivery-status": DSN, "feedback-report": ARF}
MAIL = """\
Return-Path: <>
From: MAILER-DAEMON@attacker.example
To: {to}
Subject: Report
MIME-Version: 1.0
Content-Type: multipart/report; report-type={type}; boundary=b

--b
Content-Type: message/{type}

{said}
--b
Content-Type: message/rfc822

From: News <news@example.com>
To: {victim}
Subject: News
Feedback-ID: {campaign}:news:example:mailer
{more}
Hello.

--b--
"""


def unsubscribe(road: Road, user_id: str) -> str:
    """The field List-Unsubscribe of the last message to a user, folded as it was sent."""
    [content] = [one.content.decode() for one in road.store.messages if one.recipient.startswith(user_id)][-1:]
    found = re.search(r"^List-Unsubscribe: (?:.*\r\n)(?:[ \t].*\r\n)*", content, re.MULTILINE)
    assert found
    return found[0].replace("\r\n", "\n")


def mail(road: Road, kind: str, to: str = "bounces@example.com", more: str = "") -> bytes:
    said = TYPES[kind].format(victim=AT_VICTIM)
    return MAIL.format(to=to, type=kind, said=said, victim=AT_VICTIM, campaign=road.campaign_id, more=more).encode()


@ON_BOTH
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("whose", ["", VICTIM, OTHER])
def test_mail_to_a_forged_address_changes_nothing(road: Road, kind: str, whose: str) -> None:
    road.send()
    before = everything(road.db)
    raw = mail(road, kind, FORGED, unsubscribe(road, whose) if whose else "")

    assert take(raw, road.record) == Collected(mails=1, unknown=1)

    assert everything(road.db) == before


@ON_BOTH
def test_complaint_that_proves_nothing_changes_nothing(road: Road) -> None:
    road.send()
    before = everything(road.db)

    assert take(mail(road, "feedback-report"), road.record) == Collected(mails=1, unknown=1)
    named = replace(SPAM, message_id=message_id(road.campaign_id, VICTIM, "a@example.com"), address=AT_VICTIM)
    assert road.record([named]) == Recorded(unknown=1)

    assert everything(road.db) == before


@ON_BOTH
@pytest.mark.parametrize("kind", TYPES)
def test_with_a_link_of_ones_own_nobody_else_is_reported(road: Road, kind: str) -> None:
    road.send()
    before = everything(road.db)

    assert take(mail(road, kind, more=unsubscribe(road, OTHER)), road.record) == Collected(mails=1, unknown=1)

    assert everything(road.db) == before


@ON_BOTH
@pytest.mark.parametrize("part", ["both", "https", "mailto"])
def test_returned_message_proves_a_report(road: Road, part: str) -> None:
    road.send()
    whole = unsubscribe(road, VICTIM)
    [link, by_mail] = re.findall("<[^>]+>", whole)
    field = {"both": whole, "https": f"List-Unsubscribe: {link}\n", "mailto": f"List-Unsubscribe: {by_mail}\n"}[part]

    assert take(mail(road, "delivery-status", more=field), road.record) == Collected(mails=1, bounced=1)
    assert road.against(VICTIM) == (1, False)
    assert take(mail(road, "feedback-report", more=field), road.record) == Collected(mails=1, complained=1)
    assert road.against(VICTIM)[1]


@ON_BOTH
def test_bounce_that_proves_nothing_is_shown_and_counts_against_nobody(road: Road) -> None:
    for _ in range(4):
        road.send()
        assert take(mail(road, "delivery-status"), road.record) == Collected(mails=1, bounced=1)
        assert road.back(VICTIM).bounce_permanent is False
        assert road.against(VICTIM) == (0, False)

    assert take(mail(road, "delivery-status"), road.record) == Collected(mails=1, repeated=1)


@ON_BOTH
def test_proved_bounce_comes_over_one_that_was_not(road: Road) -> None:
    road.send()
    take(mail(road, "delivery-status"), road.record)

    assert road.bounces(VICTIM) == Recorded(bounced=1)

    assert road.back(VICTIM).bounce_permanent
    assert road.against(VICTIM) == (1, False)
    assert take(mail(road, "delivery-status"), road.record) == Collected(mails=1, repeated=1)


CONTRADICTIONS: dict[str, Callable[[Road], dict[str, Any]]] = {
    "token and link": lambda road: {"sent_to": (road.envelope(VICTIM),), "unsubscribe": unsubscribe(road, OTHER)},
    "two tokens": lambda road: {"sent_to": (road.envelope(VICTIM), road.envelope(OTHER))},
    "token and forged token": lambda road: {"sent_to": (road.envelope(VICTIM), FORGED)},
    "token and BATV of a forged one": lambda road: {"sent_to": (road.envelope(VICTIM), f"prvs=0123AB={FORGED}")},
    "token and campaign": lambda road: {"sent_to": (road.envelope(VICTIM),), "campaign_id": "018bcfe5680" + "0" * 12},
    "token and Message-ID": lambda road: {
        "sent_to": (road.envelope(VICTIM),),
        "message_id": message_id(road.campaign_id, OTHER, "a@example.com"),
    },
    "link and address": lambda road: {"unsubscribe": unsubscribe(road, VICTIM), "address": f"{OTHER}@example.com"},
    "two links": lambda road: {"unsubscribe": unsubscribe(road, VICTIM) + unsubscribe(road, OTHER)},
    "link and token for wishes": lambda road: {
        "unsubscribe": f"{unsubscribe(road, VICTIM)}<mailto:{road.leaving(OTHER)}>"
    },
}


@ON_BOTH
@pytest.mark.parametrize("source", ["mail", "postmark"])
def test_two_things_that_contradict_each_other_prove_nothing(road: Road, source: str) -> None:
    road.send()
    before = everything(road.db)

    for name, said in CONTRADICTIONS.items():
        for one in (GONE, SPAM, replace(SPAM, kind=Kind.DELAYED)):
            report = replace(one, source=source, **said(road))
            assert road.record([report]) == Recorded(unknown=1), name

    assert everything(road.db) == before


@ON_BOTH
@pytest.mark.parametrize("kind", [GONE, SPAM])
def test_provider_is_believed_without_a_token(road: Road, kind: Report) -> None:
    road.send()
    report = replace(kind, source="postmark", campaign_id=road.campaign_id, address=AT_VICTIM)

    assert road.record([report]).unknown == 0

    assert road.against(VICTIM) == ((1, False) if kind is GONE else (0, True))


def test_link_that_was_cut_short_still_tells_the_user(road: Road) -> None:
    road.send()
    [link] = re.findall("<(http[^>]+)>", unsubscribe(road, VICTIM))
    cut = link.rpartition(".")[0]
    report = replace(SPAM, unsubscribe=f"<{cut}>")

    assert road.record([report]) == Recorded(unknown=1)
    assert road.record([replace(report, campaign_id=road.campaign_id)]) == Recorded(complained=1)


def test_token_in_cc_alone_unsubscribes(road: Road) -> None:
    road.send()
    raw = f"From: jane@example.net\nTo: friend@example.net\nCc: <{road.leaving(VICTIM)}>\nSubject: unsubscribe\n\n"

    assert take(raw.encode(), road.record) == Collected(mails=1, unsubscribed=1)
    assert road.record([replace(LEFT, sent_to=(road.leaving(VICTIM),))]) == Recorded(repeated=1)
