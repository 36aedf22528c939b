"""`dkim:(…)`: which messages are signed, by which keys, what of them is signed, and what passes through it."""

from __future__ import annotations

import re
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import cache
from operator import length_hint
from pathlib import Path
from types import MappingProxyType

import dkim
import pytest
from dkim.canonicalization import CanonicalizationPolicy, Relaxed
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import rendering
from mailer.settings.mailbox import stays_here
from mailer.settings.site_address import smtp_hosts
from mailer.storage.database import Database
from tests.dkim_keys import both_keys, ed25519_pem, public_texts, rsa_pem, write_key, write_table
from tests.harness import MINUTE, Harness
from tests.smtp_servers import FakeServer, running
from transports import About, Message, Outcome, Status, TransportUnavailable, from_url
from transports.base import vouched_message
from transports.dkim.fields import OVERSIGNED, author_domain, signed_fields
from transports.dkim.key_table import read_table
from transports.dkim.keys import ED25519, RSA, KeyRing
from transports.dkim.records import keys_in
from transports.dkim.signature import MessageSigner, is_relaxed
from transports.dkim.transport import DKIMTransport
from transports.memory import MemoryStore, MemoryTransport, named_store
from transports.rate import rates_of

NOW = 1_800_000_000.0
HEAD = "From: News <news@{domain}>\r\nTo: ann@example.com\r\nSubject: s\r\nDate: d\r\nMessage-ID: <{number}@x>\r\n"


def message(number: int | str = 0, domain: str = "example.org", more: str = "", body: str = "Hello\r\n") -> Message:
    content = (HEAD.format(domain=domain, number=number) + more + "\r\n" + body).encode()
    return Message(f"m{number}", "bounce@example.net", "ann@example.com", content)


class Signing:
    """A signing transport over a store in memory, with a clock that stands still; `url` has its keys."""

    def __init__(self, table: Path, options: str = "", now: float = NOW) -> None:
        name = uuid.uuid4().hex
        self.store = named_store(name)
        self.url = f"dkim:(memory:{name})?keys={table}{options}"
        self.transport = from_url(self.url)
        assert isinstance(self.transport, DKIMTransport)
        self.transport._clock = lambda: self.now
        self.now = now

    def send(self, *messages: Message) -> list[Outcome]:
        return list(self.transport.send(iter(messages)))

    def signed(self, one: Message | None = None) -> bytes:
        self.send(one or message())
        return self.store.messages[-1].content

    def verifies(self, content: bytes) -> list[bool]:
        return verified(content, public_texts(self.url))


def verified(content: bytes, texts: dict[str, str]) -> list[bool]:
    """What the library says of each signature, with these public keys."""
    count = len(signature_tags(content))

    def dns(name: bytes, **_: int) -> bytes:
        return texts[name.decode().rstrip(".")].encode()

    def verify(place: int) -> bool:
        try:
            return bool(dkim.DKIM(content).verify(idx=place, dnsfunc=dns))
        except dkim.ValidationError:  # of the body's hash
            return False

    return [verify(place) for place in range(count)]


def signature_tags(content: bytes) -> list[dict[str, str]]:
    """The tags of each signature, without the blanks of folding."""
    found = re.findall(rb"^DKIM-Signature:((?:.*\r\n[ \t])*.*\r\n)", content, re.MULTILINE)
    return [dict(tag.split("=", 1) for tag in re.sub(r"\s", "", one.decode()).rstrip(";").split(";")) for one in found]


@pytest.fixture
def both(tmp_path: Path) -> Signing:
    return Signing(both_keys(tmp_path))


def test_two_keys_make_two_signatures_that_verify(both: Signing) -> None:
    content = both.signed()

    tags = signature_tags(content)
    assert [(one["a"], one["s"], one["d"]) for one in tags] == [
        ("rsa-sha256", "r1", "example.org"),
        ("ed25519-sha256", "e1", "example.org"),
    ]
    assert both.verifies(content) == [True, True]
    assert both.verifies(content.replace(b"Hello", b"Hallo")) == [False, False]
    assert content.endswith(message().content)


def test_one_key_in_the_url(tmp_path: Path) -> None:
    key, name = write_key(tmp_path / "key.pem", rsa_pem()), uuid.uuid4().hex
    url = f"dkim:(memory:{name})?key_file={key}&selector=s1&domain=Example.ORG"

    list(from_url(url).send([message()]))

    content = named_store(name).messages[0].content
    assert verified(content, public_texts(url)) == [True]


