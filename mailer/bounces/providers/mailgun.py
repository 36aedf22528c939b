"""Mailgun: failed, rejected and complained, signed by HMAC with the webhook signing key.

The signature is over the time and a random token, and not over the event. So a token counts once: with another event it
is refused, and with the same event again the recorder tells that it is known.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any

from typing_extensions import override

from mailer.bounces.providers.base import NotGenuine, Posted, Provider, json_of
from mailer.bounces.providers.classification import judge, report_of
from mailer.bounces.providers.judgements import Row
from mailer.bounces.providers.used_tokens import UsedTokens
from mailer.bounces.providers.values import (
    address_of,
    addresses_of,
    campaign_of,
    message_id_of,
    reply_of,
    status_of,
    text_at,
    time_of,
)
from mailer.bounces.report import Report

OLDEST = 12 * 3600_000  # ms; Mailgun tries again for 8 hours
EARLIEST = 300_000  # ms by which its clock may be ahead of ours


class MailgunProvider(Provider):
    """Mailgun, with the account's webhook signing key."""

    name = "mailgun"

    def __init__(self, key: str, used: UsedTokens) -> None:
        self._key = key.encode()
        self._used = used

    @override
    def reports(self, posted: Posted) -> Sequence[Report]:
        """Verify the signature, the time and the token, and read the event."""
        found = json_of(posted.body)
        token = self._verify(found, posted.now)
        if self._used.for_another(token, posted.body, posted.now):
            raise NotGenuine("This token came before, with another event.")
        event = found.get("event-data")
        row = _judge(event) if isinstance(event, Mapping) else None
        return () if row is None else (_report(event, row),)

    @override
    def recorded(self, posted: Posted) -> None:
        """Remember the token together with the event."""
        token = text_at(json_of(posted.body), "signature", "token")
        self._used.remember(token, posted.body, posted.now)

    def _verify(self, found: Any, now: int) -> str:
        timestamp, token, given = (text_at(found, "signature", name) for name in ("timestamp", "token", "signature"))
        made = hmac.new(self._key, f"{timestamp}{token}".encode(), hashlib.sha256).hexdigest()
        if not token or not hmac.compare_digest(made.encode(), given.encode("utf-8", "surrogatepass")):
            raise NotGenuine
        age = now - (time_of(timestamp) or 0)
        if not -EARLIEST <= age <= OLDEST:
            raise NotGenuine("The signature is too old, or the clock of this machine is wrong.")
        return token


def _judge(event: Mapping[str, Any]) -> Row | None:
    kind, severity = text_at(event, "event"), text_at(event, "severity")
    if kind == "failed" and severity == "temporary":
        return judge("mailgun", "temporary", status=_status(event))
    if kind == "failed":
        return judge("mailgun", f"permanent/{text_at(event, 'reason')}", status=_status(event))
    return judge("mailgun", kind) if kind in ("rejected", "complained") else None


def _status(event: Mapping[str, Any]) -> str:
    told = (text_at(event, "delivery-status", name) for name in ("enhanced-code", "message", "description"))
    return status_of(*told)


def _report(event: Mapping[str, Any], row: Row) -> Report:
    answers = (text_at(event, "delivery-status", name) for name in ("message", "description"))
    return report_of(
        row,
        address=address_of(text_at(event, "recipient")),
        status=_status(event),
        reply=reply_of(*answers, text_at(event, "reject", "reason"), text_at(event, "reason")),
        sent_to=addresses_of(text_at(event, "envelope", "sender")),
        campaign_id=campaign_of(text_at(event, "user-variables", "campaign")),
        message_id=message_id_of(text_at(event, "message", "headers", "message-id")),
        at=time_of(text_at(event, "timestamp")),
    )
