"""Amazon SNS: the envelope in which SES sends its events, signed, and the subscription that precedes them."""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from typing_extensions import override

from mailer.bounces.providers.amazon_hosts import Certificates, Fetch, fetch, is_confirmation
from mailer.bounces.providers.base import NotGenuine, Posted, Provider, json_of
from mailer.bounces.providers.ses import reports_in
from mailer.bounces.report import Report
from mailer.errors import InvalidParams

log = logging.getLogger(__name__)

NOTIFICATION, CONFIRMATION = "Notification", "SubscriptionConfirmation"
HASHES = {"1": SHA1, "2": SHA256}  # by SignatureVersion
SIGNED = {  # the fields that are signed, in this order; those that are absent are left out
    NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    CONFIRMATION: ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}


class SesProvider(Provider):
    """SES, by the notifications of the `topics`, which are ARNs. Those of any other topic are refused."""

    name = "ses"

    def __init__(self, topics: Collection[str], fetch_: Fetch = fetch) -> None:
        self._topics = topics
        self._fetch = fetch_
        self._certificates = Certificates(fetch_)

    @override
    def reports(self, posted: Posted) -> Sequence[Report]:
        """Read a notification, or confirm a subscription."""
        envelope = json_of(posted.body)
        if not isinstance(envelope, Mapping):
            raise InvalidParams("The body must be an object.", field="body")
        self._verify(envelope)
        if envelope["Type"] == CONFIRMATION:
            self._confirm(envelope)
        if envelope["Type"] != NOTIFICATION:
            return ()
        return reports_in(envelope["Message"])

    def _verify(self, envelope: Mapping[str, Any]) -> None:
        """Raise `NotGenuine` unless it is of a topic of ours, and signed."""
        names = SIGNED.get(str(envelope.get("Type")), ())
        fields = {name: envelope[name] for name in names if envelope.get(name) is not None}
        if not names or not all(isinstance(value, str) for value in fields.values()) or "Message" not in fields:
            raise NotGenuine
        if fields.get("TopicArn") not in self._topics:
            raise NotGenuine("This topic is not the one of MAILER_BOUNCES_SES_TOPIC.")
        text = "".join(f"{name}\n{value}\n" for name, value in fields.items())
        key = self._certificates.key(str(envelope.get("SigningCertURL")), _region(fields["TopicArn"]))
        try:
            signature = base64.b64decode(str(envelope.get("Signature")), validate=True)
            digest = HASHES[str(envelope.get("SignatureVersion"))]()
            key.verify(signature, text.encode("utf-8"), PKCS1v15(), digest)
        except (InvalidSignature, KeyError, ValueError, binascii.Error) as error:
            raise NotGenuine from error

    def _confirm(self, envelope: Mapping[str, Any]) -> None:
        url, topic = envelope.get("SubscribeURL", ""), envelope["TopicArn"]
        if not is_confirmation(url, _region(topic), topic):
            raise NotGenuine("SubscribeURL is not an address of Amazon SNS for this topic.")
        self._fetch(url)
        log.info("bounces: the subscription of SES's topic is confirmed")


def _region(topic: str) -> str:
    return topic.split(":")[3]  # arn:aws:sns:REGION:ACCOUNT:NAME; the setting's check has seen to it
