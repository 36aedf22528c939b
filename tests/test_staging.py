"""Staging over a real mail server: mail that goes to one address instead of its recipients, or to some of them only."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from email import message_from_bytes
from functools import partial
from pathlib import Path

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select

from app import build, create_app
from mailer.bounces.recording import Recorder
from mailer.bounces.report import Kind, Recorded, Report
from mailer.campaigns.draft import compile_campaign
from mailer.delivery.deliverer import Deliverer
from mailer.delivery.outbox import Outbox
from mailer.errors import ConfigError
from mailer.interception.redirected import ORIGINAL, redirected
from mailer.interception.rules import ENOUGH, MOST_REDIRECTED, NOT_LISTED, Interception, interception
from mailer.interception.transport import InterceptingTransport, intercepted
from mailer.messages.addresses import Mailbox, comparable, envelope_address
from mailer.messages.layout import TemplateSource
from mailer.messages.links import PREVIEW, Links, PreviewLinks
from mailer.messages.recipient import Recipient
from mailer.messages.template import compile_message, delivery_id
from mailer.selector import database_at
from mailer.settings import Settings
from mailer.settings.combinations import refuse_impossible
from mailer.settings.per_person import FrequencyCap
from mailer.storage.database import Database
from mailer.storage.models import User
from mailer.suppression.suppressed_addresses import suppressed_addresses
from tests.conftest import user_row
from tests.databases import migrated_sqlite
from tests.harness import Harness
from tests.service import Service
from transports.base import About, Message, Status
from transports.memory import MemoryTransport
from transports.options import Options
from transports.rate import Rate, in_groups, rates_of
from transports.rate_options import OPTIONS

TEAM = "team@example.com"
KEY = ("k" * 40,)


def rules(**named: object) -> Interception:
    return interception(Settings(secret_key=KEY, **named))


def staged(db: Database, found: Interception, cap: FrequencyCap | None = None, **named: object) -> Harness:
    """A harness that is put together as `app.build` does it with these settings."""
    harness = Harness(db, **named)
    options = {
        name: getattr(harness.settings, name) for name in ("max_failure_rate", "suppress_after", "same_refusals")
    }
    harness.outbox = Outbox(db, lease=harness.lease, interception=found, cap=cap, **options)
    links = (PreviewLinks if found.redirect_to else Links)(KEY, "http://x")
    transport, template_of = intercepted(harness.transport, found), partial(compile_campaign, db, harness.settings)
    harness.deliverer = Deliverer(harness.outbox, transport, links, harness.settings, template_of)
    return harness


def addressed(*addresses: str) -> list[Message]:
    return [
        Message(f"c1.{number}", "n@example.com", one, b"To: x\r\n\r\nx\r\n") for number, one in enumerate(addresses)
    ]


# redirected


def test_every_message_goes_to_one_address(db: Database, add_users: Callable[..., list[str]]) -> None:
    add_users(db, 7)
    harness = staged(db, rules(redirect_to=TEAM))
    harness.accept()
    harness.run()

    assert harness.arrived() == [TEAM] * 7
    message = message_from_bytes(harness.store.messages[2].content)
    assert message["To"] == "Ann 2\r\n <team@example.com>"
    assert message[ORIGINAL] == "user00002@example.com"
    assert message["Subject"] == "Hi Ann"
    assert harness.counts() == {"sent": 7}
    assert harness.delivery("user00002").reply.startswith("MAILER_REDIRECT_TO: ")


def test_links_of_redirected_mail_unsubscribe_nobody(db: Database, add_users: Callable[..., list[str]]) -> None:
    add_users(db, 2)
    harness = staged(db, rules(redirect_to=TEAM))
    harness.accept()
    harness.run()
    links = Links(KEY, "http://x")
    for one in harness.store.messages:
        message = message_from_bytes(one.content)
        link = message["List-Unsubscribe"].strip("<>")
        assert links.read(link.rpartition("/")[2]) == PREVIEW
        bodies = [part.get_payload(decode=True).decode() for part in message.walk() if not part.is_multipart()]
        assert all(link in body for body in bodies)
        assert "user0000" not in "".join(bodies)


def test_at_most_fifty_messages_of_a_campaign_are_redirected(db: Database, add_users: Callable[..., list[str]]) -> None:
    add_users(db, 90)
    harness = staged(db, rules(redirect_to=TEAM), batch_size=40, checkpoint=7)
    harness.accept()
    harness.run()

    assert harness.counts() == {"sent": MOST_REDIRECTED, "skipped": 40}
    assert len(harness.arrived()) == MOST_REDIRECTED
    assert harness.delivery("user00089").reply == ENOUGH


def test_retries_take_no_other_places(any_db: Database, add_users: Callable[..., list[str]]) -> None:
    add_users(any_db, 60)
    harness = staged(any_db, rules(redirect_to=TEAM))
    harness.store.answer(None, *[Status.DEFERRED] * 5, about=About.MAILBOX)
    harness.accept()
    harness.run()
    assert harness.counts() == {"sent": 45, "deferred": 5, "skipped": 10}
    harness.now += 120_000
    harness.run()
    assert harness.counts() == {"sent": MOST_REDIRECTED, "skipped": 10}


def test_workers_count_the_fifty_together(db: Database, add_users: Callable[..., list[str]]) -> None:
    add_users(db, 200)
    harness = staged(db, rules(redirect_to=TEAM), batch_size=20, checkpoint=5)
    harness.accept()
    harness.plan()

    def work() -> None:
        while harness.deliverer.run_next(lambda: False):
            pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    harness.check()

    assert 0 < len(harness.arrived()) <= MOST_REDIRECTED
    counts = harness.counts()
    assert counts["sent"] == len(harness.arrived())
    assert counts["sent"] + counts["skipped"] == 200


def test_what_is_redirected_counts_neither_for_nor_against_an_address(
    db: Database, add_users: Callable[..., list[str]]
) -> None:
    add_users(db, 2)
    real = Harness(db, suppress_after=2)
    real.store.answer("user00000@example.com", Status.REFUSED, about=About.ADDRESS)
    real.accept()
    real.run()  # one refusal on record
    harness = staged(db, rules(redirect_to=TEAM), suppress_after=2)
    harness.now = real.now
    harness.store.answer(None, Status.SENT, Status.REFUSED, about=About.ADDRESS)
    harness.accept()
    harness.run()
    harness.store.answer(None, Status.REFUSED, Status.REFUSED, about=About.ADDRESS)
    harness.accept()
    harness.run()
    assert list(suppressed_addresses(db)) == []
    again = Harness(db, suppress_after=2)
    again.store.answer("user00000@example.com", Status.REFUSED, about=About.ADDRESS)
    again.accept()
    again.run()  # the second in a row, since the redirected one that was sent is no sign of life
    assert [one.address for one in suppressed_addresses(db)] == ["user00000@example.com"]


def test_what_comes_back_of_a_redirected_message_is_about_nobody(
    db: Database, add_users: Callable[..., list[str]]
) -> None:
    """The team's mailbox is full, or somebody there presses a button; the report names the message alone."""
    add_users(db, 2)
    harness = staged(db, rules(redirect_to=TEAM), suppress_after=1)
    harness.accept()
    harness.run()
    named = {"message_id": f"{delivery_id(harness.campaign_id, 'user00001')}@example.com", "source": "ses"}
    record = Recorder(db, harness.settings).record
    reports = [
        Report(kind=Kind.BOUNCED, about=About.ADDRESS, status="5.1.1", reply="no such user", **named),
        Report(kind=Kind.BOUNCED, about=About.ADDRESS, status="5.1.1", address="user00001@example.com", **named),
        Report(kind=Kind.COMPLAINED, **named),
    ]
    assert record(reports) == Recorded(unknown=3)
    assert list(suppressed_addresses(db)) == []
    with db.read() as connection:
        assert connection.scalars(select(User.id).where(User.unsubscribed_at.is_not(None))).all() == []


