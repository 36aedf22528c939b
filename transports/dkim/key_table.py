"""Which keys there are: the one that the URL's options name, or those of a table in a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time
from math import inf
from pathlib import Path
from typing import Any

from transports.base import TransportConfigError
from transports.dkim.key_files import LONGEST_NAME, dns_name, read_key
from transports.dkim.keys import KeyRing, SigningKey
from transports.options import Options

ONE_KEY = ("key_file", "selector", "domain")
OPTIONS = (*ONE_KEY, "keys", "expires", "without_key")  # of the transport's URL, all of them
FIELDS = ("domain", "selector", "file")
DATES = ("not_before", "until")
KNOWN = (*FIELDS, *DATES)


def keys_from(options: Options) -> KeyRing:
    """Read what `keys=`, or else `key_file=`, `selector=` and `domain=` name. Raises `TransportConfigError`."""
    table, one = options.text("keys"), [options.text(name) for name in ONE_KEY]
    if table and any(one):
        raise TransportConfigError("dkim: keys names a table; key_file, selector and domain have no place beside it")
    if table:
        return KeyRing(read_table(Path(table)))
    missing = [name for name, value in zip(ONE_KEY, one, strict=True) if not value]
    if missing:
        raise TransportConfigError(f"dkim: {', '.join(missing)} missing; give key_file, selector and domain, or keys")
    path, selector, domain = one
    return KeyRing([_key(domain, selector, path)])


def sends_unsigned(options: Options) -> bool:
    """Whether a message is sent as it is where there is no key for its author. Raises `TransportConfigError`."""
    return options.choice("without_key", ("refuse", "send"), "refuse") == "send"


def read_table(path: Path) -> tuple[SigningKey, ...]:
    """The keys of a table: `[[key]]` with `domain`, `selector`, `file`, and perhaps `not_before` and `until`.

    A `file` is found from the table's folder. A date without a time is its midnight, and what has no zone is UTC.
    Raises `TransportConfigError`, which names the table and the number of the key in it.
    """
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise TransportConfigError(f"dkim: keys {path}: {error.strerror}") from error
    except ValueError as error:  # no UTF-8, or no TOML
        raise TransportConfigError(f"dkim: keys {path}: not a TOML file: {error}") from error
    entries = content.pop("key", None)
    if content or not isinstance(entries, list) or not entries:
        raise TransportConfigError(f"dkim: keys {path}: expected one [[key]] or more, and nothing else")
    keys = tuple(_entry(path, number, entry) for number, entry in enumerate(entries, start=1))
    _refuse_doubles(path, keys)
    return keys


def _entry(path: Path, number: int, entry: object) -> SigningKey:
    try:
        if not isinstance(entry, dict):
            raise TransportConfigError("not a table")
        if problem := next(_problems(entry), ""):
            raise TransportConfigError(problem)
        not_before, until = (_moment(name, entry.get(name)) for name in DATES)
        begins, ends = -inf if not_before is None else not_before, inf if until is None else until
        if begins >= ends:
            raise TransportConfigError("until is not after not_before")
        return _key(entry["domain"], entry["selector"], str(path.parent / entry["file"]), begins, ends)
    except TransportConfigError as error:
        said = str(error).removeprefix("dkim: ")
        raise TransportConfigError(f"dkim: keys {path}: key {number}: {said}") from error


def _problems(entry: Mapping[str, Any]) -> Iterator[str]:
    for name in entry:
        if name not in KNOWN:
            yield f"unknown field {name!r}; known fields: {', '.join(KNOWN)}"
    for name in FIELDS:
        if not isinstance(entry.get(name), str) or not entry[name]:
            yield f"{name} missing, or not a text"


def _moment(name: str, value: object) -> float | None:
    """Seconds since 1970; None where nothing is said."""
    if value is None:
        return None
    if not isinstance(value, date):  # of which a datetime is one
        raise TransportConfigError(f"{name} is no date such as 2027-01-31, or 2027-01-31T06:00:00Z; it has no quotes")
    moment = value if isinstance(value, datetime) else datetime.combine(value, time())
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _key(domain: str, selector: str, path: str, not_before: float = -inf, until: float = inf) -> SigningKey:
    where, name = dns_name("domain", domain, 2), dns_name("selector", selector, 1)
    key = SigningKey(where, name, read_key(path), not_before, until)
    if len(key.name) > LONGEST_NAME:
        raise TransportConfigError(f"dkim: {key.name} is longer than the {LONGEST_NAME} characters of a DNS name")
    return key


def _refuse_doubles(path: Path, keys: tuple[SigningKey, ...]) -> None:
    names = [key.name for key in keys]
    for name in names:
        if names.count(name) > 1:
            raise TransportConfigError(
                f"dkim: keys {path}: {name} stands there twice; each key has a selector of its own"
            )
