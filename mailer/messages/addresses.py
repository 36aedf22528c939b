"""Addresses and display names: what may stand in a header or an envelope, and in which form."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import email_validator

from mailer.text import is_one_line, one_line

MAX_ADDRESS = 254  # octets, RFC 5321 section 4.5.3.1.3 with its errata
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]++"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9]|-(?=[A-Za-z0-9]))*+"  # no two hyphens in a row, so nothing that could be IDNA
_PLAIN = re.compile(rf"{_ATOM}(?:\.{_ATOM})*+@(?:{_LABEL}\.)*+(?![0-9]+\Z){_LABEL}")
_PLAIN_LENGTH = 63  # the limit of one label (RFC 1035 section 2.3.4): a shorter address keeps every other limit too
_QUOTED_NAME = re.compile(r'"((?:[^"\\]|\\.)*+)"')
_ESCAPE = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A display name, empty if there is none, and an address in its envelope form (see `envelope_address`)."""

    name: str
    address: str


def shown_name(text: str) -> str:
    """Give a person's name without what no header may hold: a tab, a line end and the like become one blank.

    Blanks around it, and more than one between its words, say nothing and go.
    """
    text = one_line(text)
    return " ".join(filter(None, text.split(" "))) if "  " in text or text.strip(" ") != text else text


def envelope_address(text: str) -> str | None:
    """Give the form an envelope takes, or None where `text` is no valid address.

    The domain is lower-cased and in IDNA ASCII form (RFC 5891); a local part that is not ASCII stays as it is, in NFC,
    and needs SMTPUTF8 (RFC 6531). Quoted local parts and address literals are not taken.
    """
    if len(text) <= _PLAIN_LENGTH and _PLAIN.fullmatch(text):
        at = text.index("@")
        return text[:at] + text[at:].lower()
    return _international(text) if len(text) <= MAX_ADDRESS else None


def _international(text: str) -> str | None:
    if not is_one_line(text):
        return None
    _allow_special_use_domains()
    try:
        valid = email_validator.validate_email(
            text, check_deliverability=False, globally_deliverable=False, strict=True, allow_display_name=False
        )
    except email_validator.EmailNotValidError:
        return None
    if valid.ascii_domain.rpartition(".")[2].isdigit():  # a bare IP address, RFC 3696 section 2
        return None
    return f"{valid.local_part}@{valid.ascii_domain}"


@cache
def _allow_special_use_domains() -> None:
    """Have email_validator take .local, .test and the like, which intranets use; once, before its first use.

    Whether a name can be reached is for the mail server to say. The library has no argument for it: its list of refused
    names is there to be changed, for the whole process.
    """
    email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()


def comparable(address: str) -> str:
    """The form in which addresses are compared: ASCII letters in lower case, as the databases' `lower()` has it.

    Letters beyond ASCII stay: whether their case matters is the receiving server's to say (RFC 6531 section 3.3).
    """
    return address.encode().lower().decode()


def parse_mailbox(text: str) -> Mailbox:
    """Read `address` or `Name <address>`; the name may be quoted. Raises ValueError for everything else."""
    if not is_one_line(text):
        raise ValueError("a control character, line separator or lone surrogate")
    name, bracket, rest = text.strip(" ").rpartition("<")
    if bracket:
        address = envelope_address(rest.removesuffix(">")) if rest.endswith(">") else None
    else:
        address = envelope_address(rest)
    if address is None:
        raise ValueError("not a valid address")
    return Mailbox(_display_name(name.strip(" ")), address)


def written(mailbox: Mailbox) -> str:
    """Give the text that `parse_mailbox` reads as this mailbox."""
    name = mailbox.name
    if any(special in name for special in '<>"\\'):
        name = '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'
    return f"{name} <{mailbox.address}>" if name else mailbox.address


def _display_name(text: str) -> str:
    quoted = _QUOTED_NAME.fullmatch(text)
    if quoted:
        return _ESCAPE.sub(r"\1", quoted[1])
    if any(special in text for special in '<>"'):
        raise ValueError("not a valid display name")
    return text


@lru_cache(maxsize=1024)
def sender_rule(text: str) -> str:
    """Give the comparable form of one allowed sender, an address or `@domain`. Raises ValueError if it is neither."""
    anyone = "x" if text.startswith("@") else ""
    address = envelope_address(anyone + text)
    if address is None:
        raise ValueError("neither an address nor @domain")
    return address.removeprefix(anyone)


def sender_allowed(address: str, allowed: Sequence[str]) -> bool:
    """Whether mail may be sent as `address` (envelope form). `allowed` holds addresses and `@domain`s; empty: any."""
    if not allowed:
        return True
    rules = {sender_rule(rule) for rule in allowed}
    return address in rules or address[address.rindex("@") :] in rules