def test_redirected_mail_counts_as_none_that_a_person_has_had(
    db: Database, add_users: Callable[..., list[str]]
) -> None:
    add_users(db, 2)
    for found in (rules(redirect_to=TEAM), Interception()):
        harness = staged(db, found, FrequencyCap(1, "day"))
        harness.accept()
        harness.run()
        assert harness.counts() == {"sent": 2}


def test_dry_run_is_redirected_too(any_db: Database, add_users: Callable[..., list[str]]) -> None:
    add_users(any_db, 3)
    harness = staged(any_db, rules(redirect_to=TEAM))
    harness.accept(dry_run=True)
    harness.run()
    assert harness.arrived() == [TEAM]
    assert message_from_bytes(harness.store.messages[0].content)[ORIGINAL] == "news@example.com"


NAMES = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp")), max_size=90)
RENDERED = compile_message(
    TemplateSource("c1", Mailbox("N", "n@example.com"), "S", "[name] [unsubscribe]", "S", "http://x")
)


@given(NAMES, st.sampled_from(["ann@example.com", "änn@example.com", "a" * 60 + "@" + "b" * 60 + ".example.com"]))
def test_redirected_message_differs_in_whom_it_goes_to_alone(name: str, address: str) -> None:
    made = RENDERED.render(Recipient("u", name, address), "http://x/mailer/unsubscribe/a.b", 0)
    changed = redirected(made, TEAM)

    before, after = message_from_bytes(made.content), message_from_bytes(changed.content)
    assert changed.recipient == TEAM
    assert after.get_all("To") == [after["To"]]
    assert after["To"].endswith("<team@example.com>") or after["To"] == TEAM
    assert address not in after["To"]
    assert after.keys()[0] == ORIGINAL
    rest = [(field, value) for field, value in before.items() if field != "To"]
    assert [(field, value) for field, value in after.items() if field not in ("To", ORIGINAL)] == rest
    assert made.content.partition(b"\r\n\r\n")[2] == changed.content.partition(b"\r\n\r\n")[2]
    assert max(map(len, changed.content.split(b"\r\n"))) <= 998


