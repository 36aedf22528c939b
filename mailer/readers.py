"""Files of user documents, read one by one in flat memory: a JSON array, NDJSON or CSV.

Each reader yields `(row, document)`. The row is what a person looks for in the file: the element of a JSON array
(from 1), the line of NDJSON, the row a spreadsheet shows for CSV (the heading is row 1). Nothing is checked here but
that the file can be read as what it is; anything else is an `InvalidRow` of the field `document`.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from io import BufferedReader, TextIOWrapper
from json import JSONDecodeError
from pathlib import PurePath
from typing import Any, TextIO

from mailer.errors import InvalidRow
from mailer.text_files import TextFile

MAX_DOCUMENT = 1 << 20  # characters
CHUNK = 1 << 16
CELLS = ("_id", "username", "name", "email", "active", "type", "roles", "createdAt", "lastLogin", "status", "language")
CUSTOM = "customFields."
BOOLEANS = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}

_blank = re.compile(r"[ \t\r\n]*")
_separator = re.compile(r"[ \t\r\n]*([,\]])[ \t\r\n]*")
_decoder = json.JSONDecoder()

Documents = Iterator[tuple[int, object]]


def read_documents(file: BufferedReader, name: str) -> Documents:
    """Read `file` by the suffix of `name`, or else by what it begins with; `.json` may be an array or NDJSON."""
    start = file.peek()
    # what is not UTF-8 becomes lone surrogates, which are refused later with the field they are in
    text = TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield from _reader(PurePath(name).suffix.lower(), start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1])(text)
    finally:
        if not file.closed:
            text.detach()  # the file is the caller's to close


def _reader(suffix: str, first: bytes) -> Callable[[TextIO], Documents]:
    if suffix == ".csv":
        return read_csv
    if suffix in {".ndjson", ".jsonl"} or (first == b"{"):
        return read_ndjson
    return read_array if suffix == ".json" or first == b"[" else read_csv


def read_ndjson(file: TextIO | TextFile) -> Documents:
    """One JSON document on each line; blank lines are passed over."""
    row = 0
    while line := file.readline(MAX_DOCUMENT + 1):
        row += 1
        if len(line) > MAX_DOCUMENT:
            raise _unreadable(row, f"is longer than {MAX_DOCUMENT:,} characters")
        if line.isspace():
            continue
        document, end = _decode(line, _skip(line, 0), row)
        if not line[end:].isspace() and end < len(line):
            raise _unreadable(row, f"has something after the document, at character {end + 1}")
        yield row, document


def read_array(file: TextIO) -> Documents:
    """The elements of one JSON array. `ijson` is not up to it: deep nesting costs it memory without bound."""
    buffer = _Buffer(file)
    if not buffer.fill() or buffer.take_blank() != "[":
        raise _unreadable(1, "the file is no JSON array")
    row, mark = 0, ","
    if buffer.peek() == "]":
        mark = buffer.take_separator(1)
    while mark == ",":
        row += 1
        yield row, buffer.take_document(row)
        mark = buffer.take_separator(row)
    if buffer.peek():
        raise _unreadable(row, "has something after the end of the array")


class _Buffer:
    """A window on a text file that moves forward over whole documents."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._text = ""
        self._at = 0

    def fill(self) -> bool:
        """Read on; False at the end of the file."""
        more = self._file.read(CHUNK)
        self._text = self._text[self._at :] + more
        self._at = 0
        return bool(more)

    def peek(self) -> str:
        """The next character that is not blank, which stays; "" at the end."""
        while True:
            self._at = _skip(self._text, self._at)
            if self._at < len(self._text) or not self.fill():
                return self._text[self._at : self._at + 1]

    def take_blank(self) -> str:
        """The next character that is not blank, which is passed."""
        character = self.peek()
        self._at += len(character)
        return character

    def take_separator(self, row: int) -> str:
        """The comma or bracket after a document."""
        found = _separator.match(self._text, self._at)
        if found:
            self._at = found.end()
            return found[1]
        character = self.take_blank()
        if character not in {",", "]"}:
            raise _unreadable(row, "has neither a comma nor the end of the array after it")
        return character

    def take_document(self, row: int) -> object:
        """The next document, read as far as it takes."""
        if self.peek() != "{":
            raise _unreadable(row, "must be an object")
        while True:
            try:
                document, self._at = _decode(self._text, self._at, row)
                return document
            except InvalidRow:  # broken, or only cut off by the end of the window
                if not self.fill():
                    raise
                if len(self._text) > MAX_DOCUMENT + CHUNK:
                    raise _unreadable(row, f"is no JSON or is longer than {MAX_DOCUMENT:,} characters") from None


def _skip(text: str, at: int) -> int:
    found = _blank.match(text, at)
    return found.end() if found else at


def _decode(text: str, at: int, row: int) -> tuple[object, int]:
    try:
        return _decoder.raw_decode(text, at)
    except JSONDecodeError as error:
        raise _unreadable(row, f"is no JSON: {error.msg}") from None
    except RecursionError:
        raise _unreadable(row, "is nested too deeply") from None
    except ValueError:  # an integer of more digits than Python reads
        raise _unreadable(row, "has a number that is too long") from None


def read_csv(file: TextIO) -> Documents:
    """A table with a heading: the columns of `CELLS` and `customFields.…`; roles are separated by semicolons."""
    rows = _records(csv.reader(file, strict=True))
    _, heading = next(rows, (1, []))
    _check_heading(heading)
    for row, cells in rows:
        if not cells:
            continue
        if len(cells) != len(heading):
            raise _unreadable(row, f"has {len(cells)} cells under {len(heading)} headings")
        yield row, _from_cells(row, dict(zip(heading, cells, strict=True)))


def _records(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    row = 0
    try:
        for row, cells in enumerate(reader, 1):
            yield row, cells
    except csv.Error as error:
        raise _unreadable(row + 1, f"is no CSV: {error}") from None


def _check_heading(heading: list[str]) -> None:
    for column in heading:
        if heading.count(column) > 1:
            raise InvalidRow(1, column, "stands twice in the heading")
        if column not in CELLS and not (column.startswith(CUSTOM) and column != CUSTOM):
            raise InvalidRow(1, column, f"is no column; known are {', '.join(CELLS)} and {CUSTOM}…")
    if "_id" not in heading:
        raise InvalidRow(1, "_id", "is missing from the heading")


def _from_cells(row: int, cells: dict[str, str]) -> dict[str, object]:
    """The document of one row; an empty cell is an absent field."""
    document: dict[str, Any] = {}
    for column, cell in cells.items():
        if not cell:
            continue
        if column.startswith(CUSTOM):
            document.setdefault("customFields", {})[column.removeprefix(CUSTOM)] = cell
        elif column == "email":
            document["emails"] = [{"address": cell}]
        else:
            document[column] = _cell(row, column, cell)
    return document


def _cell(row: int, column: str, cell: str) -> object:
    if column == "roles":
        return [role for part in cell.split(";") if (role := part.strip())]
    if column == "active":
        if cell.strip().lower() not in BOOLEANS:
            raise InvalidRow(row, column, "must be true or false")
        return BOOLEANS[cell.strip().lower()]
    if column in {"createdAt", "lastLogin"} and re.fullmatch(r"-?[0-9]{9,18}", cell):
        return int(cell)
    return cell


def _unreadable(row: int, problem: str) -> InvalidRow:
    return InvalidRow(row, "document", problem)
