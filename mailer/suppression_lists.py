"""Suppression lists as files: read from wherever they come, written so that they can be read again. Pure."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Protocol, TextIO

from mailer.addresses import envelope_address
from mailer.errors import InvalidRow
from mailer.text_files import TextFile

MAX_LINE = 1 << 16  # characters
ID_COLUMNS, ADDRESS_COLUMNS = ("_id", "userId", "user_id"), ("address", "email")
FORMULA = ("=", "+", "-", "@")  # a cell that starts so is run by spreadsheets; a ' before it keeps it text

Numbered = Iterator[tuple[int, str]]
Cells = Iterator[tuple[int, dict[str, Any]]]


class Listed(Protocol):
    """What stands in a list: a row's columns and its cells, None for an empty one."""

    COLUMNS: ClassVar[tuple[str, ...]]

    def cells(self) -> tuple[str | int | None, ...]:
        """In the order of the columns."""


@dataclass(frozen=True, slots=True)
class Suppressed:
    """One who has unsubscribed; `unsubscribed_at` in ms since 1970. Without `user_id`: whoever comes to the address."""

    COLUMNS: ClassVar[tuple[str, ...]] = ("_id", "address", "unsubscribedAt")
    user_id: str | None
    address: str | None
    unsubscribed_at: int

    def cells(self) -> tuple[str | int | None, ...]:
        """As the columns have it, times in ISO 8601."""
        return self.user_id, self.address, iso(self.unsubscribed_at)


@dataclass(frozen=True, slots=True)
class SuppressedAddress:
    """An address that is not written to since `suppressed_at` (ms), because so many campaigns had it refused.

    `reply` is the last refusal's own words, `users` how many of the directory have the address.
    """

    COLUMNS: ClassVar[tuple[str, ...]] = ("address", "suppressedAt", "campaigns", "reply", "users")
    address: str
    suppressed_at: int
    campaigns: int
    reply: str
    users: int

    def cells(self) -> tuple[str | int | None, ...]:
        """As the columns have it, times in ISO 8601."""
        return self.address, iso(self.suppressed_at), self.campaigns, self.reply, self.users


@dataclass(frozen=True, slots=True)
class Entry:
    """One of a list: a user's id, an address in its envelope form, or both; when they unsubscribed (ms), if it says."""

    user_id: str | None
    address: str | None
    unsubscribed_at: int | None = None


def read_entries(file: TextIO | TextFile) -> Iterator[Entry]:
    """The rows of a list: CSV whose heading has an id or an address column, NDJSON with such fields, or bare addresses.

    Raises `InvalidRow` for a row that names no id and no valid address.
    """
    lines = _lines(file)
    first = next(lines, None)
    while first is not None and not first[1].strip():
        first = next(lines, None)
    if first is None:
        return
    read = _read_ndjson if first[1].lstrip().startswith("{") else _read_csv
    for row, cells in read(_chain(first, lines)):
        yield _entry(row, cells)


def write_csv(listed: Iterable[Listed], kind: type[Listed] = Suppressed) -> Iterator[str]:
    """Lines of RFC 4180 under the heading of `kind`; times are ISO 8601 in UTC. A formula gets a `'` before it."""
    yield _csv_line(kind.COLUMNS)
    for one in listed:
        cells = ["" if cell is None else str(cell) for cell in one.cells()]
        yield _csv_line([f"'{cell}" if cell.startswith(FORMULA) else cell for cell in cells])


def write_ndjson(listed: Iterable[Listed], kind: type[Listed] = Suppressed) -> Iterator[str]:
    """A JSON object a line, with the columns of the CSV."""
    for one in listed:
        yield json.dumps(dict(zip(kind.COLUMNS, one.cells(), strict=True))) + "\n"


def iso(milliseconds: int) -> str:
    """2015-01-01T00:00:00.000Z."""
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"


def _lines(file: TextIO | TextFile) -> Numbered:
    row = 0
    while line := file.readline(MAX_LINE + 1):
        row += 1
        if len(line) > MAX_LINE:
            raise InvalidRow(row, "line", f"is longer than {MAX_LINE:,} characters")
        yield row, line.removeprefix("\ufeff") if row == 1 else line


def _chain(first: tuple[int, str], rest: Numbered) -> Numbered:
    yield first
    yield from rest


def _read_ndjson(lines: Numbered) -> Cells:
    for row, line in lines:
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InvalidRow(row, "line", "is no JSON") from error
        if not isinstance(value, dict):
            raise InvalidRow(row, "line", "must be an object")
        yield row, value


def _read_csv(lines: Numbered) -> Cells:
    """One line a row: neither an id nor an address holds a line break."""
    row, line = next(lines)
    heading = _split(row, line)
    if not {*heading} & {*ID_COLUMNS, *ADDRESS_COLUMNS}:
        if "@" not in line:
            raise InvalidRow(row, "heading", f"has none of {', '.join((*ID_COLUMNS, *ADDRESS_COLUMNS))}")
        yield row, {"address": heading[0]}
        heading = ["address"]
    for row, line in lines:
        if cells := _split(row, line):
            yield row, dict(zip(heading, cells, strict=False))


def _split(row: int, line: str) -> list[str]:
    try:
        cells = next(csv.reader([line], strict=True), [])
    except csv.Error as error:
        raise InvalidRow(row, "line", f"is no CSV: {error}") from error
    cells = [cell.strip() for cell in cells]
    return (
        [cell[1:] if cell[:1] == "'" and cell[1:].startswith(FORMULA) else cell for cell in cells] if any(cells) else []
    )


def _entry(row: int, cells: dict[str, Any]) -> Entry:
    user_id = next((cells[name] for name in ID_COLUMNS if cells.get(name)), None)
    given = next((cells[name] for name in ADDRESS_COLUMNS if cells.get(name)), None)
    address = envelope_address(given) if isinstance(given, str) else None
    if user_id is None and address is None:
        raise InvalidRow(row, "address", "is no valid address, and there is no id")
    if user_id is not None and (not isinstance(user_id, str) or not user_id.isprintable()):
        raise InvalidRow(row, "_id", "is no id")
    return Entry(user_id, address)


def _csv_line(cells: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()