# only some


LISTED = ("@Example.com", "Ann.B@münchen.example", "@straße.example")
REACHED = {
    "ann@example.com": True,
    "ANN@EXAMPLE.COM": False,  # no envelope form: what is written there has a lower-case domain
    "Ann@example.com": True,
    "ann+news@example.com": True,
    "ann@sub.example.com": False,
    "ann@example.com.evil.test": False,
    "ann@notexample.com": False,
    "ann@example.comm": False,
    "ann@example.com.": False,
    "ann%example.com@evil.test": False,
    '"ann@example.com"@evil.test': False,
    "ann@evil.test@example.com": False,
    "evil.test:ann@example.com": False,
    "ann.b@xn--mnchen-3ya.example": True,
    "ANN.B@xn--mnchen-3ya.example": True,
    "ann.b+x@xn--mnchen-3ya.example": False,
    "annb@xn--mnchen-3ya.example": False,
    "x@xn--strae-oqa.example": True,
    "x@strasse.example": False,
    "": False,
    "@example.com": False,
    "ann@[192.0.2.1]": False,
    "ann@example.com\r\nx": False,
}


@pytest.mark.parametrize("address", REACHED)
def test_address_is_reached_if_it_is_listed(address: str) -> None:
    assert rules(only_to=LISTED).reaches(address) is REACHED[address]


def test_others_are_skipped_with_the_reason(db: Database, add_users: Callable[..., list[str]]) -> None:
    add_users(db, 12)
    harness = staged(db, rules(only_to=("user00003@EXAMPLE.com", "@elsewhere.test")))
    harness.accept()
    harness.run()
    assert harness.arrived() == ["user00003@example.com"]
    assert harness.counts() == {"sent": 1, "skipped": 11}
    assert harness.delivery("user00004").reply == NOT_LISTED


def test_dry_run_to_an_address_that_is_not_listed_is_skipped(
    any_db: Database, add_users: Callable[..., list[str]]
) -> None:
    add_users(any_db, 1)
    harness = staged(any_db, rules(only_to=("@elsewhere.test",)))
    harness.accept(dry_run=True)
    harness.run()
    assert harness.arrived() == []
    assert harness.counts() == {"skipped": 1}


