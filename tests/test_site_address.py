"""The address in links against where mail goes."""

from __future__ import annotations

import pytest

from mailer.settings.site_address import is_local, links_lead_nowhere, smtp_hosts, warnings_about

LOCAL = "localhost LOCALHOST localhost. news.localhost localhost.localdomain ip6-localhost 127.0.0.1 127.0.1.1 127.1 "
LOCAL += "2130706433 0x7f000001 0177.0.0.1 0 0.0.0.0 ::1 0:0:0:0:0:0:0:1 :: ::ffff:127.0.0.1"


@pytest.mark.parametrize("host", LOCAL.split())
def test_this_machine_is_known_in_any_spelling(host: str) -> None:
    assert is_local(host)


@pytest.mark.parametrize(
    "host",
    ["example.com", "10.0.0.1", "localhost.example.com", "notlocalhost", "::ffff:10.0.0.1", "fe80::1", "face", ""],
)
def test_another_machine_is_none_of_them(host: str) -> None:
    assert not is_local(host)


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("smtp://relay.example", ("relay.example",)),
        ("SMTPS://ann:p%40ss@relay.example:465?rate=5/second", ("relay.example",)),
        ("failover:(smtp://a smtps://b)?cooldown=5s", ("a", "b")),
        ("roundrobin:(failover:(smtp://[::1]:25 file:x) smtp://c)", ("::1", "c")),
        ("file:./outbox", ()),
        ("console:", ()),
        ("webhook:https://relay.example/x", ()),
        ("no url", ()),
        ("smtp://[", ()),
    ],
)
def test_smtp_is_found_wherever_it_stands(url: str, hosts: tuple[str, ...]) -> None:
    assert smtp_hosts(url) == hosts


@pytest.mark.parametrize(
    ("site", "transport", "nowhere"),
    [
        ("http://127.0.0.1:8000", "smtp://relay.example", True),
        ("https://localhost", "smtps://relay.example", True),
        ("http://[::1]:8000", "failover:(smtp://127.0.0.1 smtp://relay.example)", True),
        ("http://0.0.0.0:8000", "smtp://10.0.0.1", True),
        ("http://127.0.0.1:8000", "smtp://127.0.0.1:1025", False),
        ("http://127.0.0.1:8000", "failover:(smtp://localhost smtp://[::1])", False),
        ("http://127.0.0.1:8000", "file:./outbox", False),
        ("https://news.example.com", "smtp://relay.example", False),
    ],
)
def test_links_lead_nowhere_if_only_this_machine_can_follow_them(site: str, transport: str, nowhere: bool) -> None:
    assert links_lead_nowhere(site, transport) is nowhere


def test_address_without_https_is_doubtful() -> None:
    assert warnings_about("https://news.example.com") == ()
    assert warnings_about("HTTPS://news.example.com") == ()
    (warning,) = warnings_about("http://news.example.com")
    assert warning.startswith("MAILER_SITE_URL is not https: http://news.example.com;")
