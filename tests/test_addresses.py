from __future__ import annotations

import email_validator
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.messages.addresses import (
    Mailbox,
    envelope_address,
    parse_mailbox,
    sender_allowed,
    sender_rule,
    shown_name,
)
from mailer.text import is_one_line

LONGEST_LOCAL = "a" * 64


@pytest.mark.parametrize(
    ("text", "envelope"),
    [
        pytest.param("ann@example.org", "ann@example.org", id="plain"),
        pytest.param("Ann.Lee+x@Example.ORG", "Ann.Lee+x@example.org", id="only the domain is lower-cased"),
        pytest.param("o'neil!#$%&*/=?^_`{|}~@example.org", "o'neil!#$%&*/=?^_`{|}~@example.org", id="every atom sign"),
        pytest.param("root@localhost", "root@localhost", id="bare host"),
        pytest.param("ann@corp.local", "ann@corp.local", id="intranet"),
        pytest.param("ann@mx.test", "ann@mx.test", id="test domain"),
        pytest.param("ann@mx-1.example.org", "ann@mx-1.example.org", id="hyphen"),
        pytest.param("ann@münchen.example", "ann@xn--mnchen-3ya.example", id="IDNA"),
        pytest.param("ann@MÜNCHEN.local", "ann@xn--mnchen-3ya.local", id="IDNA on an intranet"),
        pytest.param("ann@faß.de", "ann@xn--fa-hia.de", id="IDNA 2008, not 2003"),
        pytest.param("ann@xn--mnchen-3ya.example", "ann@xn--mnchen-3ya.example", id="IDNA already"),
        pytest.param("jürgen@example.org", "jürgen@example.org", id="local part outside ASCII"),
        pytest.param("ju\u0308rgen@example.org", "jürgen@example.org", id="local part in NFC"),
        pytest.param(f"{LONGEST_LOCAL}@example.org", f"{LONGEST_LOCAL}@example.org", id="longest local part"),
    ],
)
def test_envelope_address_of_a_valid_address(text: str, envelope: str) -> None:
    assert envelope_address(text) == envelope


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("ann", id="no at"),
        pytest.param("ann@", id="no domain"),
        pytest.param("@example.org", id="no local part"),
        pytest.param("a@b@example.org", id="two ats"),
        pytest.param(".ann@example.org", id="dot first"),
        pytest.param("ann.@example.org", id="dot last"),
        pytest.param("an..n@example.org", id="two dots"),
        pytest.param("ann lee@example.org", id="space"),
        pytest.param(" ann@example.org", id="space before"),
        pytest.param('"ann lee"@example.org', id="quoted local part"),
        pytest.param("ann@[127.0.0.1]", id="address literal"),
        pytest.param("ann@127.0.0.1", id="bare IP address"),
        pytest.param("jürgen@mx.10", id="number as the last label, local part outside ASCII"),
        pytest.param("ann@-example.org", id="hyphen first"),
        pytest.param("ann@example-.org", id="hyphen last"),
        pytest.param("ann@ab--cd.org", id="reserved hyphens"),
        pytest.param("ann@example..org", id="empty label"),
        pytest.param("ann@example.org.", id="dot at the end"),
        pytest.param("ann@xn--a.example", id="broken IDNA"),
        pytest.param("ann@example.org\n", id="newline at the end"),
        pytest.param("ann@example.org\r\nBcc: x@y.org", id="header injection"),
        pytest.param("a\u0085b@example.org", id="next line"),
        pytest.param("a\u2028b@example.org", id="line separator"),
        pytest.param("a\u2029b@example.org", id="paragraph separator"),
        pytest.param("a\udc80b@example.org", id="lone surrogate"),
        pytest.param("a\x00b@example.org", id="NUL"),
        pytest.param("ann@exam\ud800ple.org", id="lone surrogate in the domain"),
        pytest.param("<ann@example.org>", id="brackets"),
        pytest.param("Ann <ann@example.org>", id="display name"),
        pytest.param("ann@example.org,bob@example.org", id="two addresses"),
        pytest.param(f"a{LONGEST_LOCAL}@example.org", id="local part too long"),
        pytest.param("ann@" + "a" * 64 + ".org", id="label too long"),
        pytest.param("ann@" + "a." * 126 + "org", id="address too long"),
        pytest.param("ann@" + "ü" * 60 + ".org", id="label too long in IDNA"),
        pytest.param("ü" * 64 + "@" + "a." * 62 + "org", id="address too long in octets"),
    ],
)
def test_envelope_address_of_an_invalid_address(text: str) -> None:
    assert envelope_address(text) is None


