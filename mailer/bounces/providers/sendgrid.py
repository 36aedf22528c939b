"""Twilio SendGrid: bounces, drops, delays and spam reports, several in a request.

It is signed by ECDSA, over the time and the body.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.hashes import SHA256
from typing_extensions import override

from mailer.bounces.providers.base import NotGenuine, Posted, Provider, json_of
from mailer.bounces.providers.classification import judge, report_of
from mailer.bounces.providers.judgements import Row
from mailer.bounces.providers.values import (
    address_of,
    campaign_of,
    message_id_of,
    objects_at,
    reply_of,
    status_of,
    text_at,
    time_of,
)
from mailer.bounces.report import Report
from mailer.settings.bounces.fields import verification_key

SIGNATURE = "x-twilio-email-event-webhook-signature"
TIMESTAMP = "x-twilio-email-event-webhook-timestamp"
NAME = "sendgrid"


class SendGridProvider(Provider):
    """SendGrid, with the verification key that its settings show: a public key, in base64."""

    name = NAME

    def __init__(self, key: str) -> None:
        self._key = verification_key(key)

    @override
    def reports(self, posted: Posted) -> Sequence[Report]:
        """Verify the signature, and read each event."""
        signed = posted.headers.get(TIMESTAMP, "").encode("utf-8", "surrogatepass") + posted.body
        try:
            signature = base64.b64decode(posted.headers.get(SIGNATURE, ""), validate=True)
            self._key.verify(signature, signed, ECDSA(SHA256()))
        except (InvalidSignature, ValueError, binascii.Error) as error:
            raise NotGenuine from error
        return [
            report for event in objects_at({"events": json_of(posted.body)}, "events") for report in _reports(event)
        ]


def _reports(event: Mapping[str, Any]) -> Iterator[Report]:
    answer = reply_of(text_at(event, "reason"), text_at(event, "response"))
    status = status_of(answer, text_at(event, "status"))
    row = _judge(event, status)
    if row is not None:
        yield report_of(
            row,
            address=address_of(text_at(event, "email")),
            status=status,
            reply=answer,
            campaign_id=campaign_of(text_at(event, "campaign")),
            message_id=message_id_of(text_at(event, "smtp-id")),
            at=time_of(text_at(event, "timestamp")),
        )


def _judge(event: Mapping[str, Any], status: str) -> Row | None:
    kind = text_at(event, "event")
    if kind == "bounce":
        blocked = text_at(event, "type") == "blocked"
        word = text_at(event, "bounce_classification")
        row = judge(NAME, f"bounce/{word}" if word or not blocked else "blocked/", status=status)
        return row and row._replace(permanent=row.permanent and not blocked)
    if kind == "dropped":
        return judge(NAME, f"dropped/{text_at(event, 'reason')}")
    return judge(NAME, kind, status=status) if kind in ("deferred", "spamreport") else None
