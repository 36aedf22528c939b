"""Postmark: bounces and spam complaints, one in a request.

It tells neither the envelope's sender nor the headers. If its webhook includes the bounce's content, that is a mail
like any other, and is read for the token and the campaign.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from typing_extensions import override

from mailer.bounces.providers.basic_auth import SecretProvider
from mailer.bounces.providers.classification import judge, report_of
from mailer.bounces.providers.values import address_of, at, campaign_of, reply_of, status_of, text_at, time_of
from mailer.bounces.reading import read
from mailer.bounces.report import Report

RECORDS = ("Bounce", "SpamComplaint", "")  # older webhooks do not name it


class PostmarkProvider(SecretProvider):
    """Postmark, with a secret in the webhook's address."""

    name = "postmark"

    @override
    def read_event(self, event: Mapping[str, Any]) -> Iterator[Report]:
        """The report of a bounce or a complaint."""
        kind = text_at(event, "Type")
        reply = reply_of(text_at(event, "Details"), text_at(event, "Description"))
        status = status_of(reply)
        row = judge(self.name, kind, status=status) if kind and text_at(event, "RecordType") in RECORDS else None
        if row is None:
            return
        told = {"sent_to": (), "campaign_id": None, "message_id": None, **_returned(at(event, "Content"))}
        told["campaign_id"] = campaign_of(text_at(event, "Metadata", "campaign")) or told["campaign_id"]
        address, moment = address_of(text_at(event, "Email")), time_of(text_at(event, "BouncedAt"))
        yield report_of(row, address=address, status=status, reply=reply, at=moment, **told)


def _returned(content: Any) -> dict[str, Any]:
    """What the bounce's own content tells of the message: where it went, its campaign and its Message-ID."""
    mail = read(content.encode("utf-8", "surrogateescape")) if isinstance(content, str) and content else None
    if mail is None or not mail.reports:
        return {}
    first = mail.reports[0]
    return {"sent_to": first.sent_to, "campaign_id": first.campaign_id, "message_id": first.message_id}
