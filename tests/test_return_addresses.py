"""Tokens in addresses: what they name, and that nobody makes, changes or shortens one unnoticed."""

from __future__ import annotations

import re
from base64 import b32encode
from dataclasses import replace
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailer.errors import ConfigError
from mailer.messages.addresses import Mailbox
from mailer.messages.layout import TemplateSource
from mailer.messages.links import NOBODY, Links
from mailer.messages.recipient import Recipient, user_digest
from mailer.messages.return_addresses import Named, Tokens, Use, _base32, addresses_of
from mailer.messages.template import compile_message, delivery_id
from mailer.settings import Settings
from mailer.settings.return_address import ReturnAddress

CAMPAIGN = "018bcfe5680" + "a1" * 6
TOKENS = Tokens(["k" * 40])
BOUNCE, LEAVE = map(ReturnAddress.parse, ("bounce+{token}@example.com", "unsubscribe+{token}@example.com"))
SETTINGS = Settings(secret_key=("k" * 40,), bounce_address=BOUNCE, unsubscribe_address=LEAVE)
SOURCE = TemplateSource(CAMPAIGN, Mailbox("", "news@example.com"), "Hi", "[unsubscribe]", "S", "https://x")
BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
campaign_ids = st.from_regex(r"[0-9a-f]{23}", fullmatch=True) | st.from_regex(r"[A-Za-z0-9_-]{1,30}", fullmatch=True)
uses = st.sampled_from(Use)


def token(campaign_id: str, user_id: str, use: Use, tokens: Tokens = TOKENS) -> str:
    start, rest = tokens.of_campaign(campaign_id, use)
    return start + rest(bytes.fromhex(user_digest(user_id)))


@given(campaign_ids, st.text(max_size=255), uses, st.sampled_from(["k" * 40, "old key" * 6]))
def test_token_names_what_it_was_made_for_whatever_its_case(campaign_id: str, user_id: str, use: Use, key: str) -> None:
    made = token(campaign_id, user_id, use, Tokens([key]))
    both = Tokens(["k" * 40, "old key" * 6])

    for written in (made, made.upper(), made.title(), f"<Bounce+{made}@EXAMPLE.com>"):
        assert both.read([written]) == Named(use, campaign_id, user_digest(user_id))
    assert set(made) <= set(BASE32)
    assert Tokens(["another" * 6]).read([made]) is None


@given(st.binary(max_size=60))
def test_base32_is_that_of_the_standard(octets: bytes) -> None:
    assert _base32(octets) == b32encode(octets).decode().rstrip("=").lower()


@given(st.integers(0, 47), st.sampled_from(BASE32), uses)
@example(47, "a", Use.BOUNCE)
def test_token_with_another_character_is_none(place: int, character: str, use: Use) -> None:
    made = token(CAMPAIGN, "u1", use)
    changed = made[:place] + character + made[place + 1 :]

    assert (TOKENS.read([changed]) is not None) == (changed == made)


@given(st.integers(0, 47), st.integers(0, 3), st.sampled_from(["", "a", "7", "aaaaaaaa"]))
def test_token_cut_short_or_made_longer_is_none(length: int, start: int, more: str) -> None:
    made = token(CAMPAIGN, "u1", Use.BOUNCE)

    assert TOKENS.read([made[start : start + length]]) is None
    assert (TOKENS.read([made + more]) is not None) == (not more)


def test_kinds_cannot_be_exchanged_with_one_another_nor_with_links() -> None:
    bounce, leave = (token(CAMPAIGN, "u1", use) for use in Use)
    link = Links(["k" * 40], "https://x").link("u1").rpartition("/")[2]

    assert bounce[:-16] == leave[:-16]
    assert TOKENS.read([bounce[:-16] + leave[-16:]]).use is Use.UNSUBSCRIBE  # type: ignore[union-attr]
    assert TOKENS.read([link]) is None
    assert Links(["k" * 40], "https://x").read(bounce) is None


@pytest.mark.parametrize(
    "wrapped",
    [
        "prvs=0123abcdef=bounce+{}@example.com",
        "SRS0=HHHH=TT=example.com=bounce+{}@forwarder.example",
        "SRS1=HHHH=first.example==HHHH=TT=example.com=bounce+{}@second.example",
        "btv1==0123456789abcdef==bounce+{}@example.com",
        '"bounce+{}"@example.com',
        "<bounce+{}@example.com>",
        "bounce+{}@relay.internal",
        "RFC822; bounce+{}@example.com",
    ],
)
def test_token_is_found_in_what_relays_have_written_around_it(wrapped: str) -> None:
    made = token(CAMPAIGN, "u1", Use.BOUNCE)

    found = TOKENS.read(["someone@example.com", wrapped.format(made)])

    assert found == Named(Use.BOUNCE, CAMPAIGN, user_digest("u1"))


