"""Amazon SES: bounces, complaints and delays, as notifications or as published events, which differ in a name. Pure.

Its `mail` object has the envelope's sender, and so the token, and the returned message's headers if SES is told to
include them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mailer.bounces.providers.base import json_of
from mailer.bounces.providers.classification import judge, report_of
from mailer.bounces.providers.judgements import Row
from mailer.bounces.providers.values import (
    address_of,
    addresses_of,
    at,
    campaign_of,
    campaign_of_headers,
    message_id_of,
    objects_at,
    reply_of,
    text_at,
    time_of,
)
from mailer.bounces.report import Report

NAME = "ses"


def reports_in(message: str) -> Sequence[Report]:
    """The reports in the message of a notification; none for what is no event of SES, such as its first greeting."""
    if not message.lstrip().startswith("{"):
        return ()
    event = json_of(message.encode("utf-8", "surrogatepass"))
    read = _READERS.get(text_at(event, "eventType") or text_at(event, "notificationType"))
    return tuple(read(event)) if read else ()


def _bounce(event: Mapping[str, Any]) -> Iterator[Report]:
    word = "/".join(text_at(event, "bounce", name) for name in ("bounceType", "bounceSubType"))
    permanent = text_at(event, "bounce", "bounceType") == "Permanent"
    for one in objects_at(event, "bounce", "bouncedRecipients"):
        row = judge(NAME, word, status=text_at(one, "status"), permanent=permanent)
        yield from _told(event, "bounce", one, row)


def _complaint(event: Mapping[str, Any]) -> Iterator[Report]:
    word = text_at(event, "complaint", "complaintSubType") or text_at(event, "complaint", "complaintFeedbackType")
    for one in objects_at(event, "complaint", "complainedRecipients"):
        yield from _told(event, "complaint", one, judge(NAME, f"complaint/{word}"))


def _delay(event: Mapping[str, Any]) -> Iterator[Report]:
    words = (f"delay/{text_at(event, 'deliveryDelay', 'delayType')}", "delay")
    for one in objects_at(event, "deliveryDelay", "delayedRecipients"):
        yield from _told(event, "deliveryDelay", one, judge(NAME, *words, status=text_at(one, "status")))


def _reject(event: Mapping[str, Any]) -> Iterator[Report]:
    recipients = at(event, "mail", "destination")
    for address in recipients if isinstance(recipients, list) else ():
        yield from _told(event, "reject", {"emailAddress": address}, judge(NAME, "reject"))


_READERS = {"Bounce": _bounce, "Complaint": _complaint, "DeliveryDelay": _delay, "Reject": _reject}


def _told(event: Mapping[str, Any], part: str, recipient: Mapping[str, Any], row: Row | None) -> Iterator[Report]:
    if row is None:
        return
    headers = [(text_at(one, "name"), text_at(one, "value")) for one in objects_at(event, "mail", "headers")]
    named = {name.lower(): value for name, value in reversed(headers)}
    tags = at(event, "mail", "tags", "campaign")
    tag = tags[0] if isinstance(tags, list) and tags else ""
    yield report_of(
        row,
        address=address_of(text_at(recipient, "emailAddress")),
        status=text_at(recipient, "status")[:20],
        reply=reply_of(text_at(recipient, "diagnosticCode"), text_at(event, part, "reason")),
        sent_to=addresses_of(text_at(event, "mail", "source")),
        campaign_id=campaign_of_headers(headers) or campaign_of(str(tag)),
        message_id=message_id_of(named.get("message-id", "") or text_at(event, "mail", "commonHeaders", "messageId")),
        at=time_of(text_at(event, part, "timestamp") or text_at(event, "mail", "timestamp")),
    )
