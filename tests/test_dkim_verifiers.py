"""What `dkim:` signs is verified by programs of others, after relays of three kinds; what is changed is not."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bench import newsletter, rendering
from mailer.messages.addresses import Mailbox
from mailer.messages.layout import TemplateSource
from mailer.messages.recipient import Recipient
from mailer.messages.template import compile_message
from tests.dkim_keys import both_keys, public_texts
from tests.dkim_relays import by_opendkim, by_perl, by_rspamd, folded_anew, postfix, rspamd, taken
from tests.dns_server import dns_server, texts_as_records
from tests.programs import need
from tests.smtp_servers import FakeServer, running
from tests.test_plaintext_newsletters import CORPUS
from transports import Message, Status, from_url

pytestmark = pytest.mark.slow

SEVEN_BIT = ("PIPELINING", "SIZE 10000000", "ENHANCEDSTATUSCODES")
LINK = f"https://library.example.com/mailer/unsubscribe/{'token' * 60}"  # a long line, which nobody may fold
LONG_SUBJECT = "Τα νέα μας για όλους τους αναγνώστες της βιβλιοθήκης, " * 3


@dataclass(frozen=True)
class Road:
    """Postfix in front of two next hops, the keys' table, their public records, and those who verify."""

    port: int
    hops: dict[str, FakeServer]
    table: Path
    verifiers: dict[str, Callable[[bytes], dict[str, str]]]

    def through(self, message: Message, domain: str) -> bytes:
        """The message, signed, as the next hop of this domain gets it from Postfix."""
        url = f"dkim:(smtp://127.0.0.1:{self.port})?keys={self.table}"
        with closing(from_url(url)) as transport:
            (outcome,) = transport.send([replace(message, recipient=f"ann@{domain}")])
        assert outcome.status is Status.SENT
        return taken(self.hops[domain])[0]

    def verdicts(self, content: bytes) -> dict[str, dict[str, str]]:
        return {name: verify(content) for name, verify in self.verifiers.items()}


GOOD = {
    "opendkim": {"r1": "pass", "e1": "pass"},
    "rspamd": {"example.com:s=r1": "pass", "example.com:s=e1": "pass"},
    "Mail::DKIM": {"r1": "pass", "e1": "invalid"},  # it knows no Ed25519: RFC 8463 section 3 is for such
}
BAD = {
    "opendkim": {"r1": "fail", "e1": "fail"},
    "rspamd": {"example.com:s=r1": "fail", "example.com:s=e1": "fail"},
    "Mail::DKIM": {"r1": "fail", "e1": "invalid"},
}


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Road]:
    need("postfix", "opendkim", "rspamd", "perl")
    if subprocess.run(["perl", "-MMail::DKIM", "-MMail::Internet", "-e1"], check=False, capture_output=True).returncode:
        pytest.skip("no Mail::DKIM (Debian: libmail-dkim-perl)")
    folder = tmp_path_factory.mktemp("dkim")
    table = both_keys(folder, "example.com")
    texts = public_texts(f"dkim:(memory:)?keys={table}")
    with ExitStack() as stack:
        hops = {
            "eight.test": stack.enter_context(running(FakeServer())),
            "seven.test": stack.enter_context(running(FakeServer(extensions=SEVEN_BIT))),
        }
        dns = stack.enter_context(dns_server(texts_as_records(texts))).port
        url, _ = stack.enter_context(rspamd(dns))
        (port,) = stack.enter_context(postfix(hops))
        verifiers = {
            "opendkim": lambda content: by_opendkim(content, texts, folder),
            "rspamd": lambda content: by_rspamd(content, url),
            "Mail::DKIM": lambda content: by_perl(content, dns),
        }
        yield Road(port, hops, table, verifiers)


def rendered(sender_name: str, subject: str, body: str) -> Message:
    sender = Mailbox(sender_name, newsletter.SENDER)
    source = TemplateSource("c1", sender, subject, body, newsletter.SITE_NAME, newsletter.SITE_URL)
    recipient = Recipient("u2", "Zoë Müller-Lüdenscheidt", "zoe@example.com")
    return compile_message(source).render(recipient, LINK, 1_800_000_000_000)


def greek() -> Message:
    return rendered("Βιβλιοθήκη της πόλης", LONG_SUBJECT, f"<p>{'Γεια σου [name]. ' * 40}</p>[unsubscribe]")


