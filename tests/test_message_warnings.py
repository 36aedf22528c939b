"""Warnings about a message: what is looked at, under which codes, and where they are told; at the POST few."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from mailer.campaigns.checks import message_checks
from mailer.campaigns.checks.known_hosts import is_shortener, sends_for
from mailer.campaigns.checks.message_checks import CODES, GMAIL, Looked, Text, about_message
from mailer.campaigns.checks.senders import about_sender
from mailer.campaigns.retention import purge
from mailer.settings import Settings
from mailer.storage.database import Database
from tests.calling import calling
from tests.dkim_keys import ed25519_pem, write_key, write_table
from tests.service import PAYLOAD
from transports.base import Message, Status
from transports.registry import from_url

PAYLOAD = {name: value for name, value in PAYLOAD.items() if name not in ("dryrun", "query")}
SLIPS = '<p>[unsubscribe] <a href="http://bit.ly/x">x</a> <img src="https://example.com/x.png"></p>'
ALL_CODES = ["link-not-https", "image-without-alt", "link-shortened"]


def codes(body: str, **more: Any) -> list[str]:
    return [one.code for one in about_message(Settings(), Text("Hi", body, **more))]


def test_every_check_has_a_code_of_its_own() -> None:
    assert CODES.keys() == set(Looked)
    assert len(set(CODES.values())) == len(CODES)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("<p>[unsubscribe]</p>", []),
        ("<p>x</p>", ["unsubscribe-link"]),
        ('<p style="display:none">[unsubscribe]</p>', ["unsubscribe-link"]),
        ("<style>.x{display:none}</style><p class=x>[unsubscribe]</p>", ["unsubscribe-link"]),
        ('<p>[unsubscribe]</p><img src="https://example.com/x.png">', ["image-without-alt"]),
        ('<p>[unsubscribe]</p><img alt="" src="https://example.com/x.png">', []),
        ('<p>[unsubscribe] <a href="https://tinyurl.com/abc">x</a></p>', ["link-shortened"]),
        ("[unsubscribe] https://www.bit.ly/abc", ["link-shortened"]),
        ("[unsubscribe] https://orbit.ly/abc https://example.com/?to=bit.ly", []),
        ("[unsubscribe] http://example.com", ["link-not-https"]),
        ("""<p style="background:url( 'http://example.com/x.png')">[unsubscribe]""", ["link-not-https"]),
        ('<p style="background:url(&quot;HTTP://example.com/x.png&quot;)">[unsubscribe]', ["link-not-https"]),
        ("<style>p{background:url(http://example.com/x.png)}</style><p>[unsubscribe]", ["link-not-https"]),
        ("<style>@import 'http://example.com/x.css';</style><p>[unsubscribe]", ["link-not-https"]),
        ('<table background="http://example.com/x.png"><td>[unsubscribe]</table>', ["link-not-https"]),
        ("<style>p{background:url(https://example.com/x.png)}</style><p>[unsubscribe] curl(1)", []),
        ("[unsubscribe] [fnmae]", ["unknown-placeholder"]),
        ("[unsubscribe] https://[::1/x", []),
        (SLIPS, ALL_CODES),
    ],
)
def test_slips_have_codes(body: str, expected: list[str]) -> None:
    assert codes(body) == expected


def test_size_is_that_of_the_message_as_it_is_sent() -> None:
    style = "<style>td{padding:10px;margin:0 0 0 0;border:1px solid black;background:white}</style>"
    body = f"{style}<p>[unsubscribe]</p><table>{'<tr><td>x</td></tr>' * 2_000}</table>"
    escaped = "[unsubscribe] " + "<> " * 20_000  # plain text, which is longer as HTML

    assert codes(body) == []
    assert codes(body, inline_css=True) == ["message-too-large"]
    assert len(escaped) < GMAIL
    assert codes(escaped) == ["message-too-large"]


@pytest.mark.parametrize(
    ("sender", "transport", "told"),
    [
        ("Ann <ann@gmail.com>", "smtp://mail.example.com", "Only gmail.com's own servers"),
        ("ann@YAHOO.com", "smtp://127.0.0.1:25", "Only yahoo.com's own servers"),
        ("ann@gmail.com", "smtps://u:p@smtp.gmail.com", None),
        ("ann@gmail.com", "failover:(smtps://smtp.gmail.com smtp://mail.example.com)", "Only gmail.com's own servers"),
        ("ann@gmail.com", "smtps://notgmail.com", "Only gmail.com's own servers"),
        ("ann@outlook.com", "smtp://smtp.office365.com", None),
        ("ann@gmail.com", "console:", None),
        ("ann@example.com", "smtp://mail.example.com", None),
        ("ann@example.org", "dkim:(smtp://m.example.com)?key_file=/k&selector=s&domain=example.com", None),
        ("ann@example.org", "dkim:(smtp://mail.example.com)?keys=/table.toml", None),
        ("nobody", "smtp://mail.example.com", None),
        ("ann@gmail.com", "no such (", None),
    ],
)
def test_sender_is_one_for_whom_we_may_send(sender: str, transport: str, told: str | None) -> None:
    found = about_sender(sender, transport)

    assert (found[0].startswith(told) if told else not found) or found == ()
    assert bool(found) is bool(told)


@pytest.mark.parametrize(
    ("sender", "options", "told"),
    [
        ("Ann <ann@Example.com>", "key_file={key}&selector=s&domain=example.com", ""),
        ("ann@news.example.com", "key_file={key}&selector=s&domain=example.com", ""),
        (
            "ann@example.com",
            "key_file={key}&selector=s&domain=news.example.com",
            "the DKIM key is for news.example.com.",
        ),
        ("ann@b.example", "key_file={key}&selector=s&domain=example.com", "the DKIM key is for example.com."),
        ("ann@b.example", "key_file={key}&selector=s&domain=example.com&without_key=send", ""),
        ("ann@b.example", "keys={table}", "the DKIM key is for example.com, example.net, old.example and 1 more."),
        ("ann@b.example", "keys={table}&without_key=send", ""),
        ("ann@a.example.net", "keys={table}", ""),
        ("ann@bücher.example", "keys={table}", ""),
        ("ann@xn--bcher-kva.example", "keys={table}", ""),
        ("ann@old.example", "keys={table}", "now: its DKIM key is not in force."),
        ("ann@b.example", "keys=/gone.toml", ""),
        ("ann@b.example", "no=option", ""),
    ],
)
@pytest.mark.parametrize("around", ["{}", "failover:({} smtp://other.example.com)"])
def test_sender_whom_the_transport_would_refuse_to_sign_for_is_told(
    tmp_path: Path, sender: str, options: str, told: str, around: str
) -> None:
    """What is told, and only that, is what the transport does."""
    key = write_key(tmp_path / "k.pem", ed25519_pem())
    entries = ("example.com s k.pem", "example.net s k.pem", "old.example s k.pem\nuntil = 2020-01-01")
    table = write_table(tmp_path, *entries, "bücher.example s k.pem")
    signing = f"dkim:(memory:)?{options.format(key=key, table=table)}"

    found = about_sender(sender, around.format(signing))

    assert [one.partition(" signs for ")[2].partition(told or "-")[1:] for one in found] == (
        [(told, "")] if told else []
    )
    if "gone" not in options and "option" not in options:
        letter = Message(1, "a@x.example", "b@x.example", f"From: {sender}\r\n\r\nHello\r\n".encode())
        [outcome] = from_url(signing).send([letter])
        assert (outcome.status is Status.REFUSED) is bool(told)


def test_keys_are_not_read_for_each_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_key(tmp_path / "k.pem", ed25519_pem())
    url = f"dkim:(memory:)?keys={write_table(tmp_path, 'example.com s k.pem')}"
    monkeypatch.setattr("transports.dkim.records.KNOWN_FOR", 1e9)  # so that no minute ends meanwhile
    assert about_sender("a@b.example", url)
    (tmp_path / "dkim.toml").unlink()

    assert about_sender("a@b.example", url)
    assert not about_sender("a@example.com", url)


def test_hosts_are_compared_as_hosts() -> None:
    assert is_shortener("WWW.bit.ly.")
    assert not is_shortener("bit.ly.example.com")
    assert sends_for("smtp.gmail.com.", "gmail.com")
    assert not sends_for("smtp.gmail.com", "yahoo.com")


# --- where they are told ----------------------------------------------------------------------------------------------


@pytest.fixture
def client(any_db: Database, add_users: Callable[..., Any]) -> Iterator[FlaskClient]:
    add_users(any_db, 2)
    with calling(any_db) as made:
        yield made


def test_preview_audience_and_campaign_tell_the_same(client: FlaskClient) -> None:
    payload = {**PAYLOAD, "body": SLIPS}
    audience = client.post("/api/v1/mailer/audience", json={"subject": payload["subject"], "body": SLIPS}).json
    preview = client.post("/api/v1/mailer/preview", json=payload).json
    where = client.post("/api/v1/mailer", json={**payload, "dryrun": True}).headers["Location"]
    campaign = client.get(where).json

    assert audience is not None
    assert preview is not None
    assert campaign is not None
    assert audience["warningCodes"] == preview["warningCodes"] == campaign["campaign"]["warningCodes"] == ALL_CODES
    assert audience["warnings"] == preview["warnings"] == campaign["campaign"]["warnings"]
    assert len(audience["warnings"]) == len(ALL_CODES)


def test_audience_tells_of_the_query_first(client: FlaskClient) -> None:
    asked = {"query": '{"role": "x"}', "subject": "Hi", "body": SLIPS, "from": "a@example.com", "inlineCss": True}
    found = client.post("/api/v1/mailer/audience", json=asked).json

    assert found is not None
    assert found["warningCodes"] == ["unknown-field", *ALL_CODES]


def test_post_does_not_look_and_a_campaign_is_looked_at_once(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    real = message_checks.checks
    monkeypatch.setattr(message_checks, "checks", lambda *given: looked.append("x") or real(*given))

    where = client.post("/api/v1/mailer", json={**PAYLOAD, "body": SLIPS, "dryrun": True}).headers["Location"]
    at_the_post = len(looked)
    for _ in range(3):
        client.get(where)

    assert (at_the_post, len(looked)) == (0, 1)


def test_purged_campaign_says_nothing_of_its_message_any_more(client: FlaskClient, any_db: Database) -> None:
    where = client.post("/api/v1/mailer", json={**PAYLOAD, "body": SLIPS, "dryrun": True}).headers["Location"]
    before = client.get(where).json
    client.post(f"{where}/cancel")
    assert purge(any_db, -60_000).campaigns == 1
    after = client.get(where).json

    assert before is not None
    assert after is not None
    assert (len(before["campaign"]["warnings"]), after["campaign"]["warnings"]) == (3, [])
