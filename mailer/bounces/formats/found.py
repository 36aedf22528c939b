"""What a format finds in a mail, before the mail's own addresses and the returned message are added to it."""

from __future__ import annotations

import re
from dataclasses import replace

from mailer.bounces.formats.fields import Fields, moment
from mailer.bounces.formats.returned import Returned
from mailer.bounces.formats.verdict import judge
from mailer.bounces.report import Kind, Report

_TYPE = re.compile(r"[\w.-]{1,40}")
MAX_REPORTS = 100  # recipients of one mail that are read; a message of ours has one


def bounced(
    address: str | None,
    words: str,
    status: str = "",
    context: str = "",
    *,
    delayed: bool = False,
    at: int | None = None,
) -> Report:
    """A report of a message that was not delivered, or not yet."""
    verdict = judge(words, status, context)
    return Report(
        kind=Kind.DELAYED if delayed else Kind.BOUNCED,
        address=address,
        about=verdict.about,
        permanent=verdict.permanent and not delayed,
        status=verdict.status,
        reply=verdict.reply,
        at=at,
    )


def diagnosis(value: str) -> str:
    """The words of a Diagnostic-Code (RFC 3464 section 2.3.6), without its type, which some systems leave out."""
    kind, semicolon, words = value.partition(";")
    return " ".join((words if semicolon and _TYPE.fullmatch(kind.strip()) else value).split())


def completed(report: Report, fields: Fields, returned: Returned, sent_to: tuple[str, ...]) -> Report:
    """The report with what is the same for every recipient of the mail.

    A complaint goes to the address that a provider has on record, and some bounces to the From address. So the
    message's own envelope sender, where it is returned, stands beside where the report went: it has our token as well.
    """
    return replace(
        report,
        sent_to=tuple(dict.fromkeys([*sent_to, *report.sent_to, *returned.envelope_senders])),
        campaign_id=returned.campaign_id,
        message_id=returned.message_id,
        unsubscribe=returned.unsubscribe,
        at=report.at if report.at is not None else moment(fields.get("Date")),
    )
