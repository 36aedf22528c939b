"""No transport says what is secret in its URL, alone or inside others: in an error, the log, a reason or a page."""

from __future__ import annotations

import itertools
import logging
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from traceback import format_exception
from typing import Any

import pytest
from click.testing import CliRunner

from app import create_app
from mailer.cli import main
from mailer.settings import Settings
from mailer.storage.database import Database
from tests.dkim_keys import ed25519_pem, write_key
from tests.harness import Harness
from tests.smtp_servers import FakeServer, running
from transports import Message, Transport, TransportConfigError, TransportUnavailable, from_url, shown_url
from transports.registry import BUILT_IN

SECRETS = ("hunter2", "t0ken", "s3cret")
NOBODY = "127.0.0.1:9"  # the discard port: nobody listens there
URLS = {
    "smtp": f"smtp://ann:hunter2@{NOBODY}?rate=1000/second",
    "smtps": f"smtps://ann:hunter2@{NOBODY}?connect_timeout=5s",
    "smtp with a token": f"smtp://ann@{NOBODY}?auth=xoauth2&token_command=echo%20t0ken",
    "smtp with a storage": f"smtp://{NOBODY}?rate=1/second&rate_storage=memory://:s3cret",
    "webhook with a path": f"webhook:http://{NOBODY}/services/t0ken/s3cret",
    "webhook with a query": f"webhook:(http://{NOBODY}/hook?key=t0ken)?timeout=5s",
    "webhook with a password": f"webhook:http://ann:hunter2@{NOBODY}/hook",
    "webhook with a fragment": f"webhook:http://{NOBODY}/hook#t0ken",
    "console": "console:?format=line",
    "memory": "memory:plain",
}


@pytest.fixture
def urls(tmp_path: Path) -> dict[str, str]:
    """Each transport that cannot send, by name; those with a file of their own get one."""
    secret = tmp_path / "key"
    secret.write_text("s3cret" * 10)
    signed = f"webhook:http://{NOBODY}/t0ken?secret_file={secret}"
    folder = tmp_path / "out"
    return {**URLS, "webhook with a signature": signed, "file": f"file:{folder}"}


def nest(url: str, scheme: str, depth: int) -> str:
    for _ in range(depth):
        url = f"{scheme}:({url} {url})"
    return url


@cache
def key_of_dkim() -> Path:
    return write_key(Path(tempfile.mkdtemp(prefix="dkim-test-")) / "key.pem", ed25519_pem())


NESTS = {
    "alone": lambda url: url,
    "signed": lambda url: f"dkim:({url})?key_file={key_of_dkim()}&selector=s1&domain=example.org&without_key=send",
    "failover": lambda url: nest(url, "failover", 1),
    "roundrobin": lambda url: nest(url, "roundrobin", 1),
    "twice": lambda url: nest(nest(url, "roundrobin", 1), "failover", 1),
}
NAMES = [*URLS, "webhook with a signature", "file"]
CASES = list(itertools.product(NAMES, NESTS))


def said(transport: Transport) -> Iterator[str]:
    """What it says of itself and when it fails, with all that the errors came from."""
    yield repr(transport)
    yield repr(vars(transport))
    message = Message("m", "s@example.org", "r@example.org", b"x\r\n")
    for attempt in (transport.check, lambda: list(transport.send([message]))):
        try:
            attempt()
        except TransportUnavailable as error:
            chain: BaseException | None = error
            while chain is not None:
                yield f"{chain!r} {chain}"
                chain = chain.__cause__
    transport.close()


def assert_no_secret(text: str) -> None:
    assert [secret for secret in SECRETS if secret in text] == [], text


def test_every_built_in_transport_is_put_to_it() -> None:
    groups = {"dkim", "failover", "roundrobin"}

    assert {url.partition(":")[0] for url in URLS.values()} | {"file"} | groups == set(BUILT_IN)