def test_relaxed_with_no_length_and_no_end_unless_asked(both: Signing, tmp_path: Path) -> None:
    for tags in signature_tags(both.signed()):
        assert tags["c"] == "relaxed/relaxed"
        assert tags.keys().isdisjoint({"l", "x"})

    ending = Signing(tmp_path / "dkim.toml", "&expires=7d")
    content = ending.signed()
    for tags in signature_tags(content):
        assert int(tags["x"]) - int(tags["t"]) == 7 * 86_400
    assert ending.verifies(content) == [True, True]


def test_everything_that_the_newsletter_says_is_signed(both: Signing) -> None:
    """RFC 8058 section 4 for the two List-Unsubscribe fields; the rest is what a reader sees or a receiver acts on."""
    newsletter = next(rendering.messages(1)).content.replace(b"news@example.com", b"news@example.org", 1)
    more = b"Reply-To: desk@example.org\r\nFeedback-ID: a:b:c:d\r\nList-Help: <mailto:h@example.org>\r\n"

    content = both.signed(Message("m", "b@example.org", "a@example.com", more + newsletter))

    there = {line.split(b":")[0].lower().decode() for line in content.partition(b"\r\n\r\n")[0].split(b"\r\n")}
    there = {name for name in there if re.fullmatch("[a-z-]+", name)} - {"dkim-signature"}
    wanted = {"from", "reply-to", "subject", "date", "message-id", "to", "list-unsubscribe", "list-unsubscribe-post"}
    wanted |= {"list-id", "list-help", "mime-version", "content-type", "feedback-id", "precedence"}
    assert wanted <= there
    for tags in signature_tags(content):
        named = set(tags["h"].split(":"))
        assert there <= named <= there | {name.decode() for name in OVERSIGNED}


@pytest.mark.parametrize("name", [name.decode() for name in OVERSIGNED])
def test_no_field_can_be_added_to_those_that_are_signed_once_more(both: Signing, name: str) -> None:
    content = both.signed()
    assert both.verifies(content) == [True, True]

    assert both.verifies(f"{name}: another\r\n".encode() + content) == [False, False]
    assert both.verifies(content.replace(b"\r\n\r\n", f"\r\n{name}: another\r\n\r\n".encode(), 1)) == [False, False]


def test_fields_are_named_as_often_as_they_are_there_and_once_more() -> None:
    signed = signed_fields([b"received", b"from", b"list-id", b"list-foo", b"x-mine", b"feedback-id", b"from"])

    assert signed[:5] == [b"from", b"list-id", b"list-foo", b"feedback-id", b"from"]
    assert signed.count(b"from") == 3
    assert signed.count(b"list-foo") == 1
    assert {b"received", b"x-mine"}.isdisjoint(signed)


@pytest.mark.parametrize(
    ("value", "domain"),
    [
        (b" News <news@Example.ORG>\r\n", "example.org"),
        (b" news@example.org", "example.org"),
        (b' "a@evil.test" <news@example.org>', "example.org"),
        (b"\r\n =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n <news@example.org>", "example.org"),
        ("Grüße <news@müller.example>".encode(), "xn--mller-kva.example"),
        (b" a@example.org, b@evil.test", None),
        (b" Undisclosed:;", None),
        (b" nobody", None),
        (b"", None),
        (b" a@\xff\xfe", None),
    ],
    ids=repr,
)
def test_author_domain_is_that_of_from(value: bytes, domain: str | None) -> None:
    assert author_domain(value) == domain


def write_keys(folder: Path) -> None:
    for selector, pem in {"r1": rsa_pem(), "r2": rsa_pem(number=2), "e1": ed25519_pem(), "e2": ed25519_pem(2)}.items():
        write_key(folder / f"{selector}.pem", pem)


def ring(folder: Path, *entries: str) -> KeyRing:
    write_keys(folder)
    return KeyRing(read_table(write_table(folder, *entries)))


ROTATED = (
    "example.org r1 r1.pem\nuntil = 2027-02-01",
    "example.org r2 r2.pem\nnot_before = 2027-01-01T06:00:00+01:00",
    "example.org e1 e1.pem\nuntil = 2027-03-01T00:00:00Z",
)


@pytest.mark.parametrize(
    ("day", "selectors"),
    [
        (1_767_225_600, ["r1", "e1"]),  # 2026-01-01
        (1_798_779_599, ["r1", "e1"]),  # a second before 2027-01-01T05:00Z
        (1_798_779_600, ["r2", "e1"]),  # the new key relieves the old one, which could still sign
        (1_803_859_199, ["r2", "e1"]),  # a second before 2027-03-01
        (1_803_859_200, ["r2"]),
    ],
)
def test_keys_change_by_date(tmp_path: Path, day: int, selectors: list[str]) -> None:
    found = ring(tmp_path, *ROTATED).signing("example.org", day)

    assert [key.selector for key in found] == selectors


