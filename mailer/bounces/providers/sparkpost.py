"""SparkPost: bounces, out-of-band bounces, delays, rejections and spam complaints, several in a request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from typing_extensions import override

from mailer.bounces.providers.basic_auth import SecretProvider
from mailer.bounces.providers.classification import judge, report_of
from mailer.bounces.providers.judgements import Row
from mailer.bounces.providers.values import (
    address_of,
    addresses_of,
    at,
    campaign_of,
    reply_of,
    status_of,
    text_at,
    time_of,
)
from mailer.bounces.report import Report

BOUNCES = ("bounce", "out_of_band")
OTHERS = ("delay", "policy_rejection", "spam_complaint")
NO_COMPLAINT = ("not-spam", "auth-failure", "virus", "opt-out")  # feedback types of another kind (RFC 5965 section 7.3)


class SparkPostProvider(SecretProvider):
    """SparkPost, with a secret in the webhook's basic authentication."""

    name = "sparkpost"

    @override
    def read_event(self, event: Mapping[str, Any]) -> Iterator[Report]:
        """The report of an event, which stands in an object by its family. A webhook's trial has an empty one."""
        told = at(event, "msys", "message_event")
        reply = reply_of(text_at(told, "raw_reason"), text_at(told, "reason"))
        row = _judge(told, status_of(reply))
        if row is not None:
            yield report_of(
                row,
                address=address_of(text_at(told, "rcpt_to") or text_at(told, "raw_rcpt_to")),
                status=status_of(reply),
                reply=reply,
                sent_to=addresses_of(text_at(told, "msg_from")),
                campaign_id=campaign_of(text_at(told, "rcpt_meta", "campaign")),
                at=time_of(text_at(told, "timestamp")),
            )


def _judge(told: Any, status: str) -> Row | None:
    kind = text_at(told, "type")
    if kind in BOUNCES:
        return judge("sparkpost", text_at(told, "bounce_class"), status=status, permanent=False)
    if kind not in OTHERS or text_at(told, "fbtype") in NO_COMPLAINT:
        return None
    return judge("sparkpost", kind, status=status)
