"""How a setting's text becomes its value: a reader for each kind of value, and the checks for its text.

`settings` says which setting has which reader. A check raises `ValidationError`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import idna
from environs import Env
from limits import parse_many
from marshmallow import ValidationError
from marshmallow.validate import OneOf, Range
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from mailer.settings.listening import address_of
from mailer.text import NUL, is_http_header_value
from transports.options import parse_duration

MIN_SECRET_LENGTH = 32

_PLAIN_ADDRESS = re.compile(r"[!#-%(-;=?-~]+")  # what needs no escaping in an HTML attribute and in a header

Reader = Callable[[Env, str], Any]


def whole(least: int, most: int) -> Reader:
    """A whole number within these bounds."""
    return lambda env, name: env.int(name, validate=Range(least, most))


def choice(*names: str) -> Reader:
    """One of these words."""
    return lambda env, name: env.str(name, validate=OneOf(names))


def text(*checks: Callable[[str], None]) -> Reader:
    """Text that passes all `checks`."""
    return lambda env, name: env.str(name, validate=list(checks))


def listed(check: Callable[[list[str]], None]) -> Reader:
    """A list separated by commas, without empty entries and without blanks around the others."""

    def read(env: Env, name: str) -> tuple[str, ...]:
        entries: list[str] = env.list(name, validate=check)
        return tuple(part.strip() for part in entries if part.strip())

    return read


def _shown(seconds: int) -> str:
    return f"{seconds // 86_400} d" if seconds >= 86_400 else f"{seconds} s"


@dataclass(frozen=True, slots=True)
class duration:  # noqa: N801 - a reader like those that are functions
    """Whole seconds from `least` to `most`, given as `parse_duration` reads them: 30s, 5m, 2h, 1d or a bare number.

    Not environs' own durations: they would be a second spelling beside that of the transports' options.
    """

    least: int
    most: int

    def __call__(self, env: Env, name: str) -> int:
        """Read the variable `name`."""
        return int(parse_duration(env.str(name, validate=self._check)) or 0)

    def _check(self, raw: str) -> None:
        seconds = parse_duration(raw)
        if seconds is None or not self.least <= seconds <= self.most:
            raise ValidationError(f"Not a duration such as 15m, from {self.least} s to {_shown(self.most)}.")


def metrics(env: Env, name: str) -> str:
    """Where metrics are served: `true`, an address as HOST:PORT, or nowhere, which is the empty text."""

    def check(raw: str) -> None:
        if raw.lower() not in ("true", "false"):
            try:
                address_of(raw)
            except ValueError as error:
                raise ValidationError("Neither true nor false nor HOST:PORT.") from error

    raw: str = env.str(name, validate=check)
    return {"true": "true", "false": ""}.get(raw.lower(), raw)


def printable(raw: str) -> None:
    """A check: no control character."""
    if not raw.isprintable():
        raise ValidationError("Has a control character.")


def header_value(raw: str) -> None:
    """A check: ASCII that a header can hold."""
    if not is_http_header_value(raw):
        raise ValidationError("Not what a header can hold.")


def is_http_address(raw: str) -> bool:
    """Whether it is an http or https address as it stands: no query, no fragment and, since it is shown, no login."""
    try:
        parts = urlsplit(raw)
        reachable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a bracket that is not closed, a port that is none
        return False
    more = parts.query or parts.fragment or parts.username is not None
    return bool(reachable and _PLAIN_ADDRESS.fullmatch(raw) and not more)


def http_address(env: Env, name: str) -> str:
    """An http or https address (see `is_http_address`); an international host becomes its A-labels (RFC 5891)."""

    def check(raw: str) -> None:
        if not is_http_address(_in_ascii(raw)):
            raise ValidationError("Not an http or https address.")

    return _in_ascii(env.str(name, validate=check))


def _in_ascii(raw: str) -> str:
    """The address with its host in ASCII; as it is where that cannot be."""
    try:
        host = urlsplit(raw).netloc.rpartition("@")[2].partition(":")[0]
        return raw if host.isascii() else raw.replace(host, idna.encode(host, uts46=True).decode(), 1)
    except ValueError:  # what IDNA refuses, too
        return raw


def rate(raw: str) -> None:
    """A check: a rate like 10/minute; empty means none."""
    try:
        parse_many(raw or "1/second")
    except ValueError as error:
        raise ValidationError("Not a rate like 10/minute.") from error


def parsed(parse: Callable[[str], Any]) -> Reader:
    """What `parse` makes of the text. It raises ValueError, in words for people."""

    def read(env: Env, name: str) -> Any:
        return parse(env.str(name, validate=check))

    def check(raw: str) -> None:
        try:
            parse(raw)
        except ValueError as error:
            raise ValidationError(str(error)) from error

    return read


def database(raw: str) -> None:
    """A check: SQLAlchemy's form of a database URL."""
    try:
        make_url(raw)
    except (ArgumentError, ValueError) as error:
        raise ValidationError("Not a database URL.") from error


def broker(raw: str) -> None:
    """A check: the URL of RabbitMQ or of Redis."""
    try:
        parts = urlsplit(raw)
        known = parts.scheme in ("amqp", "amqps", "redis", "rediss") and parts.hostname and parts.port != 0
    except ValueError:  # a bracket that is not closed, a port that is none
        known = False
    if not known:
        raise ValidationError("Not amqp://…, amqps://…, redis://… or rediss://….")


def queue_name(raw: str) -> None:
    """A check: a queue's name that both brokers take as it is, and that is not one of RabbitMQ's own."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,200}", raw) or raw.startswith("amq."):
        raise ValidationError("Not 1 to 200 of the characters A-Z a-z 0-9 _ . -, or begins with amq.")


def senders(entries: list[str]) -> None:
    """A check: addresses and @domains."""
    for entry in map(str.strip, entries):
        if entry.count("@") != 1 or entry.endswith("@") or " " in entry:
            raise ValidationError("Each entry is an address or an @domain.")


def address(raw: str) -> None:
    """A check: it looks like one address. Whether it is one is seen when the service is built."""
    senders([raw])
    if raw.strip().startswith("@") or not raw.strip():
        raise ValidationError("Not an address.")


def addresses(entries: list[str]) -> None:
    """A check: at least one address or @domain, since with an empty list mail would go to everybody."""
    if not any(map(str.strip, entries)):
        raise ValidationError("Names no address and no @domain.")
    senders([entry for entry in entries if entry.strip()])


def proxies(entries: list[str]) -> None:
    """A check: addresses, networks, or `unix`."""
    for entry in filter(None, map(str.strip, entries)):
        try:
            _ = entry == "unix" or ip_network(entry)
        except ValueError as error:
            raise ValidationError("Each entry is an address, a network such as 10.0.0.0/8, or unix.") from error


def roles(entries: list[str]) -> None:
    """A check: no control character in any of them."""
    if not all(map(str.isprintable, entries)):
        raise ValidationError("Has a control character.")


def long_enough(keys: list[str]) -> None:
    """A check: every key has the least length."""
    if any(len(key.strip()) < MIN_SECRET_LENGTH for key in keys):
        raise ValidationError(f"Each key needs {MIN_SECRET_LENGTH} characters or more.")


def contents(env: Env, name: str) -> str:
    """The text of the UTF-8 file that the variable names."""

    def check(path: Path) -> None:
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ValidationError("Not a readable UTF-8 file.") from error
        if NUL in text:
            raise ValidationError("Has a NUL.")

    return env.path(name, validate=check).read_text("utf-8")
