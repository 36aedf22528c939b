"""Mailjet: bounces, blocked messages and spam complaints, one in a request or several of the same second."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from typing_extensions import override

from mailer.bounces.providers.basic_auth import SecretProvider
from mailer.bounces.providers.classification import judge, report_of
from mailer.bounces.providers.judgements import Row
from mailer.bounces.providers.values import address_of, at, campaign_of, reply_of, status_of, text_at, time_of
from mailer.bounces.report import Report


class MailjetProvider(SecretProvider):
    """Mailjet, with a secret in the endpoint's address."""

    name = "mailjet"

    @override
    def read_event(self, event: Mapping[str, Any]) -> Iterator[Report]:
        """The report of an event. The campaign is what was given as X-MJ-CustomID."""
        reply = reply_of(text_at(event, "comment"), text_at(event, "error"))
        row = _judge(event)
        if row is not None:
            yield report_of(
                row,
                address=address_of(text_at(event, "email")),
                status=status_of(reply),
                reply=reply,
                campaign_id=campaign_of(text_at(event, "CustomID")),
                at=time_of(text_at(event, "time")),
            )


def _judge(event: Mapping[str, Any]) -> Row | None:
    kind = text_at(event, "event")
    if kind == "spam":
        return judge("mailjet", kind)
    if kind not in ("bounce", "blocked"):
        return None
    for_good = at(event, "hard_bounce") is True or kind == "blocked"
    row = judge("mailjet", text_at(event, "error"), permanent=for_good)
    return row and row._replace(permanent=row.permanent and for_good)
