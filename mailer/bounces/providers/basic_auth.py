"""Providers that offer no signature: a secret in the address that they call, as the password of HTTP Basic.

The name before it may be anything. Whoever reads the provider's settings reads the secret as well, so each provider has
one of its own.
"""

from __future__ import annotations

import hmac
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from typing_extensions import override

from mailer.bounces.providers.base import NotGenuine, Posted, Provider, json_of
from mailer.bounces.providers.values import objects_at
from mailer.bounces.report import Report


class SecretProvider(Provider):
    """A provider whose requests have `secret` in them. Its body is an event, or a list of events."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    @override
    def reports(self, posted: Posted) -> Sequence[Report]:
        """Compare the secret in constant time, and read each event."""
        given = (posted.password or "").encode("utf-8", "surrogatepass")
        if not hmac.compare_digest(given, self._secret):
            raise NotGenuine
        events = objects_at({"events": json_of(posted.body)}, "events")
        return [report for event in events for report in self.read_event(event)]

    @abstractmethod
    def read_event(self, event: Mapping[str, Any]) -> Iterator[Report]:
        """What one event reports; nothing for one that is neither a bounce nor a complaint."""
