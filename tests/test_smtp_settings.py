from __future__ import annotations

from pathlib import Path

import pytest

from transports.base import TransportConfigError
from transports.options import is_loopback
from transports.smtp.settings import SMTPSettings
from transports.smtp.transport import SMTPTransport


def test_defaults() -> None:
    parsed = SMTPSettings.from_url("smtp://mail.example.org")

    assert (parsed.host, parsed.port, parsed.starttls, parsed.implicit_tls) == ("mail.example.org", 587, True, False)
    assert (parsed.connect_timeout, parsed.timeouts.command, parsed.timeouts.end_of_data) == (30, 300, 600)
    assert (parsed.credentials, parsed.notify, parsed.rate) == (None, "", None)
    assert parsed.context is not None
    assert parsed.context.check_hostname


def test_options() -> None:
    parsed = SMTPSettings.from_url(
        "smtp://127.0.0.1:2525/?connections=2&max_messages=10&idle=5s&connect_timeout=1s&command_timeout=2s"
        "&data_timeout=3s&dsn=failure,delay&helo=me.example.org&bdat=yes&rate=50/second"
    )

    assert (parsed.port, parsed.connections, parsed.max_messages, parsed.idle) == (2525, 2, 10, 5)
    assert (parsed.connect_timeout, parsed.timeouts.command, parsed.timeouts.end_of_data) == (1, 2, 3)
    assert (parsed.notify, parsed.helo, parsed.bdat) == ("FAILURE,DELAY", "me.example.org", True)
    assert parsed.rate is not None


@pytest.mark.parametrize(
    ("url", "starttls", "tls", "port"),
    [
        ("smtp://example.org", True, False, 587),
        ("smtp://127.0.0.1", False, False, 587),
        ("smtp://[::1]:25", False, False, 25),
        ("smtp://localhost", False, False, 587),
        ("smtp://127.0.0.1?starttls=require", True, False, 587),
        ("smtp://example.org?starttls=never", False, False, 587),
        ("smtps://example.org", False, True, 465),
        ("smtps://127.0.0.1", False, True, 465),
    ],
)
def test_encryption_by_host(url: str, starttls: bool, tls: bool, port: int) -> None:
    parsed = SMTPSettings.from_url(url)

    assert (parsed.starttls, parsed.implicit_tls, parsed.port) == (starttls, tls, port)
    assert (parsed.context is not None) == (starttls or tls)


def test_credentials_are_decoded() -> None:
    credentials = SMTPSettings.from_url("smtp://ann%40example.org:p%3A%2F%3F%23%40@example.org").credentials

    assert credentials is not None
    assert (credentials.user, credentials.password) == ("ann@example.org", "p:/?#@")


def test_international_host_is_looked_up_in_ascii() -> None:
    assert SMTPSettings.from_url("smtp://bücher.example").host == "xn--bcher-kva.example"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("smtp:", "expected smtp://"),
        ("smtp:host", "expected smtp://"),
        ("smtp://", "host is missing"),
        ("smtp://:25", "host is missing"),
        ("smtp://host/path", "expected smtp://"),
        ("smtp://u:hunter2#x@host", "percent-encode"),
        ("smtp://host:0", "expected smtp://"),
        ("smtp://host:99999", "expected smtp://"),
        ("smtp://host:abc", "expected smtp://"),
        ("smtp://[::1", "expected smtp://"),
        ("smtp://a..b", "host"),
        ("smtp://ho st", "host"),
        ("smtp://host?nonsense=1", "unknown option 'nonsense'; known options: auth"),
        ("smtp://host?connections=0", "connections"),
        ("smtp://host?max_messages=0", "max_messages"),
        ("smtp://host?starttls=maybe", "starttls"),
        ("smtps://host?starttls=require", "starttls makes no sense"),
        ("smtps://host?starttls=never", "starttls makes no sense"),
        ("smtp://u:hunter2@host?starttls=never", "a login needs TLS"),
        ("smtp://host?starttls=never&cafile=x", "would not use TLS"),
        ("smtp://host?cafile=/nonexistent", "cafile cannot be read"),
        ("smtp://u@host", "either a password or"),
        ("smtp://:hunter2@host", "no user name"),
        ("smtp://host?auth=plain", "no user name"),
        ("smtp://host?token_command=x", "no user name"),
        ("smtp://u:hunter2@host?auth=ntlm", "auth"),
        ("smtp://u@host?auth=xoauth2", "exactly one of token_file and token_command"),
        ("smtp://u@host?auth=xoauth2&token_file=a&token_command=b", "exactly one of token_file and token_command"),
        ("smtp://u:hunter2@host?auth=xoauth2&token_command=b", "either a password or"),
        ("smtp://u:hunter2@host?token_command=b", "go together"),
        ("smtp://u@host?auth=xoauth2&token_file=/nonexistent", "token_file does not exist"),
        ("smtp://u:hunter2%00@host", "cannot be sent"),
        ("smtp://host?helo=a%0D%0Ab", "helo"),
        ("smtp://host?dsn=sometimes", "dsn"),
        ("smtp://host?dsn=never,delay", "dsn"),
        ("smtp://host?rate=fast", "not a rate"),
        ("smtp://host?rate=0/second", "not a rate"),
        ("smtp://host?rate=10/second;100/minute", "not a rate"),
        ("smtp://host?quota=10000", "not a quota such as 10000/day"),
        ("smtp://host?quota=10000/hour", "not a quota"),
        ("smtp://host?quota=0/day", "not a quota"),
        ("smtp://host?quota=9/day&quota_zone=Europe", "not a time zone"),
        ("smtp://host?quota=9/day&quota_zone=../etc", "not a time zone"),
        ("smtp://host?quota_zone=Europe/Vienna", "without quota or warmup"),
        ("smtp://host?warmup=200/day*2", "without rate or quota"),
        ("smtp://host?quota=9/day&warmup=200/day", "not a warm-up such as"),
        ("smtp://host?quota=9/day&warmup=200/day*1", "not a warm-up"),
        ("smtp://host?quota=9/day&warmup=200/day*99", "not a warm-up"),
        ("smtp://host?rate_storage=memory://", "without rate"),
        ("smtp://host?rate=1/second&rate_storage=nonsense://", "rate_storage"),
    ],
)
def test_contradictions_are_refused_without_showing_a_secret(url: str, problem: str) -> None:
    with pytest.raises(TransportConfigError, match=problem) as caught:
        SMTPTransport.from_url(url)

    assert "hunter2" not in str(caught.value)


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hunter2")
    for url in (
        "smtp://u:hunter2@host",
        f"smtp://u@host?auth=xoauth2&token_file={tmp_path}/token",
        "smtp://u@host?auth=xoauth2&token_command=print%20hunter2",
    ):
        shown = repr(SMTPTransport.from_url(url)) + repr(SMTPSettings.from_url(url))

        assert "hunter2" not in shown
        assert "host" in shown


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("10.0.0.1", False),
        ("localhost.example.org", False),
        ("::ffff:10.0.0.1", False),
    ],
)
def test_is_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
