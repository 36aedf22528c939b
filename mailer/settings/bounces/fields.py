"""The settings by which bounces come in: providers that post them, and a mailbox that is read."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key
from marshmallow import ValidationError

from mailer.settings import readers
from mailer.settings.bounces.mailbox import BounceMailbox

LEAST_SECRET = 16  # characters
_TOPIC = re.compile(r"arn:aws(?:-cn|-us-gov)?:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}")


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class BounceSettings:
    """What `Settings` has of them. A provider without its setting is not let in."""

    bounces_ses_topic: tuple[str, ...] = ()  # the ARNs of the SNS topics that SES writes to
    bounces_mailgun_key: str = ""  # the webhook signing key
    bounces_sendgrid_key: str = ""  # the verification key, which is no secret
    bounces_postmark_secret: str = ""  # the password in the webhook's address
    bounces_sparkpost_secret: str = ""
    bounces_mailjet_secret: str = ""
    bounce_mailbox: BounceMailbox | None = None  # None: no mailbox is read
    bounce_mailbox_password: str = ""


def verification_key(text: str) -> EllipticCurvePublicKey:
    """The key as SendGrid shows it: base64 of DER (RFC 5280 section 4.1). Raises ValueError."""
    try:
        key = load_der_public_key(base64.b64decode("".join(text.split()), validate=True))
    except UnsupportedAlgorithm as error:
        raise ValueError("Not a known kind of key.") from error
    if isinstance(key, EllipticCurvePublicKey):
        return key
    raise ValueError("Not a key of ECDSA.")


def _topics(entries: list[str]) -> None:
    if not all(_TOPIC.fullmatch(entry.strip()) for entry in entries if entry.strip()):
        raise ValidationError("Not the ARN of an SNS topic, arn:aws:sns:REGION:ACCOUNT:NAME.")


def _secret(raw: str) -> None:
    if len(raw) < LEAST_SECRET or not raw.isprintable():
        raise ValidationError(f"Needs {LEAST_SECRET} characters or more, and no control character.")


def _public_key(raw: str) -> None:
    try:
        verification_key(raw)
    except ValueError as error:
        raise ValidationError("Not a public key as SendGrid shows it, in base64.") from error


BOUNCE_SECRETS = {
    "bounces_mailgun_key",
    "bounces_postmark_secret",
    "bounces_sparkpost_secret",
    "bounces_mailjet_secret",
    "bounce_mailbox_password",
}
BOUNCE_READERS: dict[str, readers.Reader] = {
    "bounces_ses_topic": readers.listed(_topics),
    "bounces_mailgun_key": readers.text(_secret),
    "bounces_sendgrid_key": readers.text(_public_key),
    "bounces_postmark_secret": readers.text(_secret),
    "bounces_sparkpost_secret": readers.text(_secret),
    "bounces_mailjet_secret": readers.text(_secret),
    "bounce_mailbox": readers.parsed(BounceMailbox.parse),
    "bounce_mailbox_password": readers.text(readers.printable),
}