def test_those_who_wait_for_a_retry_are_skipped_once_it_is_set(
    any_db: Database, add_users: Callable[..., list[str]]
) -> None:
    add_users(any_db, 2)
    harness = Harness(any_db)
    harness.store.answer("user00001@example.com", Status.DEFERRED)
    harness.accept()
    harness.run()
    later = staged(any_db, rules(only_to=("@elsewhere.test",)))
    later.campaign_id, later.now = harness.campaign_id, harness.now + 120_000
    later.run()
    assert later.arrived() == []
    assert later.counts() == {"sent": 1, "skipped": 1}


DOMAINS = st.sampled_from(
    (
        *("example.com", "EXAMPLE.com", "sub.example.com", "example.com.", "evil.test", "example.com.evil.test"),
        *("bücher.example", "xn--bcher-kva.example", "BÜCHER.example", "examp1e.com", "[192.0.2.1]"),
        *("exa\u00admple.com", "example\u3002com"),
    )
)
LOCALS = st.sampled_from(
    ["ann", "Ann", "ann+x", "a.n.n", '"ann"', "ann@example.com", "änn", "ann%example.com", "", " ann"]
)
WRITTEN = st.builds("{}@{}".format, LOCALS, DOMAINS) | st.emails() | st.text(max_size=30)
ALLOWED = st.lists(
    st.sampled_from(["@example.com", "@EXAMPLE.COM", "@bücher.example", "ann@evil.test", "Ann+x@sub.example.com"]),
    min_size=1,
)


def plainly_listed(address: str, allowed: list[str]) -> bool:
    """The same decision in another way: by the parts of the address, each in its one comparable form."""
    local, at, domain = address.rpartition("@")
    for entry in allowed:
        wanted_local, _, wanted = entry.rpartition("@")
        ascii_domain = wanted.lower().encode("idna").decode()
        if at and domain == ascii_domain and (not wanted_local or comparable(local) == wanted_local.lower()):
            return True
    return False


@given(st.lists(WRITTEN, max_size=12), ALLOWED)
def test_nothing_leaves_to_an_address_that_is_not_listed(written: list[str], allowed: list[str]) -> None:
    transport = MemoryTransport()
    barrier = InterceptingTransport(transport, rules(only_to=tuple(allowed)))
    messages = addressed(*written, *filter(None, map(envelope_address, written)))

    outcomes = list(barrier.send(iter(messages)))

    assert [one.id for one in outcomes] == [one.id for one in messages]
    left = {one.recipient for one in transport.store.messages}
    assert all(plainly_listed(one, allowed) for one in left)
    for outcome, message in zip(outcomes, messages, strict=True):
        assert (outcome.status is Status.SENT) == (message.recipient in left)
        reaches_them = envelope_address(message.recipient) == message.recipient and plainly_listed(
            message.recipient, allowed
        )
        assert (message.recipient in left) == reaches_them