def test_rotation_needs_no_restart(tmp_path: Path) -> None:
    write_keys(tmp_path)
    signing = Signing(write_table(tmp_path, *ROTATED), now=1_798_779_599)

    assert [tags["s"] for tags in signature_tags(signing.signed())] == ["r1", "e1"]
    signing.now += 1
    content = signing.signed()
    assert [tags["s"] for tags in signature_tags(content)] == ["r2", "e1"]
    assert signing.verifies(content) == [True, True]


@pytest.mark.parametrize(
    ("domain", "selectors"),
    [
        ("example.org", ["r1"]),
        ("news.example.org", ["e1"]),
        ("deep.news.example.org", ["e1"]),
        ("other.example.org", ["r1"]),
        ("other.test", ["e2"]),
        ("org", []),
        ("notexample.org", []),
        ("example.org.evil.test", []),
    ],
)
def test_key_is_that_of_the_domain_or_the_nearest_above(tmp_path: Path, domain: str, selectors: list[str]) -> None:
    keys = ring(tmp_path, "example.org r1 r1.pem", "news.example.org e1 e1.pem", "other.test e2 e2.pem")

    assert [key.selector for key in keys.signing(domain, NOW)] == selectors


def test_message_of_a_domain_without_a_key_is_refused_about_the_sender(both: Signing) -> None:
    outcomes = both.send(message(1), message(2, "elsewhere.test"), message(3), message(4, "a@x, b"), message(5))

    assert [each.id for each in outcomes] == ["m1", "m2", "m3", "m4", "m5"]
    assert [(each.status, each.about) for each in outcomes if each.id in ("m2", "m4")] == [
        (Status.REFUSED, About.SENDER)
    ] * 2
    assert outcomes[1].reply == "not signed: no DKIM key for elsewhere.test is in force"
    assert outcomes[3].reply == "not signed: From names no single author"
    assert [each.id for each in both.store.messages] == ["m1", "m3", "m5"]


def test_message_with_two_authors_fields_is_refused(both: Signing) -> None:
    (outcome,) = both.send(message(more="From: other@example.org\r\n"))

    assert (outcome.status, outcome.about) == (Status.REFUSED, About.SENDER)
    assert not both.store.messages


def test_message_without_a_readable_header_is_refused_and_not_quoted(both: Signing) -> None:
    broken = Message("m", "b@example.org", "a@example.com", b"From: a@example.org\r\nsecret ann@example.com\r\n\r\n")

    (outcome,) = both.send(broken)

    assert outcome == Outcome("m", Status.REFUSED, "not signed: its header cannot be read")


def test_unsigned_messages_pass_if_one_says_so(tmp_path: Path) -> None:
    signing = Signing(both_keys(tmp_path), "&without_key=send")
    elsewhere = message(2, "elsewhere.test")

    assert [each.status for each in signing.send(message(1), elsewhere)] == [Status.SENT] * 2
    assert signing.store.messages[1] is elsewhere
    assert len(signature_tags(signing.store.messages[0].content)) == 2


def test_key_that_is_not_in_force_signs_nothing_and_check_says_so(tmp_path: Path) -> None:
    write_keys(tmp_path)
    signing = Signing(write_table(tmp_path, "example.org r1 r1.pem\nnot_before = 2030-01-01"))

    assert [each.about for each in signing.send(message())] == [About.SENDER]
    with pytest.raises(TransportUnavailable, match="no key is in force"):
        signing.transport.check()
    signing.now = 1_893_456_000
    signing.transport.check()
    assert [each.status for each in signing.send(message())] == [Status.SENT]


@pytest.mark.parametrize("inner", ["vouched", "not"])
def test_vouched_message_stays_so(both: Signing, inner: str) -> None:
    plain = message()
    make = vouched_message if inner == "vouched" else Message
    both.send(make(plain.id, plain.sender, plain.recipient, plain.content))

    sent = both.store.messages[0]
    assert sent.vouched == (inner == "vouched")
    assert sent.content.isascii()
    assert b"\n." not in sent.content
    assert b"\n" not in sent.content.replace(b"\r\n", b"")
    assert max(map(len, sent.content.split(b"\r\n"))) <= 78


