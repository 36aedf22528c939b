"""Complaints: feedback reports (RFC 5965), and what providers send in their place."""

from __future__ import annotations

import re

from mailer.bounces.formats.fields import Fields, addresses, moment, parse_fields
from mailer.bounces.formats.found import MAX_REPORTS
from mailer.bounces.formats.mime import RETURNED, Letter
from mailer.bounces.formats.returned import Returned
from mailer.bounces.report import Kind, Report

TYPE = "message/feedback-report"

COMPLAINTS = {"abuse", "fraud", "virus", "other", "opt-out", "opt-out-list", "complaint", "miscategorized"}
"""Values of Feedback-Type that are complaints (RFC 5965 section 3.1, and IANA's registry).

`opt-out` is one too: the recipient pressed a button of their provider's, who asks that nothing more be sent. As a
complaint it stops all campaigns to the address, not only those of one list, and that is what was asked for.
"""

NO_COMPLAINTS = {"not-spam", "auth-failure", "dmarc", "dkim", "vpn"}
"""Values that say nothing of a person's wish, or the opposite of one."""

_RECIPIENTS = ("Original-Rcpt-To", "Removal-Recipient", "Redacted-Address")
_MICROSOFT = re.compile(r"@(?:hotmail|outlook|live|microsoft)\.com\b", re.IGNORECASE)
_HOTMAIL = ("X-HmXmrOriginalRecipient", "X-MSFBL-Recipient")


def read_feedback(letter: Letter, returned: Returned, *, is_report: bool) -> list[Report] | None:
    """A complaint for each recipient that is named; None: the mail is no feedback report.

    `is_report` says that the mail itself is one: a report that somebody attaches to show it to somebody is none.
    """
    part = letter.first(TYPE)
    if part is not None:
        return _feedback(parse_fields(part.text.strip())[0], returned) if is_report else None
    if letter.first(*RETURNED) is not None and _is_microsoft(letter.fields.get("From"), returned.fields):
        return _complaints([each for name in _HOTMAIL for each in returned.fields.addresses(name)], returned)
    return None


def _is_microsoft(sender: str, returned: Fields) -> bool:
    """Whether it is of Microsoft's Junk Mail Reporting Program, which adds a field to the message and no report."""
    named = any(name in returned for name in _HOTMAIL)
    return "staff@hotmail.com" in sender.lower() or (named and _MICROSOFT.search(sender) is not None)


def _feedback(report: Fields, returned: Returned) -> list[Report]:
    kind = report.get("Feedback-Type").strip().lower()
    if kind in NO_COMPLAINTS or not (kind in COMPLAINTS or not kind):
        return []
    named = [each for name in _RECIPIENTS for value in report.all(name) for each in addresses(value)]
    at = moment(report.get("Arrival-Date")) or moment(report.get("Received-Date"))
    return _complaints(named, returned, at, tuple(report.addresses("Original-Mail-From")[:2]))


def _complaints(
    named: list[str], returned: Returned, at: int | None = None, senders: tuple[str, ...] = ()
) -> list[Report]:
    """One for each address; most providers take them out, and then the returned message has to tell."""
    to: list[str | None] = [*(named or returned.recipients[:1])] or [None]
    return [Report(kind=Kind.COMPLAINED, address=each, at=at, sent_to=senders) for each in to[:MAX_REPORTS]]
