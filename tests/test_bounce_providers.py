"""What providers post is read as documented if it is theirs, and refused without effect if it is not."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from app import create_app
from mailer.api import bounces
from mailer.api.errors import EnvelopeApi, register_errors
from mailer.api.guard import Guard
from mailer.bounces.providers import amazon_hosts, used_tokens
from mailer.bounces.providers.amazon_hosts import Certificates, fetch, is_certificate, is_confirmation
from mailer.bounces.providers.base import NotGenuine
from mailer.bounces.providers.classification import judge
from mailer.bounces.providers.judgements import ROWS
from mailer.bounces.providers.registry import providers_of
from mailer.bounces.providers.used_tokens import UsedTokens
from mailer.bounces.providers.values import address_of, status_of, time_of
from mailer.bounces.report import Kind, Report
from mailer.callers.client_address import TrustedProxies
from mailer.callers.rate_limits import RateLimiter
from mailer.callers.tokens import Tokens
from mailer.errors import ProviderUnavailable
from mailer.selector import database_at
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.models import RateLimit
from tests import bounce_examples as examples
from tests.bounce_mails import BOUNCE
from tests.bounce_records import Remembering
from tests.databases import migrated_sqlite
from transports.base import About

PATH = "/api/v1/mailer/bounces"
SETTINGS = Settings(
    bounces_ses_topic=(examples.TOPIC,),
    bounces_mailgun_key=examples.MAILGUN_KEY,
    bounces_sendgrid_key=examples.SENDGRID_PUBLIC,
    bounces_postmark_secret=examples.SECRET,
    bounces_sparkpost_secret=examples.SECRET,
    bounces_mailjet_secret=examples.SECRET,
)
BASIC = {"Authorization": "Basic " + base64.b64encode(f"mailer:{examples.SECRET}".encode()).decode()}
WRONG = {"Authorization": "Basic " + base64.b64encode(f"mailer:{examples.SECRET}x".encode()).decode()}


class Service:
    """The route alone, with a recorder that remembers and a way to Amazon that ends on this machine."""

    def __init__(self, db: Database, way: amazon_hosts.Fetch, rate: str = "") -> None:
        self.record = Remembering()
        app = Flask(__name__)
        app.config.update(API_TITLE="Mailer", API_VERSION="1", OPENAPI_VERSION="3.0.3")
        limiter = RateLimiter(db, rate)
        guard = Guard(Tokens(db), limiter, limiter, TrustedProxies(()))
        EnvelopeApi(app).register_blueprint(bounces.make_blueprint(guard, providers_of(SETTINGS, db, way), self.record))
        register_errors(app)
        self.client: FlaskClient = app.test_client()

    def post(self, provider: str, body: Any, headers: dict[str, str] | None = None) -> TestResponse:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.post(f"{PATH}/{provider}", data=data, headers=headers)


@pytest.fixture(scope="module")
def way(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[amazon_hosts.Fetch, list[str]]]:
    with examples.amazon(tmp_path_factory.mktemp("amazon")) as (session, asked):
        yield lambda url: fetch(url, session=session), asked


@pytest.fixture
def service(tmp_path: Path, way: tuple[amazon_hosts.Fetch, list[str]]) -> Iterator[Service]:
    """For what does not depend on the database."""
    db = database_at(migrated_sqlite(tmp_path / "mailer.db"))
    way[1].clear()
    yield Service(db, way[0])
    db.close()


@pytest.fixture
def on_both(db: Database, way: tuple[amazon_hosts.Fetch, list[str]]) -> Service:
    return Service(db, way[0])


def accepted(service: Service, provider: str, body: Any, headers: dict[str, str] | None = None) -> list[Report]:
    """The reports that a request leads to, which come a second time without harm."""
    first = service.post(provider, body, headers)
    again = service.post(provider, body, headers)
    assert (first.status_code, again.status_code) == (200, 200), first.text
    assert again.json
    assert again.json["repeated"] == len(service.record.reports)
    return service.record.reports


def refused(service: Service, provider: str, body: Any, headers: dict[str, str] | None = None) -> TestResponse:
    answer = service.post(provider, body, headers)
    assert answer.status_code == 401
    assert service.record.reports == []
    return answer


# --- SES


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("name", ["notificationType", "eventType"])
def test_bounce_of_ses_in_both_shapes_and_signatures(service: Service, version: str, name: str) -> None:
    body = examples.envelope(examples.ses_bounce(name=name), version=version)

    [report] = accepted(service, "ses", body, {"Content-Type": "text/plain; charset=UTF-8"})

    assert report == Report(
        kind=Kind.BOUNCED,
        address="jane@example.net",
        about=About.ADDRESS,
        permanent=True,
        status="5.1.1",
        reply="smtp; 550 5.1.1 <jane@example.net>... User unknown",
        sent_to=(examples.TOKEN,),
        campaign_id="c4mpa1gn",
        message_id="abc@example.com",
        at=1795953600123,
        source="ses",
    )


def test_forged_twins_of_ses_are_refused(service: Service) -> None:
    true = examples.envelope(examples.ses_bounce())
    other, _ = examples.certificate(examples.AMAZON)
    forged = [
        {**true, "Message": true["Message"].replace("jane@", "john@")},
        {**true, "Signature": ""},
        {**true, "SignatureVersion": "3"},
        {name: value for name, value in true.items() if name != "Signature"},
        examples.envelope(examples.ses_bounce(), key=other),
        examples.envelope(examples.ses_bounce(), TopicArn=examples.TOPIC + "x"),
        {**true, "SigningCertURL": true["SigningCertURL"].replace("amazonaws.com", "amazonaws.com.example.net")},
        {**true, "Type": "SubscriptionConfirmation"},
        {"Type": "Notification"},
        examples.ses_bounce(),
    ]
    for body in forged:
        refused(service, "ses", body)


def test_complaint_of_ses(service: Service) -> None:
    [report] = accepted(service, "ses", examples.envelope(examples.ses_complaint()))
    assert (report.kind, report.address, report.sent_to) == (Kind.COMPLAINED, "mary@example.net", (examples.TOKEN,))


@pytest.mark.parametrize("kind", ["not-spam", "auth-failure", "virus"])
def test_feedback_of_ses_that_is_no_complaint_is_ignored(service: Service, kind: str) -> None:
    assert accepted(service, "ses", examples.envelope(examples.ses_complaint(kind))) == []


def test_complaint_of_before_at_ses_is_a_bounce_of_this_message(service: Service) -> None:
    event = examples.ses_complaint(None, "OnAccountSuppressionList")
    [report] = accepted(service, "ses", examples.envelope(event))
    assert (report.kind, report.about, report.permanent) == (Kind.BOUNCED, About.ADDRESS, True)


def test_delay_of_ses(service: Service) -> None:
    [report] = accepted(service, "ses", examples.envelope(examples.ses_delay()))
    assert (report.kind, report.about, report.status) == (Kind.DELAYED, About.TRANSPORT, "4.4.1")


@pytest.mark.parametrize(
    "message",
    [
        "Successfully validated SNS topic for Amazon SES event publishing.",
        {"eventType": "Open"},
        {"notificationType": 7},
    ],
    ids=["greeting", "open", "nonsense"],
)
def test_other_messages_of_ses_are_ignored(service: Service, message: Any) -> None:
    assert accepted(service, "ses", examples.envelope(message)) == []


def test_subscription_is_confirmed_by_a_visit(service: Service, way: tuple[amazon_hosts.Fetch, list[str]]) -> None:
    assert service.post("ses", examples.confirmation()).status_code == 200
    assert [path for path in way[1] if "ConfirmSubscription" in path] == [
        examples.SUBSCRIBE.removeprefix(f"https://{examples.AMAZON}")
    ]


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=" + examples.TOPIC,
        examples.SUBSCRIBE.replace("amazonaws.com", "amazonaws.com.example.net"),
        examples.SUBSCRIBE.replace("https://sns", "https://sns@example.net"),
        examples.SUBSCRIBE.replace("amazonaws.com", "amazonaws.com:8443"),
        examples.SUBSCRIBE.replace("eu-west-1.", "eu-west-2."),
        examples.SUBSCRIBE.replace("ConfirmSubscription", "DeleteTopic"),
        examples.SUBSCRIBE.replace(examples.TOPIC, examples.TOPIC + "x"),
        "https://[",
    ],
)
def test_nothing_else_is_visited(service: Service, way: tuple[amazon_hosts.Fetch, list[str]], url: str) -> None:
    refused(service, "ses", examples.confirmation(SubscribeURL=url))
    assert [path for path in way[1] if "Action" in path] == []


def test_certificate_is_fetched_once(service: Service, way: tuple[amazon_hosts.Fetch, list[str]]) -> None:
    for _ in range(3):
        service.post("ses", examples.envelope(examples.ses_bounce()))
    assert len(way[1]) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-" + "0" * 32 + ".pem",
        "https://example.com/SimpleNotificationService-" + "0" * 32 + ".pem",
        "https://sns.eu-west-1.amazonaws.com/other.pem",
        "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-" + "0" * 32 + ".pem",
        "https://bucket.s3.amazonaws.com/SimpleNotificationService-" + "0" * 32 + ".pem",
        examples.CERTIFICATE + "?x",
    ],
)
def test_certificates_come_from_amazon_alone(url: str) -> None:
    asked: list[str] = []
    with pytest.raises(NotGenuine):
        Certificates(lambda address: asked.append(address) or b"").key(url, "eu-west-1")  # type: ignore[func-returns-value]
    assert asked == []


def test_addresses_of_china_are_amazons_too() -> None:
    at, topic = "https://sns.cn-north-1.amazonaws.com.cn", "arn:aws-cn:sns:cn-north-1:123456789012:bounces"
    assert is_certificate(f"{at}/SimpleNotificationService-{'0' * 32}.pem", "cn-north-1")
    assert is_confirmation(f"{at}/?Action=ConfirmSubscription&TopicArn={topic}&Token=1", "cn-north-1", topic)


def test_host_that_is_not_amazons_is_found_out(tmp_path: Path) -> None:
    with examples.amazon(tmp_path) as (session, asked):
        session.verify = True  # as in production: the server's certificate is from nobody whom the system trusts
        with pytest.raises(ProviderUnavailable):
            fetch(examples.CERTIFICATE, session=session)
    assert asked == []


def test_only_so_many_certificates_are_fetched_a_minute() -> None:
    asked: list[str] = []

    def away(url: str) -> bytes:
        asked.append(url)
        raise ProviderUnavailable

    certificates = Certificates(away)
    for number in range(30):
        with pytest.raises(ProviderUnavailable):
            certificates.key(examples.CERTIFICATE[:-12] + f"{number:08x}.pem", "eu-west-1")
    assert len(asked) == amazon_hosts.MOST_FETCHED


def test_ses_is_told_to_try_again_while_its_certificate_cannot_be_had(tmp_path: Path) -> None:
    def away(url: str) -> bytes:
        raise ProviderUnavailable

    db = database_at(migrated_sqlite(tmp_path / "mailer.db"))
    answer = Service(db, away).post("ses", examples.envelope(examples.ses_bounce()))
    db.close()
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")


def test_log_says_from_which_host_a_certificate_could_not_be_had(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    db = database_at(migrated_sqlite(tmp_path / "mailer.db"))
    with examples.amazon(tmp_path) as (session, _):
        session.verify = True  # nobody whom the system trusts has signed for this server
        service = Service(db, lambda url: fetch(url, session=session))
        assert service.post("ses", examples.envelope(examples.ses_bounce())).status_code == 503
    db.close()

    [line] = [one.getMessage() for one in caplog.records if one.name == "mailer.api.bounces"]
    assert line.startswith("ses: not taken: ")
    assert "from sns.eu-west-1.amazonaws.com: SSLError." in line


# --- the log tells why a request was refused


def test_log_tells_why_a_request_was_refused(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    event, now = examples.mailgun_failed(), time.time()
    refused(service, "mailgun", examples.mailgun(event, key="another key of somebody"))
    refused(service, "mailgun", examples.mailgun(event, at=now - 13 * 3600))
    refused(service, "postmark", examples.POSTMARK_BOUNCE, WRONG)
    other = {**examples.envelope(examples.ses_bounce()), "TopicArn": f"{examples.TOPIC}x"}
    refused(service, "ses", other)

    lines = [one.getMessage() for one in caplog.records if one.name == "mailer.api.guard"]
    assert lines == [
        "mailgun: refused: The signature or the secret is missing or wrong.",
        "mailgun: refused: The signature is too old, or the clock of this machine is wrong.",
        "postmark: refused: The signature or the secret is missing or wrong.",
        "ses: refused: This topic is not the one of MAILER_BOUNCES_SES_TOPIC.",
    ]


def test_log_is_not_flooded_by_requests_that_are_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    db = database_at(migrated_sqlite(tmp_path / "mailer.db"))
    service = Service(db, lambda url: b"", rate="3/minute")
    answers = [service.post("postmark", examples.POSTMARK_BOUNCE, WRONG).status_code for _ in range(10)]
    db.close()

    assert answers[-1] == 429
    assert sum(one.name == "mailer.api.guard" for one in caplog.records) == answers.count(401) <= 3


# --- Mailgun


def test_bounce_of_mailgun(service: Service) -> None:
    [report] = accepted(service, "mailgun", examples.mailgun(examples.mailgun_failed()))
    assert report == Report(
        kind=Kind.BOUNCED,
        address="jane@example.net",
        about=About.ADDRESS,
        permanent=True,
        status="5.1.1",
        reply="5.1.1 The email account does not exist",
        sent_to=(examples.TOKEN,),
        campaign_id="c4mpa1gn",
        message_id="abc@example.com",
        at=1795953600500,
        source="mailgun",
    )


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (examples.mailgun_failed(severity="temporary", reason="generic"), Kind.DELAYED),
        (examples.mailgun_failed(event="complained"), Kind.COMPLAINED),
        (examples.mailgun_failed(event="rejected"), Kind.BOUNCED),
    ],
)
def test_other_events_of_mailgun(service: Service, event: Any, kind: Kind) -> None:
    [report] = accepted(service, "mailgun", examples.mailgun(event))
    assert report.kind is kind


@pytest.mark.parametrize("event", [examples.mailgun_failed(event="opened"), {}, None, [1]])
def test_unknown_events_of_mailgun_are_ignored(service: Service, event: Any) -> None:
    assert accepted(service, "mailgun", examples.mailgun(event)) == []


def test_forged_twins_of_mailgun_are_refused(service: Service) -> None:
    event, now = examples.mailgun_failed(), time.time()
    true = json.loads(examples.mailgun(event))
    refused(service, "mailgun", examples.mailgun(event, key="another key of somebody"))
    refused(service, "mailgun", {**true, "signature": {**true["signature"], "token": "u" * 50}})
    refused(service, "mailgun", {**true, "signature": {**true["signature"], "signature": "ä"}})
    refused(service, "mailgun", {"event-data": event})
    refused(service, "mailgun", [])
    refused(service, "mailgun", examples.mailgun(event, at=now - 13 * 3600))
    refused(service, "mailgun", examples.mailgun(event, at=now + 3600))


def test_token_of_mailgun_counts_for_one_event(on_both: Service) -> None:
    service = on_both
    [report] = accepted(service, "mailgun", examples.mailgun(examples.mailgun_failed()))
    other = examples.mailgun(examples.mailgun_failed(recipient="john@example.net"))

    assert service.post("mailgun", other).status_code == 401

    assert service.record.reports == [report]


def test_event_of_mailgun_that_was_not_recorded_comes_again(on_both: Service) -> None:
    service = on_both
    body, record = examples.mailgun(examples.mailgun_failed()), service.record
    answer = service.post("mailgun", body)
    record.reports.clear()  # as if the process had been killed before the commit
    again = service.post("mailgun", body)
    assert (answer.status_code, again.status_code, len(record.reports)) == (200, 200, 1)


def test_tokens_are_forgotten_once_their_signature_is_too_old(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(used_tokens, "TIDY_SECONDS", 0.0)
    used = UsedTokens(db, "mailgun", 1000)
    used.remember("one", b"a", now=5000)
    assert used.for_another("one", b"b", now=5999)
    assert not used.for_another("one", b"a", now=5999)
    assert not used.for_another("two", b"b", now=5999)
    assert not used.for_another("one", b"b", now=6000)

    used.remember("two", b"b", now=6000)

    with db.read() as connection:
        assert connection.scalar(select(func.count()).select_from(RateLimit)) == 2


# --- SendGrid


def test_events_of_sendgrid_several_at_once(service: Service) -> None:
    reports = accepted(service, "sendgrid", *examples.sendgrid(examples.SENDGRID_EVENTS))
    assert [(one.kind, one.address, one.about, one.permanent) for one in reports] == [
        (Kind.BOUNCED, "jane@example.net", About.ADDRESS, True),
        (Kind.COMPLAINED, "mary@example.net", About.MESSAGE, True),
        (Kind.DELAYED, "x@example.net", About.ADDRESS, False),
        (Kind.BOUNCED, "y@example.net", About.ADDRESS, True),
    ]
    assert reports[0] == Report(
        kind=Kind.BOUNCED,
        address="jane@example.net",
        about=About.ADDRESS,
        status="5.1.1",
        reply="550 5.1.1 no such user here",
        campaign_id="c4mpa1gn",
        message_id="abc@example.com",
        at=1795953600000,
        source="sendgrid",
    )


def test_block_at_sendgrid_is_soft(service: Service) -> None:
    event = {**examples.SENDGRID_EVENTS[0], "type": "blocked", "bounce_classification": "Reputation", "status": ""}
    [report] = accepted(service, "sendgrid", *examples.sendgrid([event]))
    assert (report.about, report.permanent) == (About.SENDER, False)


def test_forged_twins_of_sendgrid_are_refused(service: Service) -> None:
    body, headers = examples.sendgrid(examples.SENDGRID_EVENTS)
    stamp = "x-twilio-email-event-webhook-timestamp"
    refused(service, "sendgrid", body.replace(b"jane", b"john"), headers)
    refused(service, "sendgrid", body, {**headers, stamp: "1795953600"})
    refused(service, "sendgrid", body, {**headers, "x-twilio-email-event-webhook-signature": "AAAA"})
    refused(service, "sendgrid", body)
    refused(
        service, "sendgrid", *examples.sendgrid(examples.SENDGRID_EVENTS, key=ec.generate_private_key(ec.SECP256R1()))
    )


# --- those with a secret


@pytest.mark.parametrize(
    ("provider", "event"),
    [
        ("postmark", examples.POSTMARK_BOUNCE),
        ("sparkpost", [examples.SPARKPOST_BOUNCE]),
        ("mailjet", examples.MAILJET_BOUNCE),
    ],
)
def test_bounce_of_a_provider_with_a_secret(service: Service, provider: str, event: Any) -> None:
    refused(service, provider, event)
    refused(service, provider, event, WRONG)
    refused(service, provider, event, {"Authorization": "Bearer " + examples.SECRET})

    [report] = accepted(service, provider, event, BASIC)

    told = (report.kind, report.address, report.about, report.permanent, report.status, report.campaign_id)
    assert told == (Kind.BOUNCED, "jane@example.net", About.ADDRESS, True, "5.1.1", "c4mpa1gn")
    assert report.at is not None
    assert report.sent_to == ((examples.TOKEN,) if provider == "sparkpost" else ())


def test_complaints_of_providers_with_a_secret(service: Service) -> None:
    told = examples.SPARKPOST_BOUNCE["msys"]["message_event"]
    service.post(
        "postmark", {**examples.POSTMARK_BOUNCE, "RecordType": "SpamComplaint", "Type": "SpamComplaint"}, BASIC
    )
    service.post(
        "sparkpost", [{"msys": {"message_event": {**told, "type": "spam_complaint", "fbtype": "abuse"}}}], BASIC
    )
    service.post("mailjet", [{**examples.MAILJET_BOUNCE, "event": "spam", "source": "JMRPP"}], BASIC)
    assert [one.kind for one in service.record.reports] == [Kind.COMPLAINED] * 3


@pytest.mark.parametrize(
    ("provider", "body"),
    [
        ("postmark", {**examples.POSTMARK_BOUNCE, "Type": "AutoResponder"}),
        ("postmark", {**examples.POSTMARK_BOUNCE, "RecordType": "Open"}),
        ("postmark", {}),
        ("sparkpost", [{"msys": {}}]),
        ("sparkpost", [{"msys": {"message_event": {"type": "delivery"}}}]),
        ("sparkpost", [{"msys": {"message_event": {"type": "bounce", "bounce_class": 60}}}]),
        ("mailjet", {"event": "sent"}),
        ("mailjet", [None, 7, "x"]),
    ],
)
def test_other_events_are_ignored(service: Service, provider: str, body: Any) -> None:
    assert accepted(service, provider, body, BASIC) == []


def test_content_of_a_bounce_of_postmark_names_the_campaign(service: Service) -> None:
    event = {**examples.POSTMARK_BOUNCE, "Metadata": {}, "Content": BOUNCE.decode()}
    [report] = accepted(service, "postmark", event, BASIC)
    assert report.campaign_id == "c4mpa1gn"


def test_soft_bounce_of_mailjet(service: Service) -> None:
    event = {**examples.MAILJET_BOUNCE, "hard_bounce": False, "error": "quota exceeded"}
    [report] = accepted(service, "mailjet", event, BASIC)
    assert (report.about, report.permanent) == (About.MAILBOX, False)


# --- all of them


def test_provider_that_is_not_set_up_is_not_there(tmp_path: Path) -> None:
    app = create_app(Settings(database_url=migrated_sqlite(tmp_path / "mailer.db"), secret_key=("k" * 40,)))
    names = ("sendgrid", "mailgun", "ses", "postmark", "sparkpost", "mailjet", "nobody", "x" * 300)
    statuses = {name: app.test_client().post(f"{PATH}/{name}", json={}).status_code for name in names}
    app.extensions["mailer"].db.close()
    assert statuses == dict.fromkeys(names, 404)


def test_service_as_it_is_built_takes_a_bounce(tmp_path: Path) -> None:
    url = migrated_sqlite(tmp_path / "mailer.db")
    app = create_app(Settings(database_url=url, secret_key=("k" * 40,), bounces_postmark_secret=examples.SECRET))
    client = app.test_client()
    answer = client.post(f"{PATH}/postmark", json=examples.POSTMARK_BOUNCE, headers=BASIC)
    assert (answer.status_code, answer.json and answer.json["unknown"]) == (200, 1)  # no campaign of ours
    assert client.post(f"{PATH}/postmark", json=examples.POSTMARK_BOUNCE).status_code == 401
    assert client.post(f"{PATH}/postmark?x=1", json={}, headers=BASIC).status_code == 400
    assert client.post(f"{PATH}/postmark", data=b"[" * 100_000, headers=BASIC).status_code == 400
    assert client.post(f"{PATH}/postmark", data=b"x" * (1 << 20) + b"x", headers=BASIC).status_code == 413
    app.extensions["mailer"].db.close()


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"a": 1, "a": 2}', b"[" * 100_000, b'{"a": NaN}'])
def test_body_that_is_no_json_is_refused(service: Service, body: bytes) -> None:
    assert service.post("mailjet", body, BASIC).status_code == 400
    assert service.record.reports == []


def test_route_is_described(tmp_path: Path) -> None:
    app = create_app(Settings(database_url=migrated_sqlite(tmp_path / "mailer.db"), secret_key=("k" * 40,)))
    told = app.test_client().get("/docs/openapi.json").json
    app.extensions["mailer"].db.close()
    assert told
    post = told["paths"][f"{PATH}/{{provider}}"]["post"]
    assert set(post["responses"]) >= {"200", "400", "401", "404", "413", "429", "503"}
    assert "security" not in post


def test_failures_are_counted_and_the_genuine_go_on(db: Database, way: tuple[amazon_hosts.Fetch, list[str]]) -> None:
    service = Service(db, way[0], "3/minute")
    statuses = [service.post("postmark", examples.POSTMARK_BOUNCE, WRONG).status_code for _ in range(5)]
    assert statuses == [401, 401, 401, 429, 429]
    assert service.post("postmark", examples.POSTMARK_BOUNCE, BASIC).status_code == 200


def test_every_word_is_in_the_table_once_and_has_its_source() -> None:
    words = [(row.provider, row.word.lower()) for row in ROWS]
    assert len(words) == len(set(words))
    assert all(row.source for row in ROWS)


@pytest.mark.parametrize(
    ("provider", "word", "status", "about"),
    [
        ("ses", "Permanent/General", "", About.ADDRESS),
        ("ses", "Permanent/General", "5.7.1", About.MESSAGE),
        ("ses", "Permanent/General", "5.7.26", About.SENDER),
        ("ses", "Permanent/General", "5.1.8", About.SENDER),
        ("ses", "Permanent/General", "5.2.2", About.MAILBOX),
        ("ses", "Permanent/NoEmail", "5.7.1", About.ADDRESS),
        ("postmark", "HardBounce", "5.5.0", About.ADDRESS),
        ("sparkpost", "30", "5.6.0", About.MESSAGE),
        ("sparkpost", "999", "5.1.1", About.MESSAGE),
    ],
)
def test_code_decides_where_the_word_is_vague(provider: str, word: str, status: str, about: About) -> None:
    row = judge(provider, word, status=status)
    assert row is not None
    assert row.about is about


@pytest.mark.parametrize(
    ("text", "status"),
    [("550 5.1.1 gone", "5.1.1"), ("from 10.5.1.1 x", ""), ("5.1.1.2", ""), ("(#5.2.2)", "5.2.2"), ("", "")],
)
def test_status_code_in_words(text: str, status: str) -> None:
    assert status_of(text) == status


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("1795953600", 1795953600000),
        ("2026-11-29T13:28:10.2735393-04:00", 1795973290273),
        ("2026-11-29T12:00:00Z", 1795953600000),
        ("nonsense", None),
        ("9" * 40, None),
        ("-5", None),
    ],
)
def test_times(text: str, at: int | None) -> None:
    assert time_of(text) == at


@pytest.mark.parametrize("text", ["", "@example.net", "a b@example.net", "x" * 400 + "@example.net", "nobody"])
def test_what_is_no_address(text: str) -> None:
    assert address_of(text) is None
