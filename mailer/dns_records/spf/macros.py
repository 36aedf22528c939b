"""Macros in the domains of an SPF record, such as `%{i}._spf.%{d}` (RFC 7208 section 7). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Address
from urllib.parse import quote

from mailer.dns_records.lookups import Address

_LETTERS = "slodipvh"
_MACRO = re.compile(rf"%(?:([%_-])|\{{([{_LETTERS}])([0-9]*)(r?)([-.+,/_=]*)\}})", re.IGNORECASE)
MACRO_STRING = re.compile(rf"(?:[!-$&-~]|%[%_-]|%\{{[{_LETTERS}][0-9]*r?[-.+,/_=]*\}})*", re.IGNORECASE)
_LITERAL = {"%": "%", "_": " ", "-": "%20"}
LONGEST = 253  # characters of a name in the DNS


def values_for(address: Address, sender: str, domain: str) -> dict[str, str]:
    """What the macros stand for, where mail from `sender` comes from `address` and `domain` is checked."""
    local_part, _, sender_domain = sender.rpartition("@")
    if isinstance(address, IPv4Address):
        dotted, version = str(address), "in-addr"
    else:
        dotted, version = ".".join(address.exploded.replace(":", "")), "ip6"
    known = {"s": sender, "l": local_part, "o": sender_domain, "d": domain, "i": dotted, "v": version}
    return {**known, "p": "unknown", "h": sender_domain}  # p is not to be used; what the server greets with is unknown


def expanded(text: str, values: Mapping[str, str]) -> str:
    """`text` with its macros filled in. Labels on the left go where the name would be too long."""
    name = _MACRO.sub(lambda found: _value(found, values), text)
    while len(name) > LONGEST and "." in name:
        name = name.partition(".")[2]
    return name.removesuffix(".")


def needs_an_address(text: str) -> bool:
    """Whether a domain depends on who sends, so that it cannot be looked up without."""
    return any(found[2] and found[2].lower() not in "do" for found in _MACRO.finditer(text))


def _value(found: re.Match[str], values: Mapping[str, str]) -> str:
    literal, letter, digits, reverse, delimiters = found.groups()
    if literal:
        return _LITERAL[literal]
    parts = re.split(f"[{re.escape(delimiters or '.')}]", values[letter.lower()])
    if reverse:
        parts.reverse()
    kept = parts[-int(digits) :] if digits and int(digits) else parts
    value = ".".join(kept)
    return quote(value, safe="") if letter.isupper() else value