@pytest.mark.parametrize("text", ["", "@", "bounce+@example.com", "a" * 48, "x" * 100_000, "ü" * 60, "=" * 48, "\0"])
def test_what_is_no_token_is_none(text: str) -> None:
    assert TOKENS.read([text]) is None


def test_addresses_fit_into_what_every_server_takes_and_name_the_same_user_as_the_message_id() -> None:
    returns = addresses_of(SETTINGS, CAMPAIGN, dry_run=False, sends=True)
    message = compile_message(SOURCE, returns).render(Recipient("u1", "", "ann@example.org"), "https://x/u", 0)

    assert len(message.sender.partition("@")[0]) == 7 + 48
    assert TOKENS.read([message.sender]) == Named(Use.BOUNCE, CAMPAIGN, user_digest("u1"))
    assert delivery_id(CAMPAIGN, "u1").partition(".")[2].startswith(user_digest("u1"))
    field = re.search(
        rb"\r\nList-Unsubscribe: <https://x/u>,\r\n <mailto:(.*)\?subject=unsubscribe>\r\n", message.content
    )
    assert field is not None
    assert TOKENS.read([unquote(field[1].decode())]) == Named(Use.UNSUBSCRIBE, CAMPAIGN, user_digest("u1"))
    assert len(unquote(field[1].decode()).partition("@")[0]) <= 64
    assert b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in message.content
    assert message.vouched


@pytest.mark.parametrize(
    ("real", "settings", "bounce", "leave"),
    [
        ({"dry_run": False, "sends": True}, SETTINGS, "u1", "u1"),
        ({"dry_run": True, "sends": True}, SETTINGS, NOBODY, "u1"),
        ({"dry_run": False, "sends": False}, SETTINGS, NOBODY, NOBODY),
        ({"dry_run": False, "sends": True}, replace(SETTINGS, redirect_to="me@example.org"), NOBODY, NOBODY),
    ],
    ids=["campaign", "dry run", "preview", "redirected"],
)
def test_only_what_goes_to_its_recipients_names_them(
    real: dict[str, bool], settings: Settings, bounce: str, leave: str
) -> None:
    returns = addresses_of(settings, CAMPAIGN, **real)
    message = compile_message(SOURCE, returns).render(Recipient("u1", "", "ann@example.org"), "https://x/u", 0)

    named = [TOKENS.read([message.sender]), TOKENS.read([message.content.decode()])]

    assert [one and one.digest for one in named] == [user_digest(bounce), user_digest(leave)]


def test_campaign_with_an_id_that_is_too_long_keeps_its_sender() -> None:
    source = replace(SOURCE, campaign_id="c" * 40)
    returns = addresses_of(SETTINGS, source.campaign_id, dry_run=False, sends=True)

    message = compile_message(source, returns).render(Recipient("u1", "", "a@example.org"), "https://x/u", 0)

    assert message.sender == "news@example.com"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bounce@example.com", "Needs {token} once"),
        ("bounce+{token}{token}@example.com", "Needs {token} once"),
        ("bounce@{token}.example.com", "Needs {token} once"),
        ("bounce+{token}", "Needs {token} once"),
        ("bounce+{token}@", "Has no domain"),
        ("bounce+{token}@exa mple.com", "Has no domain"),
        ("bounce+{token}@-x.com", "Has no domain"),
        ("bou nce+{token}@example.com", "Has a character"),
        ("bounce..{token}@example.com", "Has a character"),
        ("bounce{token}@example.com", "Needs a character such as + or -"),
        ("bounce+{token}x@example.com", "Needs a character such as + or -"),
        ("b" * 16 + "+{token}@example.com", "there is room for 16"),
        ("bounce+{token}@" + ".".join(["d" * 63] * 3 + ["x" * 20]), "Is longer than"),
    ],
)
def test_address_that_cannot_work_is_refused_by_the_name_of_its_setting(
    text: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MAILER_BOUNCE_ADDRESS", "MAILER_UNSUBSCRIBE_ADDRESS"):
        monkeypatch.setenv(name, text)
        with pytest.raises(ConfigError, match=re.escape(name)) as caught:
            Settings.from_env()
        assert said in str(caught.value)
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    "text",
    ["bounce+{token}@example.com", "{token}@b.example.com", "b-{token}.x@example.com", "b" * 15 + "+{token}@x.y"],
)
def test_address_that_can_work_is_shown_as_it_was_written(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILER_BOUNCE_ADDRESS", text)

    assert str(Settings.from_env().bounce_address) == text


def test_international_domain_goes_into_the_envelope_in_ascii() -> None:
    assert str(ReturnAddress.parse("b+{token}@bücher.example")) == "b+{token}@xn--bcher-kva.example"