def test_smtp_gives_the_same_octets_by_its_short_way_and_by_the_full_one(tmp_path: Path) -> None:
    rendered = [each for each in rendering.messages(2) if each.vouched]
    copies = [Message(each.id, each.sender, each.recipient, each.content) for each in rendered]
    with running(FakeServer()) as server:
        url = f"dkim:({server.url()})?keys={both_keys(tmp_path, 'example.com')}"
        with closing(from_url(url)) as transport:
            outcomes = [*transport.send(rendered), *transport.send(copies)]

    assert [each.status for each in outcomes] == [Status.SENT] * 4
    texts = public_texts(url)
    assert [verified(mail.content, texts) for mail in server.mails] == [[True, True]] * 4


@pytest.mark.parametrize("group", ["failover", "roundrobin"])
def test_group_inside_and_around_it(tmp_path: Path, group: str) -> None:
    table, names = both_keys(tmp_path), [uuid.uuid4().hex for _ in range(4)]
    named_store(names[0]).fail_after(1)
    named_store(names[2]).fail_after(0)
    inside = f"dkim:({group}:(memory:{names[0]} memory:{names[1]}))?keys={table}"
    around = f"{group}:(dkim:(memory:{names[2]})?keys={table} dkim:(memory:{names[3]})?keys={table})"

    for url in (inside, around):
        assert [each.status for each in from_url(url).send([message(1), message(2), message(3)])] == [Status.SENT] * 3
        assert public_texts(url).keys() == {"r1._domainkey.example.org", "e1._domainkey.example.org"}
    contents = [each.content for name in names for each in named_store(name).messages]
    assert len(contents) == 6
    assert [len(signature_tags(content)) for content in contents] == [2] * 6


def test_uncertain_outcomes_and_the_reason_of_an_outage_pass_through(both: Signing) -> None:
    both.store.answer(None, Status.UNCERTAIN, about=About.TRANSPORT)
    assert [(each.status, each.about) for each in both.send(message())] == [(Status.UNCERTAIN, About.TRANSPORT)]

    both.store.fail_after(0, "quota", About.RATE)
    with pytest.raises(TransportUnavailable, match="quota") as caught:
        both.send(message())
    assert caught.value.about is About.RATE


def test_limits_are_those_of_the_transport_inside(tmp_path: Path) -> None:
    inner = "smtp://127.0.0.1:9?rate=10/second&quota=100/day"
    transport = from_url(f"dkim:({inner})?keys={both_keys(tmp_path)}")

    (rate,) = rates_of(transport)
    assert rate.limits.key == "smtp 127.0.0.1:9"
    assert "100" in rate.limits.text


def test_messages_are_drawn_one_at_a_time_and_how_many_remain_is_told(both: Signing) -> None:
    remaining: list[int] = []

    class Looks(MemoryTransport):
        def send(self, messages: Iterator[Message]) -> Iterator[Outcome]:  # type: ignore[override]
            remaining.append(length_hint(messages, 7))
            for one in messages:
                remaining.append(length_hint(messages, 7))
                yield self.store.take(one)

    assert isinstance(both.transport, DKIMTransport)
    both.transport._inner = Looks(MemoryStore())
    source = iter([message(1), message(2, "elsewhere.test"), message(3)])
    running_send = both.transport.send(source)

    assert next(running_send).id == "m1"
    assert length_hint(source) == 2
    assert [each.id for each in running_send] == ["m2", "m3"]
    assert remaining == [3, 2, 1, 0]


def test_key_files_are_read_once(both: Signing, tmp_path: Path) -> None:
    texts = public_texts(both.url)
    shutil.rmtree(tmp_path)

    assert verified(both.signed(), texts) == [True, True]


def test_close_and_check_are_those_of_the_transport_inside(both: Signing) -> None:
    closed: list[str] = []
    inner = MemoryTransport(MemoryStore())
    inner.close = lambda: closed.append("closed")  # type: ignore[method-assign]
    assert isinstance(both.transport, DKIMTransport)
    both.transport._inner = inner
    both.transport.close()
    inner.store.fail_after(0, "broken")

    assert closed == ["closed"]
    with pytest.raises(TransportUnavailable, match="broken"):
        both.transport.check()


