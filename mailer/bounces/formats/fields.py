"""Header fields (RFC 5322 section 2.2), as a mail, a report or a returned message has them. Pure; never raises.

What is broken is passed over: a line that is no field, an encoding that nobody knows, a date that is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from email.errors import HeaderParseError
from email.header import decode_header
from email.utils import parsedate_to_datetime

from mailer.text import one_line

_FIELD = re.compile(r"([!-9;-~]{1,100})[ \t]*:[ \t]*(.*)", re.DOTALL)
_FOLD = re.compile(r"\r?\n[ \t]+")
_BLANK = re.compile(r"(?:^|\n)[ \t]*\r?(?:\n|$)")
MAX_ADDRESS = 254  # characters; RFC 5321 section 4.5.3.1.3, without the angle brackets
_MAX_VALUE = 4000  # characters of a field that are looked at
_MAX_FIELDS = 2000
_TIMES = (0, 253402300799000)  # ms: the years 1970 to 9999

ADDRESS = re.compile(
    r"(?<![^\s<>\"'(\[:;,=、：|])"
    r"(?:\"[^\"\s]{1,64}\"|[^\s<>\"'()\[\]:;,@、]{1,64})@(?:[^\W_][\w-]{0,62}\.){1,10}[^\W\d_][\w-]{1,62}"
)
"""An address in running text. It is bounded, so that a search takes time in proportion to the text."""


class Fields:
    """Header fields by their names, in any case; a value is unfolded and still encoded."""

    def __init__(self, rows: Iterable[tuple[str, str]] = ()) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in rows:
            self._values.setdefault(name.lower(), []).append(value)

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._values

    def items(self) -> Iterable[tuple[str, list[str]]]:
        """Each name in lower case with its values."""
        return self._values.items()

    def get(self, name: str) -> str:
        """The first value, with encoded words (RFC 2047) decoded, in one line; empty: there is none."""
        return decoded(self.all(name)[0]) if name in self else ""

    def all(self, name: str) -> list[str]:
        """Every value of the field, as it was sent."""
        return self._values.get(name.lower(), [])

    def addresses(self, *names: str) -> list[str]:
        """The addresses in these fields, each once, in their order."""
        return list(dict.fromkeys(each for name in names for value in self.all(name) for each in addresses(value)))


def parse_fields(text: str) -> tuple[Fields, str]:
    """The fields at the start of `text`, up to the first blank line, and what comes after that line."""
    end = _BLANK.search(text)
    head, rest = (text[: end.start()], text[end.end() :]) if end else (text, "")
    matches = map(_FIELD.fullmatch, _FOLD.sub(" ", head[: _MAX_VALUE * 50]).splitlines()[:_MAX_FIELDS])
    return Fields((match[1], match[2].strip()[:_MAX_VALUE]) for match in matches if match), rest


def parse_octets(text: str) -> tuple[Fields, str]:
    """As `parse_fields`, for a text of which each character is an octet: RFC 6532 allows UTF-8 in a header."""
    fields, rest = parse_fields(text)
    return Fields(
        (name, to_text(value.encode("latin-1"), None)) for name, values in fields.items() for value in values
    ), rest


def addresses(text: str) -> list[str]:
    """The addresses in `text`, each once, in their order."""
    return list(dict.fromkeys(match[0] for match in ADDRESS.finditer(text) if len(match[0]) <= MAX_ADDRESS))


def decoded(value: str) -> str:
    """A field's value as people read it, in one line."""
    try:
        pieces = decode_header(value)
    except (HeaderParseError, ValueError):
        return one_line(value)
    return one_line("".join(each if isinstance(each, str) else to_text(each, charset) for each, charset in pieces))


def to_text(octets: bytes, charset: str | None) -> str:
    """`octets` in `charset`; where that is unknown or wrong, as UTF-8 with marks for what cannot be read."""
    try:
        if charset and re.fullmatch(r"[\w.:-]{1,40}", charset, re.ASCII) and charset.lower() not in _NO_TEXT:
            return octets.decode(charset, "replace")
    except (LookupError, ValueError):
        pass
    return octets.decode("utf-8", "replace")


_NO_TEXT = {"idna", "punycode", "undefined", "unicode_escape", "unicode-escape", "raw_unicode_escape", "utf-7", "utf7"}


def moment(value: str) -> int | None:
    """The date of a field (RFC 5322 section 3.3) in ms since 1970, or None where it is none."""
    try:
        date = parsedate_to_datetime(value[:100])
        found = int((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, TypeError, IndexError, OverflowError, OSError):
        return None
    return found if _TIMES[0] <= found <= _TIMES[1] and isinstance(date, datetime) else None