@given(st.from_regex(r"[A-Za-z0-9.!+_\-]{1,8}@[A-Za-z0-9.\-]{1,12}", fullmatch=True))
def test_envelope_address_agrees_with_the_validator_on_plain_addresses(text: str) -> None:
    try:
        valid = email_validator.validate_email(
            text, check_deliverability=False, globally_deliverable=False, strict=True
        )
        expected = f"{valid.local_part}@{valid.ascii_domain}".casefold()
    except email_validator.EmailNotValidError:
        expected = ""
    if expected.rpartition(".")[2].rpartition("@")[2].isdigit():
        expected = ""

    assert (envelope_address(text) or "").casefold() == expected


@given(st.text(alphabet=st.characters(codec=None), max_size=40))
def test_envelope_address_never_lets_a_forbidden_character_through(text: str) -> None:
    for address in (envelope_address(text), envelope_address(f"{text}@example.org"), envelope_address(f"a@{text}")):
        assert address is None or (is_one_line(address) and address.rpartition("@")[2].isascii())


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20))
def test_envelope_address_is_stable(text: str) -> None:
    address = envelope_address(f"{text}@example.org")

    assert address is None or envelope_address(address) == address


@pytest.mark.parametrize(
    ("text", "mailbox"),
    [
        pytest.param("ann@example.org", Mailbox("", "ann@example.org"), id="bare"),
        pytest.param("<ann@example.org>", Mailbox("", "ann@example.org"), id="brackets"),
        pytest.param("Ann Lee <ann@Example.org>", Mailbox("Ann Lee", "ann@example.org"), id="name"),
        pytest.param(" Ann  <ann@example.org> ", Mailbox("Ann", "ann@example.org"), id="spaces around"),
        pytest.param('"Lee, Ann" <ann@example.org>', Mailbox("Lee, Ann", "ann@example.org"), id="quoted"),
        pytest.param(r'"A \"B\" \\ C" <a@b.org>', Mailbox(r'A "B" \ C', "a@b.org"), id="escapes"),
        pytest.param('"<x@y.org>" <a@b.org>', Mailbox("<x@y.org>", "a@b.org"), id="brackets in quotes"),
        pytest.param("Dr. Lee, Ann (PhD) <a@b.org>", Mailbox("Dr. Lee, Ann (PhD)", "a@b.org"), id="signs unquoted"),
        pytest.param("Jürgen <jürgen@münchen.de>", Mailbox("Jürgen", "jürgen@xn--mnchen-3ya.de"), id="international"),
        pytest.param("👩‍🚀 <a@b.org>", Mailbox("👩‍🚀", "a@b.org"), id="joined emoji"),
    ],
)
def test_parse_mailbox_of_a_valid_one(text: str, mailbox: Mailbox) -> None:
    assert parse_mailbox(text) == mailbox


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Ann",
        "Ann <>",
        "Ann <ann@example.org",
        "Ann <ann@example.org> x",
        "Ann ann@example.org",
        "Ann <a@b.org>, Bob <c@d.org>",
        "a@b.org, c@d.org",
        'Ann "x <a@b.org>',
        r'"Ann\" <a@b.org>',
        "Ann\r\nBcc: x@y.org <a@b.org>",
        "Ann\u2028 <a@b.org>",
        "Ann\u0085 <a@b.org>",
        "Ann\udcff <a@b.org>",
        "Ann\x7f <a@b.org>",
        "Ann\t<a@b.org>",
        "a@b.org\n",
    ],
)
def test_parse_mailbox_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r"control|address|name"):
        parse_mailbox(text)


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        pytest.param([], True, id="empty means any"),
        pytest.param(["news@example.org"], True, id="address"),
        pytest.param(["news@EXAMPLE.org"], True, id="address, domain in capitals"),
        pytest.param(["@Example.ORG"], True, id="domain"),
        pytest.param(["other@example.org", "@example.org"], True, id="second rule"),
        pytest.param(["other@example.org"], False, id="another address"),
        pytest.param(["@example.com"], False, id="another domain"),
        pytest.param(["@ple.org"], False, id="end of the domain"),
        pytest.param(["@sub.example.org", "@org"], False, id="neighbours of the domain"),
    ],
)
def test_sender_allowed(allowed: list[str], expected: bool) -> None:
    assert sender_allowed("news@example.org", allowed) is expected


def test_sender_allowed_by_an_international_domain() -> None:
    assert sender_allowed("news@xn--mnchen-3ya.de", ["@münchen.de"])


@pytest.mark.parametrize("text", ["example.org", "@", "", "@a@b", "*@example.org\n", "@exa mple.org"])
def test_sender_rule_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="neither"):
        sender_rule(text)


def test_name_is_shown_without_blanks_that_say_nothing() -> None:
    assert [shown_name(name) for name in ("  Ann ", "Ann  Lee", "\tAnn \n Lee ", "Ann", " ")] == [
        "Ann", "Ann Lee", "Ann Lee", "Ann", ""
    ]  # fmt: skip
