"""Cells as people write them, read as addresses, yes and no, times or roles. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mailer.files.ejson import canonical_date
from mailer.messages.addresses import envelope_address
from mailer.text import INVISIBLE, INVISIBLE_CLASS

_YES = (
    "true",
    "yes",
    "y",
    "1",
    "t",
    "on",
    "x",
    "active",
    "enabled",
    "wahr",
    "ja",
    "vrai",
    "oui",
    "verdadero",
    "sí",
    "si",
)
_NO = (
    "false",
    "no",
    "n",
    "0",
    "f",
    "off",
    "inactive",
    "disabled",
    "deactivated",
    "falsch",
    "nein",
    "faux",
    "non",
    "falso",
)
BOOLEANS = {**dict.fromkeys((*_YES, "vero"), True), **dict.fromkeys(_NO, False)}

_unseen = re.compile(f"{INVISIBLE_CLASS}+")
_SEVERAL = re.compile(r"\s:::\s")  # between several values of an address book's entry
_address_in_parentheses = re.compile(r"\(([^()\s]+@[^()\s]+)\)")  # Name (address)
_between = re.compile(r'(?:"(?:[^"\\]|\\.)*"|<[^<>]*>|[^,;|\r\n])+').findall
_bare = re.compile(r"[\w.+-]+@[\w.-]+", re.ASCII).fullmatch
_in_brackets = re.compile(r"<([^<>]*)>\Z").search
_scheme = re.compile(r"mailto:", re.IGNORECASE).match
_MILLISECONDS = re.compile(r"-?[0-9]{11,18}")
_ROLE_ENDS = re.compile(r"[,;|\r\n]")
_QUOTES = "'\"‘’“”„«»"


def trimmed(text: str) -> str:
    """`text` without what is not seen at its ends: blanks, no-break and zero-width ones, line ends."""
    return text.strip(INVISIBLE)


def plain_address(text: str) -> str:
    """The address in `text`, which may be `Name <address>`, `mailto:address` or quoted, with blanks around.

    Whether it is a valid address is not checked here.
    """
    if _bare(text):
        return text
    text = trimmed(text)
    bracketed = _in_brackets(text)
    text = trimmed(bracketed[1]) if bracketed else text
    if _scheme(text):
        text = trimmed(text[len("mailto:") :].partition("?")[0])
    return text.strip(_QUOTES) if text[:1] in _QUOTES else text


def addresses_in(text: str) -> list[str]:
    """Every address in `text`, in envelope form and in its order, between commas, semicolons, blanks, bars or `:::`.

    Raises ValueError where a part is no address, so that nobody is overlooked. An empty text has none.
    """
    text = _address_in_parentheses.sub(r"<\1>", _SEVERAL.sub(",", text))
    whole = envelope_address(plain_address(text)) if text.count("@") == 1 else None
    if whole:
        return [whole]
    found: list[str] = []
    for part in _parts(text):
        address = envelope_address(plain_address(part))
        if address is None:
            raise ValueError("has something besides addresses" if found else "is no valid address")
        found.append(address)
    return list(dict.fromkeys(found))


def _parts(text: str) -> Iterator[str]:
    """The parts of `text` between separators and blanks, but not within quotes and brackets.

    Of the name in `Name <address>` only what is itself an address is a part.
    """
    for part in _between(text):
        name, bracket, rest = part.partition("<")
        words = [word for word in _unseen.split(name) if word]
        yield from (word for word in words if not bracket or envelope_address(plain_address(word)))
        if bracket:
            yield bracket + rest


def boolean(text: str) -> bool:
    """Yes or no as people and spreadsheets write it; raises ValueError."""
    folded = trimmed(text).casefold()
    if folded not in BOOLEANS:
        raise ValueError("must be true or false")
    return BOOLEANS[folded]


def moment(text: str) -> int:
    """A time in milliseconds since 1970 from ISO 8601 (UTC unless it says otherwise) or milliseconds.

    Raises ValueError, also for seconds: as milliseconds they would be days of January 1970.
    """
    text = trimmed(text)
    return canonical_date(int(text) if _MILLISECONDS.fullmatch(text) else text)["$date"]


def roles(text: str) -> list[str]:
    """The roles of a cell: `a, b`, `a;b`, `a|b`, `["a","b"]`, `{a,b}`, each once. A blank is part of a role's name."""
    text = trimmed(text)
    if text[:1] + text[-1:] in {"[]", "{}", "()"}:
        text = text[1:-1]
    cut = (trimmed(trimmed(part).strip(_QUOTES)) for part in _ROLE_ENDS.split(text))
    return list(dict.fromkeys(role for role in cut if role))