@pytest.mark.parametrize(("name", "nesting"), CASES, ids=[f"{name}-{nesting}" for name, nesting in CASES])
def test_nothing_secret_is_said(
    name: str, nesting: str, urls: dict[str, str], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    url = NESTS[nesting](urls[name])

    words = " ".join(said(from_url(url)))

    assert_no_secret(shown_url(url))
    assert_no_secret(words + caplog.text)
    assert_no_secret("".join(capfd.readouterr()))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("smtp://ann:hunter2@mx.test:25?connections=2", "smtp://***@mx.test:25?connections=2"),
        ("smtp://mx.test", "smtp://mx.test"),
        ("smtp://[::1]:25", "smtp://[::1]:25"),
        ("smtp://a@h?auth=xoauth2&token_command=t0ken", "smtp://***@h?auth=xoauth2&token_command=***"),
        ("smtp://h?rate=1/second&rate_storage=redis://:s3cret@r", "smtp:***"),
        ("smtp://h?rate=1/second&rate_storage=redis://r", "smtp://h?rate=1/second&rate_storage=***"),
        ("smtp://ann:hun@ter2/hunter2@h", "smtp://***@h"),
        ("smtp://ann:hunter2?x@h", "smtp:***"),
        ("smtp://ann:hunter2#x@h:25", "smtp://***@h:25"),
        ("webhook:https://h:8/t0ken/x?batch=5", "webhook:https://h:8/***?batch=5"),
        ("webhook:(https://h/?key=t0ken)?batch=5", "webhook:https://h/***?batch=5"),
        ("webhook:https://h/?t0ken", "webhook:https://h/***"),
        ("webhook:https://ann:hunter2/x@h/hook", "webhook:***"),
        ("webhook:https://ann:hunter2#x@h/hook", "webhook:***"),
        ("webhook:https://hunter2/x@h/hook", "webhook:***"),
        ("webhook:https://h/?key=t0ken", "webhook:https://h/***?key=***"),
        ("webhook:https://ann:hunter2@h/x", "webhook:https://h/***"),
        ("webhook:t0ken", "webhook:***"),
        ("failover:(smtp://a:hunter2@x webhook:https://y/t0ken)?cooldown=5s",
         "failover:(smtp://***@x webhook:https://y/***)?cooldown=5s"),
        ("roundrobin:(failover:(smtp://a:hunter2@x memory:a) t0ken:hunter2)",
         "roundrobin:(failover:(smtp://***@x memory:a) ***)"),
        ("failover:smtp://a:hunter2@x", "failover:***"),
        ("failover:(smtp://a:hunter2@x", "***"),
        ("dkim:(smtp://a:hunter2@x)?keys=/etc/k.toml&nonsense=t0ken", "dkim:(smtp://***@x)?keys=/etc/k.toml&nonsense=***"),
        ("dkim:smtp://a:hunter2@x", "dkim:***"),
        ("file:./out?format=mbox", "file:./out?format=mbox"),
        ("t0ken", "***"),
        ("", "***"),
    ],
)  # fmt: skip
def test_url_is_shown_without_what_is_secret(url: str, shown: str) -> None:
    assert shown_url(url) == shown


def test_transport_of_a_third_party_shows_its_scheme_alone() -> None:
    class Pigeon(Transport):
        pass

    assert Pigeon.shown("pigeon:t0ken?key=hunter2") == "pigeon:***"


@pytest.mark.parametrize(
    "url",
    [
        "smtp://ann:hunter2@mx.test?nonsense=1",
        "smtp://ann:hunter2@mx.test?starttls=never",
        "smtp://ann:hunter2?x@mx.test",
        "smtp://ann:hunter2@mx.test:99999",
        "webhook:http://mx.test/t0ken",
        "webhook:https://mx.test/hook?t0ken",
        "webhook:(https://mx.test/?key=t0ken https://mx.test/s3cret)",
        "webhook:ftp://ann:hunter2@mx.test",
        "webhook:https://ann:hunter2/x@mx.test/hook",
    ],
)
@pytest.mark.parametrize("nesting", NESTS)
def test_url_that_cannot_be_used_is_refused_without_its_secret(url: str, nesting: str) -> None:
    with pytest.raises(TransportConfigError) as caught:
        from_url(NESTS[nesting](url))

    assert_no_secret("".join(format_exception(caught.value)))


def failing_url(nesting: str) -> str:
    webhook = f"webhook:(http://ann:hunter2@{NOBODY}/t0ken?key=s3cret)?timeout=5s"
    return NESTS[nesting](f"failover:(smtp://ann:hunter2@{NOBODY} {webhook})")


@pytest.mark.parametrize("nesting", NESTS)
def test_reason_log_and_readiness_hold_no_secret(
    nesting: str, any_db: Database, add_users: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    add_users(any_db, 3)
    harness = Harness(any_db)
    harness.accept()
    transport = from_url(failing_url(nesting))
    harness.deliver_through(transport)
    harness.run()
    database = f"sqlite:///{tmp_path}/ready.db"
    app = create_app(
        Settings(
            transport=failing_url(nesting),
            database_url=database,
            secret_key=("k" * 40,),
            allowed_senders=frozenset({"a@b.test"}),
        )
    )
    ready = app.test_client().get("/readyz")

    assert harness.progress().state == "blocked"
    assert NOBODY in str(harness.progress().reason)
    assert NOBODY in ready.get_data(as_text=True)
    assert_no_secret(str(harness.progress().reason))
    assert_no_secret(ready.get_data(as_text=True))
    assert "transport unavailable" in caplog.text
    assert_no_secret(caplog.text)


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize("nesting", NESTS)
def test_config_check_holds_no_secret(
    nesting: str, form: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    environment = {"MAILER_TRANSPORT": failing_url(nesting), "MAILER_DATABASE_URL": f"sqlite:///{tmp_path}/check.db"}

    result = CliRunner().invoke(main, ["config", "check", *form], env=environment)

    assert result.exit_code == 1
    assert NOBODY in result.output
    assert_no_secret(result.output)


def test_password_is_not_in_what_a_server_makes_of_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with running(FakeServer(extensions=("AUTH PLAIN LOGIN",))) as server:
        server.script["AUTH"] = [b"535 5.7.8 hunter2 of ann is wrong\r\n"] * 9
        url = f"failover:({server.url(user='ann:hunter2@')} memory:x)"
        transport = from_url(url)
        outcomes = list(transport.send([Message("m", "s@example.org", "r@example.org", b"x\r\n")]))

    assert len(outcomes) == 1
    assert_no_secret(caplog.text)
