"""Transport URLs taken apart: `scheme:rest?option=value&option=value`, and `scheme:(url url)?option=value`.

Everything a transport's URL can get wrong is found here and raised as `TransportConfigError`. The errors name schemes
and options, never what stands elsewhere, so that a password does not end up in a log.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from transports.base import TransportConfigError

SCHEME = re.compile(r"[a-z][a-z0-9+.-]*", re.IGNORECASE | re.ASCII)
OPTION_NAME = re.compile(r"[a-z_]{1,20}", re.ASCII)
DURATION = re.compile(r"(\d+(?:\.\d+)?)([a-z]*)", re.ASCII)
SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
UNITS = ("", "ms", "s", "m", "h", "d")  # of options and settings
UNNAMED = "(a ? that begins no options is written %3F, or stands inside parentheses)"  # as the text may be a secret
FLAGS = {"yes": True, "true": True, "on": True, "1": True, "no": False, "false": False, "off": False, "0": False}


@dataclass(frozen=True, slots=True)
class TransportURL:
    """`scheme` in lower case, `rest` up to the options and still percent-encoded, `query` the options' text."""

    scheme: str
    rest: str
    query: str

    def __repr__(self) -> str:
        return f"TransportURL({self.scheme}:***)"  # only the scheme's transport knows what of the rest is secret


def split_url(url: str) -> TransportURL:
    """Take `url` apart; in the group form the parentheses stay in `rest`. Raises `TransportConfigError`."""
    scheme, colon, rest = url.strip().partition(":")
    if not colon or not SCHEME.fullmatch(scheme):
        raise TransportConfigError("a transport URL starts with a scheme and a colon, such as console: or smtp://host")
    end = _group_end(rest) if rest.startswith("(") else 0
    body, _, query = rest[end:].partition("?")
    if end and body:
        raise TransportConfigError(f"{scheme}: only ?options may follow the closing parenthesis")
    return TransportURL(scheme.lower(), rest[:end] + body, query)


def split_group(scheme: str, rest: str) -> tuple[str, ...]:
    """The URLs of `(url url)`, which may hold groups of their own. Raises `TransportConfigError` for anything else."""
    if not rest.startswith("(") or _group_end(rest) != len(rest):
        raise TransportConfigError(f"{scheme}: expected URLs in parentheses, such as {scheme}:(smtp://a smtp://b)")
    words: list[str] = []
    depth = 0
    for piece in rest[1:-1].split():
        if depth:
            words[-1] += " " + piece
        else:
            words.append(piece)
        depth += piece.count("(") - piece.count(")")
    return tuple(words)


def shown_options(query: str, shown: Sequence[str]) -> str:
    """The options of a URL with `?` before them, or nothing; the values of those that are not in `shown` are hidden."""
    pairs = (pair.partition("=") for pair in query.split("&"))
    named = [(name, value) for name, equals, value in pairs if equals and OPTION_NAME.fullmatch(name)]
    pieces = [f"{name}={value if name in shown else '***'}" for name, value in named]
    return "?" + "&".join(pieces) if pieces else ""


def parse_duration(text: str, units: Collection[str] = UNITS) -> float | None:
    """Seconds, from `500ms`, `30s`, `5m`, `2h`, `1d` or a bare number of seconds; None: it is no duration.

    The one reader of durations: for options here, and for the settings and the command line of whoever uses this
    package. `units` are those that may be given, of `SECONDS`; the empty one stands for a bare number.
    """
    match = DURATION.fullmatch(text)
    return float(match[1]) * SECONDS[match[2]] if match and match[2] in units else None


def is_loopback(host: str) -> bool:
    """Whether `host` is `localhost` or a loopback address, so that what is sent to it never leaves this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Options:
    """The options of one URL. Raises `TransportConfigError` at once for an unknown, repeated or empty one."""

    def __init__(self, scheme: str, query: str, known: Sequence[str]) -> None:
        self._scheme = scheme
        self._known = tuple(known)
        self._values: dict[str, str] = {}
        for pair in filter(None, query.split("&")):
            self._add(pair)

    def text(self, name: str, default: str = "") -> str:
        """The value as it stands."""
        return self._get(name) or default

    def choice(self, name: str, choices: Sequence[str], default: str) -> str:
        """One of `choices`, in lower case."""
        value = (self._get(name) or default).lower()
        if value not in choices:
            raise self._bad(name, value, "one of " + ", ".join(choices))
        return value

    def flag(self, name: str, default: bool) -> bool:
        """yes, true, on, 1 or no, false, off, 0."""
        value = self._get(name)
        if value is None:
            return default
        if value.lower() not in FLAGS:
            raise self._bad(name, value, "yes or no")
        return FLAGS[value.lower()]

    def integer(self, name: str, default: int, minimum: int, maximum: int) -> int:
        """A whole number from `minimum` to `maximum`, both included."""
        value = self._get(name)
        if value is None:
            return default
        if not re.fullmatch(r"\d{1,18}", value, re.ASCII) or not minimum <= int(value) <= maximum:
            raise self._bad(name, value, f"a whole number from {minimum} to {maximum}")
        return int(value)

    def duration(self, name: str, default: float, minimum: float = 0.001, maximum: float = 86400.0) -> float:
        """Seconds, as `parse_duration` reads them, from `minimum` to `maximum`."""
        value = self._get(name)
        if value is None:
            return default
        seconds = parse_duration(value)
        if seconds is None or not minimum <= seconds <= maximum:
            raise self._bad(name, value, f"a duration such as 30s, from {minimum:g} s to {maximum:g} s")
        return seconds

    def _add(self, pair: str) -> None:
        name, equals, value = (unquote(piece) for piece in pair.partition("="))
        if name not in self._known:
            listing = ", ".join(sorted(self._known)) or "none"
            shown = repr(name) if equals and OPTION_NAME.fullmatch(name) else UNNAMED
            raise TransportConfigError(f"{self._scheme}: unknown option {shown}; known options: {listing}")
        if name in self._values or not value:
            raise TransportConfigError(f"{self._scheme}: option {name!r} needs exactly one value")
        self._values[name] = value

    def _get(self, name: str) -> str | None:
        if name not in self._known:
            raise KeyError(name)
        return self._values.get(name)

    def _bad(self, name: str, value: str, expected: str) -> TransportConfigError:
        return TransportConfigError(f"{self._scheme}: option {name!r} is {value!r}; expected {expected}")


def _group_end(rest: str) -> int:
    depth = 0
    for position, character in enumerate(rest):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            return position + 1
    raise TransportConfigError("a parenthesis in the transport URL is not closed")
