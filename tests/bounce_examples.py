"""What providers post, after the shapes that they document, signed with keys of the tests' own."""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import json
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from requests.adapters import HTTPAdapter
from typing_extensions import override

TOPIC = "arn:aws:sns:eu-west-1:123456789012:bounces"
AMAZON = "sns.eu-west-1.amazonaws.com"
CERTIFICATE = f"https://{AMAZON}/SimpleNotificationService-{'0123456789abcdef' * 2}.pem"
SUBSCRIBE = f"https://{AMAZON}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336412f37"
TOKEN = "bounce+c4mpa1gn@example.com"
MAILGUN_KEY = "mailgun-webhook-signing-key"
SECRET = "a-secret-of-the-webhook"

Signed = tuple[bytes, dict[str, str]]  # the body and the headers of a request


def certificate(name: str) -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    """A key, and a certificate for it that signs itself, of the host `name`."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number())
    made = made.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=2))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return key, made.sign(key, SHA256())


def pem_files(folder: Path, key: rsa.RSAPrivateKey, made: x509.Certificate) -> tuple[Path, Path]:
    """The certificate and its key, in files."""
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(made.public_bytes(Encoding.PEM))
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    return cert_file, key_file


# one key signs for SNS, and one is somebody else's
SNS_KEY, SNS_CERTIFICATE = certificate(AMAZON)
SENDGRID_KEY = ec.generate_private_key(ec.SECP256R1())
SENDGRID_PUBLIC = base64.b64encode(
    SENDGRID_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
).decode()


def envelope(message: Any, *, version: str = "2", key: rsa.RSAPrivateKey = SNS_KEY, **changed: str) -> dict[str, str]:
    """A notification of SNS, signed."""
    text = message if isinstance(message, str) else json.dumps(message)
    fields = {
        "Type": "Notification",
        "MessageId": "da41e39f-ea4d-435a-b922-c6aae3915ebe",
        "TopicArn": TOPIC,
        "Subject": "Amazon SES Email Event Notification",
        "Message": text,
        "Timestamp": "2026-11-29T12:00:00.000Z",
        **changed,
    }
    return sign(fields, version, key)


def confirmation(**changed: str) -> dict[str, str]:
    """The message that precedes a subscription, signed."""
    fields = {
        "Type": "SubscriptionConfirmation",
        "MessageId": "165545c9-2a5c-472c-8df2-7ff2be2b3b1b",
        "Token": "2336412f37",
        "TopicArn": TOPIC,
        "Message": f"You have chosen to subscribe to the topic {TOPIC}.",
        "SubscribeURL": SUBSCRIBE,
        "Timestamp": "2026-11-29T12:00:00.000Z",
        **changed,
    }
    return sign(fields, "1", SNS_KEY)


def sign(fields: Mapping[str, str], version: str, key: rsa.RSAPrivateKey) -> dict[str, str]:
    """The fields with their signature: all of them, sorted by their names in the alphabet, as documented."""
    text = "".join(f"{name}\n{fields[name]}\n" for name in sorted(fields) if name != "UnsubscribeURL")
    digest = SHA1() if version == "1" else SHA256()
    signature = base64.b64encode(key.sign(text.encode(), PKCS1v15(), digest)).decode()
    more = {"SignatureVersion": version, "Signature": signature, "SigningCertURL": CERTIFICATE}
    return {**fields, **more}


def ses_mail() -> dict[str, Any]:
    return {
        "timestamp": "2026-11-29T11:59:00.000Z",
        "source": TOKEN,
        "messageId": "00000137860315fd-34208509-5b74-41f3-95c5-22c1edc3c924-000000",
        "destination": ["jane@example.net", "mary@example.net"],
        "headersTruncated": False,
        "headers": [
            {"name": "From", "value": "News <news@example.com>"},
            {"name": "Message-ID", "value": "<abc@example.com>"},
            {"name": "Feedback-ID", "value": "c4mpa1gn:news:example:mailer"},
        ],
        "commonHeaders": {"messageId": "<abc@example.com>", "subject": "News"},
    }


def ses_bounce(kind: str = "Permanent", sub: str = "General", *, name: str = "notificationType") -> dict[str, Any]:
    recipient = {
        "emailAddress": "jane@example.net",
        "action": "failed",
        "status": "5.1.1",
        "diagnosticCode": "smtp; 550 5.1.1 <jane@example.net>... User unknown",
    }
    return {
        name: "Bounce",
        "bounce": {
            "bounceType": kind,
            "bounceSubType": sub,
            "reportingMTA": "dns; email.example.com",
            "bouncedRecipients": [recipient],
            "timestamp": "2026-11-29T12:00:00.123Z",
            "feedbackId": "00000138111222aa-33322211-cccc-cccc-cccc-ddddaaaa068a-000000",
        },
        "mail": ses_mail(),
    }


def ses_complaint(feedback: str | None = "abuse", sub: str | None = None) -> dict[str, Any]:
    told = {
        "complainedRecipients": [{"emailAddress": "mary@example.net"}],
        "timestamp": "2026-11-29T12:00:00.000Z",
        "complaintSubType": sub,
    }
    if feedback:
        told |= {"complaintFeedbackType": feedback, "userAgent": "AnyCompany Feedback Loop (V0.01)"}
    return {"eventType": "Complaint", "complaint": told, "mail": ses_mail()}


def ses_delay() -> dict[str, Any]:
    recipient = {
        "emailAddress": "jane@example.net",
        "status": "4.4.1",
        "diagnosticCode": "smtp; 421 4.4.1 Unable to connect to remote host",
    }
    told = {
        "timestamp": "2026-11-29T12:00:00.095Z",
        "delayType": "TransientCommunicationFailure",
        "expirationTime": "2026-11-29T14:00:00.914Z",
        "delayedRecipients": [recipient],
    }
    return {"eventType": "DeliveryDelay", "mail": ses_mail(), "deliveryDelay": told}


def mailgun(event: Mapping[str, Any], *, key: str = MAILGUN_KEY, token: str = "t" * 50, at: float = 0) -> bytes:
    """A webhook of Mailgun, signed. `at` is in seconds since 1970; 0: now."""
    timestamp = str(int(at or time.time()))
    signature = hmac.new(key.encode(), (timestamp + token).encode(), hashlib.sha256).hexdigest()
    signed = {"timestamp": timestamp, "token": token, "signature": signature}
    return json.dumps({"signature": signed, "event-data": event}).encode()


def mailgun_failed(**changed: Any) -> dict[str, Any]:
    return {
        "event": "failed",
        "severity": "permanent",
        "reason": "bounce",
        "id": "G9Bn5sl1TC6nu79C8C0bwg",
        "timestamp": 1795953600.5,
        "recipient": "jane@example.net",
        "envelope": {"sender": TOKEN, "transport": "smtp", "targets": "jane@example.net"},
        "delivery-status": {"code": 550, "message": "5.1.1 The email account does not exist", "attempt-no": 1},
        "message": {"headers": {"message-id": "abc@example.com", "to": "jane@example.net"}, "size": 111},
        "user-variables": {"campaign": "c4mpa1gn"},
        **changed,
    }


def sendgrid(events: Any, *, key: ec.EllipticCurvePrivateKey = SENDGRID_KEY) -> Signed:
    body, timestamp = json.dumps(events).encode(), str(int(time.time()))
    signature = base64.b64encode(key.sign(timestamp.encode() + body, ec.ECDSA(SHA256()))).decode()
    return body, {
        "x-twilio-email-event-webhook-signature": signature,
        "x-twilio-email-event-webhook-timestamp": timestamp,
    }


SENDGRID_EVENTS = [
    {
        "email": "jane@example.net",
        "timestamp": 1795953600,
        "smtp-id": "<abc@example.com>",
        "event": "bounce",
        "type": "bounce",
        "bounce_classification": "Invalid Address",
        "sg_event_id": "ZGVsaXZlcmVk",
        "reason": "550 5.1.1 no such user here",
        "status": "5.1.1",
        "campaign": "c4mpa1gn",
    },
    {"email": "mary@example.net", "timestamp": 1795953601, "event": "spamreport", "smtp-id": "<def@example.com>"},
    {"email": "x@example.net", "timestamp": 1795953602, "event": "deferred", "response": "450 4.2.1 try later"},
    {"email": "y@example.net", "timestamp": 1795953603, "event": "dropped", "reason": "Bounced Address"},
    {"email": "z@example.net", "timestamp": 1795953604, "event": "open"},
]
POSTMARK_BOUNCE = {
    "RecordType": "Bounce",
    "ID": 42,
    "Type": "HardBounce",
    "TypeCode": 1,
    "Name": "Hard bounce",
    "MessageID": "883953f4-6105-42a2-a16a-77a8eac79483",
    "Description": "The server was unable to deliver your message (ex: unknown user, mailbox not found).",
    "Details": "smtp;550 5.1.1 The email account that you tried to reach does not exist",
    "Email": "jane@example.net",
    "From": "news@example.com",
    "BouncedAt": "2026-11-29T13:28:10.2735393-04:00",
    "Metadata": {"campaign": "c4mpa1gn"},
}
SPARKPOST_BOUNCE = {
    "msys": {
        "message_event": {
            "type": "bounce",
            "bounce_class": "10",
            "error_code": "550",
            "raw_reason": "550 5.1.1 no such user",
            "rcpt_to": "jane@example.net",
            "msg_from": TOKEN,
            "message_id": "000443ee14578172be22",
            "rcpt_meta": {"campaign": "c4mpa1gn"},
            "timestamp": "1795953600",
        }
    }
}
MAILJET_BOUNCE = {
    "event": "bounce",
    "time": 1795953600,
    "MessageID": 13792286917004336,
    "email": "jane@example.net",
    "blocked": False,
    "hard_bounce": True,
    "error_related_to": "recipient",
    "error": "user unknown",
    "comment": "550 5.1.1 no such user",
    "CustomID": "c4mpa1gn",
}


@contextmanager
def amazon(folder: Path) -> Iterator[tuple[requests.Session, list[str]]]:
    """An https server that has Amazon's name, a session that reaches it, and what was asked of it."""
    asked: list[str] = []
    key, made = certificate(AMAZON)

    class Answer(BaseHTTPRequestHandler):
        @override
        def log_message(self, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            asked.append(self.path)
            body = SNS_CERTIFICATE.public_bytes(Encoding.PEM) if self.path.endswith(".pem") else b"<Confirmed/>"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    cert_file, key_file = pem_files(folder, key, made)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert_file, key_file)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    session = requests.Session()
    session.verify = str(cert_file)
    session.mount("https://", _Elsewhere(server.server_address[1]))
    try:
        yield session, asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Elsewhere(HTTPAdapter):
    """Reaches the server of the test, which has to prove that it is the host in the address."""

    def __init__(self, port: int) -> None:
        self._port = port
        super().__init__()

    @override
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, server_hostname=AMAZON, assert_hostname=AMAZON)

    @override
    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        assert request.url is not None
        request.url = request.url.replace(f"https://{AMAZON}/", f"https://127.0.0.1:{self._port}/")
        return super().send(request, *args, **kwargs)