@pytest.mark.parametrize(
    "domain",
    ["a" * 60 + ".example", "xn--mller-kva.example", "sub.sub.sub.example.com"],
)
def test_long_and_odd_domains_sign_so_that_it_verifies(tmp_path: Path, domain: str) -> None:
    signing = Signing(both_keys(tmp_path, domain))

    assert signing.verifies(signing.signed(message(domain=domain))) == [True, True]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "\r\n",
        "\r\n\r\n\r\n",
        " \t \r\n",
        "no line end",
        "a  b\t\tc \r\n\r\nd\r\n\r\n\r\n",
        ".\r\n..\r\n",
        "Grüße\r\n",
    ],
    ids=repr,
)
def test_whatever_the_body_is_the_signature_verifies(both: Signing, body: str) -> None:
    assert both.verifies(both.signed(message(body=body))) == [True, True]


PIECES = st.sampled_from(["a", " ", "\t", "\r\n", "\n", "\r", ".", "=", "é", "From: x@y.test", "X:", ":"])


@settings(deadline=None, max_examples=150)
@given(head=st.lists(PIECES, max_size=8), body=st.lists(PIECES, max_size=30), plain=st.booleans())
def test_short_ways_give_what_the_library_gives(head: list[str], body: list[str], plain: bool) -> None:
    first = HEAD.format(domain="example.org", number=1) if plain else "".join(head)
    content = (first + "\r\n" + "".join(body)).encode()
    try:
        usual = dkim.DKIM(content)
    except (dkim.MessageFormatError, IndexError):  # where the first line is a fold
        with pytest.raises(dkim.MessageFormatError):
            MessageSigner(content)
        return
    ours = MessageSigner(content)

    assert (ours.headers, ours.body) == (usual.headers, usual.body)
    policy = CanonicalizationPolicy.from_c_value(b"/".join(ours._canonicalize))
    assert policy.canonicalize_body(ours.body) == Relaxed.canonicalize_body(usual.body)


@settings(deadline=None, max_examples=80)
@given(content=st.lists(PIECES, max_size=20).map("".join) | st.text(max_size=60))
def test_any_content_has_one_outcome(content: str) -> None:
    store = MemoryStore()
    signing = DKIMTransport(MemoryTransport(store), an_ed25519_key())

    (outcome,) = signing.send([Message("m", "s@example.org", "r@example.org", content.encode())])

    assert (outcome.status is Status.SENT) == (len(store.messages) == 1)


@cache
def an_ed25519_key() -> KeyRing:
    with tempfile.TemporaryDirectory() as folder:
        path = write_key(Path(folder) / "key.pem", ed25519_pem())
        return KeyRing(keys_in(f"dkim:(memory:)?key_file={path}&selector=s1&domain=y.test"))


def test_settings_see_the_transport_inside() -> None:
    options = "?keys=/etc/mailer/dkim.toml"

    assert smtp_hosts(f"dkim:(failover:(smtp://a.test smtp://b.test)){options}") == ("a.test", "b.test")
    assert stays_here(f"dkim:(file:outbox){options}")
    assert not stays_here(f"dkim:(smtp://a.test){options}")


@pytest.mark.slow
def test_campaign_of_a_domain_without_a_key_rests_and_goes_on_once_there_is_one(
    any_db: Database, add_users: Callable[..., list[str]], tmp_path: Path
) -> None:
    add_users(any_db, 5)
    harness = Harness(any_db)
    harness.accept()
    harness.deliver_through(Signing(both_keys(tmp_path, "elsewhere.test")).transport)
    harness.run()

    assert harness.progress().state == "resting"
    assert "not signed: no DKIM key for " in str(harness.progress().reason)
    assert "sent" not in harness.counts()
    domain = str(harness.progress().reason).partition("no DKIM key for ")[2].split()[0]
    signing = Signing(both_keys(tmp_path, domain))
    harness.deliver_through(signing.transport)
    harness.now += 24 * 60 * MINUTE
    harness.run()

    assert harness.counts() == {"sent": 5}
    assert [signing.verifies(each.content) for each in signing.store.messages] == [[True, True]] * 5


def test_newsletter_goes_the_short_ways() -> None:
    assert is_relaxed(MessageSigner(next(rendering.messages(1)).content).body)


def test_algorithms_are_told_by_the_key(tmp_path: Path) -> None:
    keys = ring(tmp_path, "example.org r1 r1.pem", "example.org e1 e1.pem")
    signer = MessageSigner(message().content)
    fields = MappingProxyType({key.algorithm: signer.signature(key) for key in keys.keys})

    assert b"a=rsa-sha256;" in fields[RSA]
    assert b"a=ed25519-sha256;" in fields[ED25519]


def test_nothing_of_it_is_loaded_where_nothing_is_signed(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = "import sys, transports; transports.from_url('failover:(memory: smtp://127.0.0.1:9)'); "
    code += "print([name for name in sys.modules if 'dkim' in name or name.startswith('nacl')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
