"""A mail that came back, read: the least that a report of RFC 3464 says. To be replaced by the whole reader."""

from __future__ import annotations

import email
from dataclasses import dataclass
from email.message import Message

from mailer.bounces.report import Kind, Report
from transports.base import About


@dataclass(frozen=True, slots=True)
class Mail:
    """What a mail is: the `reports` in it, none if it is no report, and whether a machine has written it."""

    reports: tuple[Report, ...]
    automatic: bool
    sent_to: tuple[str, ...]  # the addresses the mail went to


def read(raw: bytes) -> Mail:
    """Read a mail, whatever it is."""
    message = email.message_from_bytes(raw)
    sent_to = tuple(
        str(value).strip().strip("<>")
        for name in ("Delivered-To", "X-Original-To", "To")
        for value in message.get_all(name, ())
    )
    automatic = message.get("Auto-Submitted", "no") != "no" or message.get_content_type() == "multipart/report"
    parts = [part for part in message.walk() if part.get_content_type() == "message/delivery-status"]
    returned = [part for part in message.walk() if part.get_content_type() in ("message/rfc822", "text/rfc822-headers")]
    reports = tuple(report for part in parts for report in _reports(part, returned, sent_to))
    return Mail(reports, automatic, sent_to)


def _reports(part: Message, returned: list[Message], sent_to: tuple[str, ...]) -> list[Report]:
    found = []
    for fields in part.get_payload()[1:]:  # type: ignore[index]
        status = str(fields.get("Status", "")).strip()  # type: ignore[union-attr]
        address = str(fields.get("Final-Recipient", "")).partition(";")[2].strip() or None  # type: ignore[union-attr]
        permanent = status.startswith("5")
        kind = Kind.DELAYED if str(fields.get("Action")) == "delayed" else Kind.BOUNCED  # type: ignore[union-attr]
        about = About.ADDRESS if status.startswith("5.1.") else About.MESSAGE
        campaign = _campaign(returned)
        found.append(
            Report(
                kind=kind,
                address=address,
                about=about,
                permanent=permanent,
                status=status,
                sent_to=sent_to,
                campaign_id=campaign,
            )
        )
    return found


def _campaign(returned: list[Message]) -> str | None:
    for part in returned:
        payload = part.get_payload()
        inner = payload[0] if isinstance(payload, list) else email.message_from_string(str(payload))
        value = str(inner.get("Feedback-ID", ""))  # type: ignore[union-attr]
        if value:
            return value.partition(":")[0].strip()
    return None
