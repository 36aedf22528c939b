"""An SPF record taken apart into its terms (RFC 7208 section 4.6.1 and 12). Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import NamedTuple

from mailer.dns_records.spf.macros import MACRO_STRING

QUALIFIERS = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}
ASKING = frozenset({"include", "a", "mx", "ptr", "exists", "redirect"})  # each is one of the ten lookups
VERSION = "v=spf1"

_TERM = re.compile(r"([-+~?]?)([A-Za-z][A-Za-z0-9_.-]*)(?:([:=/])(.*))?", re.DOTALL)
_LENGTHS = re.compile(r"(.*?)(?:/(0|[1-9]\d?))?(?://(0|[1-9]\d{0,2}))?", re.DOTALL)


class SpfError(Exception):
    """A record that no receiver can use (`permerror`). The text says why, in one line."""


class Term(NamedTuple):
    """A mechanism or the modifier `redirect`.

    `target` is its domain, with macros still in it; empty: the domain that is checked. `bits` are the prefix lengths of
    addresses, for IPv4 and IPv6. Of `ip4` and `ip6` there is a `network`.
    """

    text: str
    name: str
    qualifier: str = "+"
    target: str = ""
    bits: tuple[int, int] = (32, 128)
    network: IPv4Network | IPv6Network | None = None

    @property
    def asks(self) -> bool:
        """Whether it counts toward the limit of lookups (RFC 7208 section 4.6.4)."""
        return self.name in ASKING


def spf_records(texts: Sequence[str]) -> list[str]:
    """Those of some TXT records that are of SPF (RFC 7208 section 4.5)."""
    return [text for text in texts if text.lower() == VERSION or text.lower().startswith(f"{VERSION} ")]


def read_terms(record: str) -> tuple[list[Term], Term | None]:
    """The mechanisms in their order, and the `redirect`. Raises `SpfError`: one bad term spoils the whole record."""
    mechanisms, redirect = list[Term](), None
    for text in record.split(" ")[1:]:
        term = read_term(text) if text else None
        if term is not None and term.name == "redirect":
            if redirect is not None:
                raise SpfError("redirect= stands there twice")
            redirect = term
        elif term is not None:
            mechanisms.append(term)
    return mechanisms, redirect


def read_term(text: str) -> Term | None:
    """A mechanism, or the `redirect`; None: a modifier that decides nothing. Raises `SpfError`."""
    found = _TERM.fullmatch(text)
    if found is None:
        raise SpfError(f"“{text}” is no term of SPF")
    qualifier, name, mark, rest = found[1], found[2].lower(), found[3], found[4] or ""
    if mark == "=" and not qualifier:
        return _modifier(text, name, rest)
    reader = _READERS.get(name)
    if reader is None:
        raise SpfError(f"“{text}” is no term of SPF")
    return reader(Term(text, name, qualifier or "+"), mark, rest)


def _modifier(text: str, name: str, rest: str) -> Term | None:
    if not MACRO_STRING.fullmatch(rest) or (name == "redirect" and not rest):
        raise SpfError(f"“{text}” has no domain that can be read")
    return Term(text, name, target=rest) if name == "redirect" else None  # others, such as exp=, decide nothing


def _all(term: Term, mark: str | None, _rest: str) -> Term:
    if mark:
        raise SpfError(f"“{term.text}”: nothing may follow all")
    return term


def _network(term: Term, mark: str | None, rest: str) -> Term:
    try:
        network = ip_network(rest, strict=False) if mark == ":" else None
    except ValueError:
        network = None
    if network is None or network.version != int(term.name[-1]) or "%" in rest:
        raise SpfError(f"“{term.text}” names no {'IPv4' if term.name == 'ip4' else 'IPv6'} address")
    return term._replace(network=network)


def _with_domain(term: Term, mark: str | None, rest: str) -> Term:
    if mark != ":" or not rest or not MACRO_STRING.fullmatch(rest):
        raise SpfError(f"“{term.text}” names no domain")
    return term._replace(target=rest)


def _ptr(term: Term, mark: str | None, rest: str) -> Term:
    return _with_domain(term, mark, rest) if mark else term


def _hosts(term: Term, mark: str | None, rest: str) -> Term:
    found = _LENGTHS.fullmatch(("/" if mark == "/" else "") + rest)
    target, four, six = found.groups() if found else ("", None, None)
    bits = (int(four or 32), int(six or 128))
    if "/" in target.partition("%{")[0] or bits[0] > 32 or bits[1] > 128 or (mark == ":" and not target):
        raise SpfError(f"“{term.text}” cannot be read")
    if target and not MACRO_STRING.fullmatch(target):
        raise SpfError(f"“{term.text}” names no domain")
    return term._replace(target=target, bits=bits)


_READERS = {
    "all": _all,
    "ip4": _network,
    "ip6": _network,
    "include": _with_domain,
    "exists": _with_domain,
    "ptr": _ptr,
    "a": _hosts,
    "mx": _hosts,
}
