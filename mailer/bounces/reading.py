"""What a mail that came back says: bounces, delays and complaints, one report for each recipient. Pure.

Nothing in it is believed: whoever records a report compares it with what was sent.
"""

from __future__ import annotations

from dataclasses import dataclass

from mailer.bounces.formats.amazon import read_amazon_notification
from mailer.bounces.formats.automatic import is_automatic, is_from_a_mail_system, is_personal_reply, is_report
from mailer.bounces.formats.delivery_status import read_delivery_status, read_status_in_text
from mailer.bounces.formats.feedback import read_feedback
from mailer.bounces.formats.found import MAX_REPORTS, completed
from mailer.bounces.formats.mime import RETURNED, Letter, open_mail
from mailer.bounces.formats.notices import read_notice
from mailer.bounces.formats.returned import Returned, notice_and_returned
from mailer.bounces.report import Report

_WENT_TO = ("Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To", "Apparently-To", "To", "Cc")
MAX_SENT_TO = 50


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail as it was read.

    `reports`: one for each recipient that it tells about; none: it is no report. `automatic`: nobody wrote it to be
    read by a person: it is an auto-reply, a vacation note, a challenge, or a report of any kind. `sent_to`: the
    addresses that it went to, one of which may hold a token of ours.
    """

    reports: tuple[Report, ...]
    automatic: bool
    sent_to: tuple[str, ...]


def read(raw: bytes) -> Mail:
    """Read any octets as a mail. Never raises; of more than a mebibyte the beginning is read."""
    letter = open_mail(raw)
    notice, returned = notice_and_returned(letter)
    sent_to = tuple(letter.fields.addresses(*_WENT_TO)[:MAX_SENT_TO])
    found = _reports(letter, notice, returned, sent_to)
    reports = tuple(completed(each, letter.fields, returned, sent_to) for each in found[:MAX_REPORTS])
    return Mail(reports, bool(reports) or is_automatic(letter.fields, notice), sent_to)


def _reports(letter: Letter, notice: str, returned: Returned, sent_to: tuple[str, ...]) -> list[Report]:
    """What the first form says that knows the mail. The forms of standards come first, free words last.

    A report that a person attaches to a mail, to show it to somebody, is none: it is no mail system that sends it.
    """
    by_system = is_from_a_mail_system(letter.fields, returns=letter.first(*RETURNED) is not None)
    trusted = by_system or is_report(letter.fields)
    for found in (
        read_feedback(letter, returned, is_report=trusted),
        read_delivery_status(letter, notice, returned) if trusted else None,
        read_amazon_notification(letter, notice),
    ):
        if found is not None:
            return found
    if not by_system or is_personal_reply(letter.fields, notice):
        return []
    own = (*sent_to, *letter.fields.addresses("From", "Sender", "Reply-To", "Return-Path"))
    for found in (
        read_status_in_text(notice, returned),
        read_notice(letter, notice, returned, own),
        _wrapped(returned),
        read_notice(letter, notice, returned, own, guess=True),
    ):
        if found:
            return found
    return []


def _wrapped(returned: Returned) -> list[Report] | None:
    """What the returned message says where it is a delivery status notification itself: a gateway has wrapped it."""
    inner = open_mail(returned.text.encode("utf-8", "replace"))
    return read_delivery_status(inner, *notice_and_returned(inner))