@settings(max_examples=15)
@given(st.lists(WRITTEN.filter(lambda one: "\0" not in one), min_size=1, max_size=25), ALLOWED)
def test_no_user_outside_the_list_gets_mail_whatever_their_address(written: list[str], allowed: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        db = database_at(migrated_sqlite(Path(folder) / "mailer.db"))
        storable = [one.encode("utf-8", "ignore").decode() for one in written]
        rows = [user_row(number, id=f"u{number}", email=one or None) for number, one in enumerate(storable)]
        with db.write() as connection:
            connection.execute(insert(User), rows)
        harness = staged(db, rules(only_to=tuple(allowed)))
        harness.accept()
        harness.run()
        assert all(plainly_listed(one, allowed) for one in harness.arrived())
        db.close()


def test_barrier_asks_for_no_slot_when_there_is_nothing_to_send() -> None:
    rate = Rate.from_options(Options("x", "rate=1000/second", OPTIONS), "x")

    class Rated(MemoryTransport):
        def send(self, messages):
            for group in in_groups(messages, rate, 5):
                yield from super().send(group)

    barrier = InterceptingTransport(Rated(), rules(only_to=("@example.com",)))
    sent = list(barrier.send(addressed("a@example.com", "b@evil.test", "c@example.com", "d@evil.test")))
    assert [one.status for one in sent] == [Status.SENT, Status.REFUSED, Status.SENT, Status.REFUSED]
    assert rates_of(barrier) == ()


# the settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAILER_REDIRECT_TO", ""),
        ("MAILER_REDIRECT_TO", "team"),
        ("MAILER_REDIRECT_TO", "@example.com"),
        ("MAILER_REDIRECT_TO", "a@example.com, b@example.com"),
        ("MAILER_REDIRECT_TO", "team@exa mple.com"),
        ("MAILER_REDIRECT_TO", "Team <team@example.com>"),
        ("MAILER_ONLY_TO", ""),
        ("MAILER_ONLY_TO", " , "),
        ("MAILER_ONLY_TO", "example.com"),
        ("MAILER_ONLY_TO", "*"),
        ("MAILER_ONLY_TO", "*@example.com"),
        ("MAILER_ONLY_TO", "@example.com, @"),
        ("MAILER_ONLY_TO", "@-example-"),
        ("MAILER_ONLY_TO", "@example.com;@example.org"),
        ("MAILER_ONLY_TO", "@*.example.com"),
    ],
)
def test_malformed_value_refuses_to_start(
    name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAILER_DATABASE_URL", f"sqlite:///{tmp_path}/mailer.db")
    monkeypatch.setenv(name, value)
    if value == "*@example.com":  # an address, though not the one that somebody may have meant: it reaches nobody else
        assert not interception(Settings.from_env()).reaches("ann@example.com")
        return
    with pytest.raises(ConfigError, match=name):
        build(Settings.from_env())


def test_both_at_once_refuse_to_start() -> None:
    with pytest.raises(ConfigError, match="MAILER_REDIRECT_TO and MAILER_ONLY_TO"):
        refuse_impossible(Settings(secret_key=KEY, redirect_to=TEAM, only_to=("@example.com",)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "setting", [{"redirect_to": TEAM}, {"only_to": "@nowhere.test"}], ids=["redirected", "some only"]
)
def test_service_says_so_everywhere_and_holds_to_it(
    tmp_path: Path, add_users: Callable[..., list[str]], setting: dict[str, str]
) -> None:
    service = Service(tmp_path, transport=f"file:{tmp_path}/mail?format=mbox", **setting)
    add_users(service.db, 3)
    with service:
        headers = service.headers("user00000")
        [name] = setting
        ready = service.get("/readyz").json()
        assert any(f"staging: MAILER_{name.upper()}" in warning for warning in ready["warnings"])
        assert "example.com" not in str(ready["warnings"])
        assert f"MAILER_{name.upper()}" in service.get("/mailer/sign-in").text
        ended = service.finish(headers, service.post(headers))
        assert (ended["sent"], ended["skipped"]) == ((3, 0) if name == "redirect_to" else (0, 3))
        dry = service.finish(headers, service.post(headers, dryrun=True))
        assert (dry["sent"], dry["skipped"]) == ((1, 0) if name == "redirect_to" else (0, 1))
        found = requests.get(f"{service.url}/mailer/mailbox/api/v1/messages", headers=headers, timeout=30).json()
        assert {one["Address"] for message in found["messages"] for one in message["To"]} <= {TEAM}
        assert found["total"] == (4 if name == "redirect_to" else 0)


def test_without_these_settings_nothing_is_in_the_way(any_db: Database) -> None:
    services = build(Settings(any_db.url, transport="memory:", secret_key=KEY, mailbox=0))
    assert type(services.transport) is MemoryTransport
    app = create_app(Settings(any_db.url, transport="memory:", secret_key=KEY))
    assert "MAILER_" not in str([one for one in app.test_client().get("/readyz").json["warnings"] if "staging" in one])
    assert "banner" not in app.test_client().get("/mailer/sign-in").text
    services.db.close()
    app.extensions["mailer"].db.close()
