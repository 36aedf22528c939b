"""The recipes of docs/signing.md for those who sign in the mail server, run as they stand there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench import rendering
from bench.processes import free_port
from tests.dkim_keys import public_texts, rsa_pem, write_key, write_table
from tests.dkim_relays import by_opendkim, by_perl, by_rspamd, opendkim, postfix, rspamd, taken
from tests.dns_server import dns_server, texts_as_records
from tests.doc_pages import ROOT, blocks
from tests.programs import need
from tests.smtp_servers import FakeServer, running
from tests.test_transport_dkim import signature_tags
from transports import Message, Status, from_url

pytestmark = pytest.mark.slow

PAGE = ROOT / "docs" / "signing.md"
BOTH_FIELDS = {"list-unsubscribe", "list-unsubscribe-post"}
OPENDKIM_AS_IT_COMES = "Mode s\nSocket inet:8891@127.0.0.1\nCanonicalization relaxed/simple\nOversignHeaders From\n"


def recipe(word: str) -> str:
    (text,) = {block.text for block in blocks(PAGE) if block.words == (word,)}
    return text


@dataclass(frozen=True)
class Relay:
    """A Postfix of the recipes: its port for each milter, and where its mail goes."""

    ports: dict[str, int]
    hop: FakeServer
    verifiers: dict[str, Callable[[bytes], dict[str, str]]]

    def through(self, milter: str, message: Message) -> bytes:
        """The message, which nobody has signed, as the next hop gets it."""
        with closing(from_url(f"smtp://127.0.0.1:{self.ports[milter]}")) as transport:
            (outcome,) = transport.send([message])
        assert outcome.status is Status.SENT, outcome.reply
        return taken(self.hop)[0]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like /etc/dkim, with the tables that the recipe gives it."""
    folder = tmp_path_factory.mktemp("etc-dkim")
    write_key(folder / "r2026.pem", rsa_pem())
    write_table(folder, "example.com r2026 r2026.pem")
    for name in ("key-table", "signing-table"):
        (folder / name).write_text(recipe(name).replace("/etc/dkim", str(folder)))
    return folder


def opendkim_milter(stack: ExitStack, folder: Path, keys: Path, text: str) -> str:
    port = free_port()
    folder.mkdir()
    text = text.replace("/etc/dkim", str(keys)).replace("inet:8891@", f"inet:{port}@")
    text += "RequireSafeKeys no\n"  # as the keys of the test are below a folder in which everybody may write
    stack.enter_context(opendkim(folder, text, port))
    return recipe_of_postfix("8891").replace("8891", str(port))


def recipe_of_postfix(port: str) -> str:
    """What the page has Postfix ask; the rest of these lines is the same for both."""
    texts = [block.text for block in blocks(PAGE) if block.words == ("postfix",) and port in block.text]
    milter, default = texts[0].splitlines()
    assert default == "milter_default_action = tempfail"
    return milter.partition(" = ")[2]


@pytest.fixture(scope="module")
def relay(keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    need("postfix", "opendkim", "rspamd", "perl")
    folder = tmp_path_factory.mktemp("milters")
    texts = public_texts(f"dkim:(memory:)?keys={keys}/dkim.toml")
    tables = "".join(line + "\n" for line in recipe("opendkim").splitlines() if "Table" in line)
    with ExitStack() as stack:
        hop = stack.enter_context(running(FakeServer()))
        dns = stack.enter_context(dns_server(texts_as_records(texts))).port
        signing = recipe("rspamd-signing").replace("/etc/dkim", str(keys))
        local = {"dkim.conf": recipe("rspamd-dkim"), "dkim_signing.conf": signing}
        url, milter = stack.enter_context(rspamd(dns, local))
        milters = {
            "opendkim": opendkim_milter(stack, folder / "recipe", keys, recipe("opendkim")),
            "opendkim as it comes": opendkim_milter(stack, folder / "usual", keys, OPENDKIM_AS_IT_COMES + tables),
            "rspamd": recipe_of_postfix("11332").replace("11332", str(milter)),
            "away": f"inet:127.0.0.1:{free_port()}",
        }
        more = "milter_default_action = tempfail"
        ports = stack.enter_context(postfix({"next.test": hop}, list(milters.values()), more))
        verifiers = {
            "opendkim": lambda content: by_opendkim(content, texts, folder),
            "rspamd": lambda content: by_rspamd(content, url),
            "Mail::DKIM": lambda content: by_perl(content, dns),
        }
        yield Relay(dict(zip(milters, ports, strict=True)), hop, verifiers)


def newsletter() -> Message:
    rendered = next(rendering.messages(1))
    head = b"Reply-To: desk@example.com\r\nFeedback-ID: a:b:c:d\r\n"
    return Message("m", "bounce@elsewhere.example", "ann@next.test", head + rendered.content)


@pytest.mark.parametrize("milter", ["opendkim", "rspamd"])
def test_recipe_signs_both_fields_and_is_verified_by_all(relay: Relay, milter: str) -> None:
    arrived = relay.through(milter, newsletter())

    for tags in signature_tags(arrived):
        signed = tags["h"].lower().split(":")
        assert tags["c"] == "relaxed/relaxed"
        assert {name for name in BOTH_FIELDS if signed.count(name) == 2} == BOTH_FIELDS
        assert [signed.count(name) for name in ("from", "subject", "to", "date", "reply-to")] == [2] * 5
        assert [signed.count(name) for name in ("list-id", "list-help", "list-post", "list-archive")] == [2, 1, 1, 1]
        assert {"feedback-id", "precedence", "list-id", "message-id", "mime-version", "content-type"} <= set(signed)
    verdicts = {name: verify(arrived) for name, verify in relay.verifiers.items()}
    assert verdicts == {
        "opendkim": {"r2026": "pass"},
        "rspamd": {"example.com:s=r2026": "pass"},
        "Mail::DKIM": {"r2026": "pass"},
    }


@pytest.mark.parametrize("milter", ["opendkim", "rspamd"])
def test_nobody_can_add_another_way_to_unsubscribe(relay: Relay, milter: str) -> None:
    arrived = relay.through(milter, newsletter())
    added = b"List-Unsubscribe: <https://evil.test/>\r\n" + arrived

    assert set(relay.verifiers["opendkim"](arrived).values()) == {"pass"}
    assert set(relay.verifiers["opendkim"](added).values()) == {"fail"}


def test_opendkim_as_it_comes_leaves_one_out(relay: Relay) -> None:
    (tags,) = signature_tags(relay.through("opendkim as it comes", newsletter()))

    assert BOTH_FIELDS & set(tags["h"].lower().split(":")) == {"list-unsubscribe"}


def test_mail_waits_while_the_milter_is_away(relay: Relay) -> None:
    """As the recipes say `tempfail`: with `accept` it would go out unsigned."""
    with closing(from_url(f"smtp://127.0.0.1:{relay.ports['away']}")) as transport:
        (outcome,) = transport.send([newsletter()])

    assert outcome.status is Status.DEFERRED
    assert not relay.hop.mails
