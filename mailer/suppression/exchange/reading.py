"""Read such a list: a table or JSON, whose rows become entries. Pure.

A row that cannot be understood is an error that names it, so that nobody is overlooked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any

from mailer.errors import InvalidRow
from mailer.files import cells
from mailer.files.exports import bare
from mailer.files.headings import folded
from mailer.files.json_streams import read_json, read_lists
from mailer.files.tables import Headless, Table, read_table
from mailer.files.text_files import TextFile
from mailer.suppression.exchange.entries import WISHES, Entry, Why
from mailer.suppression.exchange.formats import ADDRESS, OURS, SINCE, WORDS, WRAPPERS, Format, format_of, reason_of
from mailer.suppression.list_files import lines_of

MAX_WORDS = 1000  # characters of them that are kept
SECONDS = 100_000_000_000  # a number below is in seconds since 1970, as services write it; one above in milliseconds

_NUMBER = re.compile(r"[0-9]{6,14}(\.[0-9]{1,9})?")
_UNKNOWN = "is none of a list that is known; say by `reason` why these addresses are not written to"

Row = Mapping[str, str]  # cells by folded heading, without empty ones
Rows = Iterator[tuple[int, frozenset[str], Row]]  # with the number of the row and all headings


def read_entries(file: TextFile, reason: Why | None = None) -> Iterator[Entry]:
    """The entries of a list. With `reason` every row has this one, whatever its columns say.

    Raises `InvalidRow` for a list of an unknown kind, and for a row without an address, a reason or a readable time.
    """
    kind: Format | None = None
    for row, headings, found in _rows(file):
        kind = None if reason else kind or format_of(headings)
        if kind is None and reason is None:
            raise InvalidRow(row, "heading", _UNKNOWN)
        why = reason or _why(row, kind, found)
        yield _entry(row, why, found, _provider(kind))


def _provider(kind: Format | None) -> str:
    return "" if kind is None or kind.name == OURS else kind.name


def _rows(file: TextFile) -> Rows:
    if file.peek().lstrip()[:1] in ("{", "["):
        yield from _objects(file)
        return
    table = read_table(lines_of(file), _columns)
    if isinstance(table, Headless):
        lines = ((row, cells.trimmed(line)) for row, line in table.lines)
        yield from ((row, frozenset(), {"address": bare(line)}) for row, line in lines if line)
    elif table is not None:
        yield from _records(table)


def _columns(headings: Sequence[str]) -> tuple[str | None, ...]:
    """Every heading as it is folded; a line of addresses is no heading."""
    return tuple(None if "@" in one else folded(one) or None for one in headings)


def _records(table: Table) -> Rows:
    headings = frozenset(name for name in table.columns if name)
    if not headings.intersection(ADDRESS):
        raise InvalidRow(table.row, "heading", f"has none of {', '.join(ADDRESS)}")
    for row, record in table.records:
        yield (
            row,
            headings,
            {name: bare(cell) for name, cell in zip(table.columns, record, strict=True) if name and cell},
        )


def _objects(file: TextFile) -> Rows:
    for row, value in read_lists(file, WRAPPERS) if file.peek().lstrip()[:1] == "{" else read_json(file):
        if not isinstance(value, dict):
            raise InvalidRow(row, "document", "must be an object")
        found = {folded(name): _text(given) for name, given in value.items()}
        yield row, frozenset(found), {name: text for name, text in found.items() if text}


def _text(given: object) -> str:
    if isinstance(given, list):
        return ", ".join(map(str, given))
    return "" if given is None or isinstance(given, dict) else str(given)


def _why(row: int, kind: Format | None, found: Row) -> Why:
    """What the list, or else this row of it, says."""
    if kind is not None and kind.why is not None:
        return kind.why
    stated = found.get(kind.stated, "") if kind is not None else ""
    why = reason_of(stated, found.get("origin", ""))
    if why is None:
        raise InvalidRow(row, "reason", "is none that is known" if stated else "is missing")
    return why


def _entry(row: int, why: Why, found: Row, provider: str) -> Entry:
    address, user_id = _address(row, found), found.get("id")
    if address is None and (user_id is None or why not in WISHES):
        raise InvalidRow(row, "address", "is missing")
    about: dict[str, Any] = {"words": _words(why, found), "rule": found.get("rule") or _code(found)}
    about["provider"] = provider
    return Entry(why, address, user_id, _since(row, found), **about, campaigns=_count(row, found), by=found.get("by"))


def _address(row: int, found: Row) -> str | None:
    text = next((found[name] for name in ADDRESS if name in found), None)
    if text is None:
        return None
    try:
        named = cells.addresses_in(text)
    except ValueError as error:
        raise InvalidRow(row, "address", str(error)) from None
    if len(named) != 1:
        raise InvalidRow(row, "address", "is more than one address")
    return named[0]


def _words(why: Why, found: Row) -> str:
    """What was said; a reason that only names the kind says nothing more."""
    said = next((found[name] for name in WORDS if name in found), "")
    return "" if reason_of(said) is not None or why in WISHES else cells.trimmed(said)[:MAX_WORDS]


def _code(found: Row) -> str:
    return next((found[name] for name in ("status", "code") if name in found), "")[:40]


def _count(row: int, found: Row) -> int:
    text = found.get("campaigns", "0")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidRow(row, "campaigns", "is no number")
    return int(text)


def _since(row: int, found: Row) -> int | None:
    name = next((one for one in SINCE if one in found), None)
    if name is None:
        return None
    text = cells.trimmed(found[name])
    try:
        return _moment(text)
    except (ValueError, TypeError, OverflowError):
        raise InvalidRow(
            row, "since", "is no time: 2015-01-01T00:00:00Z, or seconds or milliseconds since 1970"
        ) from None


def _moment(text: str) -> int:
    """A time in ms since 1970, as services write it: ISO 8601, RFC 5322, or a number. Raises `ValueError`."""
    if _NUMBER.fullmatch(text):
        number = float(text)
        return int(number * 1000) if number < SECONDS else int(number)
    try:
        return cells.moment(text.removesuffix(" UTC"))
    except ValueError:
        return int(parsedate_to_datetime(text).timestamp() * 1000)