MESSAGES = {"newsletter": lambda: next(rendering.messages(1)), "beyond ASCII": greek}
NEWSLETTERS = ("cerberus-fluid", "konsav-promotional", "leemunroe-email-inlined", "postmark-receipt")


@pytest.mark.parametrize("domain", ["eight.test", "seven.test"])
@pytest.mark.parametrize("name", MESSAGES)
def test_signature_is_verified_after_postfix_with_and_without_8bitmime(road: Road, name: str, domain: str) -> None:
    arrived = road.through(MESSAGES[name](), domain)

    assert arrived.startswith(b"Received: ")
    assert arrived.count(b"\r\nDKIM-Signature: ") == 2
    assert road.verdicts(arrived) == GOOD


@pytest.mark.parametrize("name", NEWSLETTERS)
def test_real_newsletter_is_verified_after_each_kind_of_relay(road: Road, name: str) -> None:
    if not (CORPUS / f"{name}.html").exists():
        pytest.skip(f"needs {CORPUS}")
    message = rendered(newsletter.SENDER_NAME, "News: [name]", (CORPUS / f"{name}.html").read_text("utf-8"))

    eight, seven = (road.through(message, domain) for domain in road.hops)

    assert [road.verdicts(arrived) for arrived in (eight, seven, folded_anew(seven))] == [GOOD] * 3


@pytest.mark.parametrize("name", MESSAGES)
def test_signature_is_verified_after_all_fields_were_folded_anew(road: Road, name: str) -> None:
    arrived = road.through(MESSAGES[name](), "eight.test")
    folded = folded_anew(arrived)

    assert b"\r\nFrom: Harbour Town Library\r\n <news@example.com>" in folded or name != "newsletter"
    assert b"\r\nDkim-Signature: v=1; a=rsa-sha256;\r\n c=relaxed/relaxed" in folded
    assert road.verdicts(folded) == GOOD


def test_signature_is_verified_after_blanks_were_added_where_relaxed_takes_them(road: Road) -> None:
    arrived = road.through(MESSAGES["newsletter"](), "seven.test")
    head, end, body = arrived.partition(b"\r\n\r\n")
    blanks = head.replace(b": ", b":\t ") + end + body.replace(b"\r\n", b" \t\r\n") + b"\r\n\r\n"

    assert road.verdicts(blanks) == GOOD


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "a word": lambda content: content.replace(b"reading room", b"riding room", 1),
    "another way to unsubscribe": lambda content: content.replace(
        b"\r\nList-Unsubscribe: <https://library", b"\r\nList-Unsubscribe: <https://evil", 1
    ),
    "without one click": lambda content: re.sub(rb"\r\nList-Unsubscribe-Post: [^\r]*", b"", content, count=1),
    "a second From": lambda content: b"From: evil@evil.test\r\n" + content,
    "a second List-Unsubscribe": lambda content: b"List-Unsubscribe: <https://evil.test/>\r\n" + content,
    "a second List-Id": lambda content: b"List-Id: <evil.test>\r\n" + content,
    "a List-Post": lambda content: b"List-Post: <mailto:evil@evil.test>\r\n" + content,
    "soft line breaks joined": lambda content: content.replace(b"Dear=20=\r\n", b"Dear=20", 1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_no_verifier_takes_a_message_that_was_changed(road: Road, change: str) -> None:
    arrived = road.through(MESSAGES["newsletter"](), "eight.test")
    changed = CHANGES[change](arrived)

    assert changed != arrived
    assert road.verdicts(changed) == BAD


def test_postfix_changes_8_bit_content_for_a_next_hop_without_8bitmime(road: Road) -> None:
    """Which breaks its signature, and is why the messages of the service are 7-bit."""
    head = b"From: news@example.com\r\nTo: x@example.org\r\nDate: Tue, 24 Nov 2026 02:10:44 +0000\r\n"
    head += b"Message-ID: <m8@example.com>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
    content = head + "Content-Transfer-Encoding: 8bit\r\n\r\nGrüße\r\n".encode()
    message = Message("m8", "b@example.com", "x@example.org", content)

    assert road.verdicts(road.through(message, "eight.test")) == GOOD
    assert road.verdicts(road.through(message, "seven.test")) == BAD
