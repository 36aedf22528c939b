"""Checksums by which the rows of a table are compared on two databases of different kinds.

The checksum of a row is made from all its values but JSON documents, which PostgreSQL writes in its own way; it has
read each of them as JSON when it took it. The sum of a table does not depend on the order of its rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import JSON, Boolean, Column, Table

SEPARATOR = "\x1f"
NULL = "\\N"


class Sum(NamedTuple):
    """How many rows a table has, and the sum of their checksums."""

    rows: int
    checksum: int


class Summing:
    """Adds up the rows of `table` that pass through `passing`, as they are stored in SQLite."""

    def __init__(self, table: Table) -> None:
        self._json = [is_document(column) for column in table.columns]
        self._rows = 0
        self._checksum = 0

    def passing(self, rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        """The rows themselves, each added up as it passes."""
        for row in rows:
            self._rows += 1
            self._checksum += _checksum(row, self._json)
            yield row

    def sum(self) -> Sum:
        """The sum of all that has passed."""
        return Sum(self._rows, self._checksum)


def sum_of_rows(rows: Iterable[tuple[Any, ...]]) -> Sum:
    """The sum of rows of SQLite whose columns nobody need know: JSON counts as the text that it is there."""
    count = checksum = 0
    for row in rows:
        count += 1
        checksum += _checksum(row, [False] * len(row))
    return Sum(count, checksum)


def is_document(column: Column[Any]) -> bool:
    """Whether the column holds JSON."""
    return isinstance(column.type, JSON)


def text_of(column: Column[Any]) -> str:
    """The SQL by which PostgreSQL writes a value as `_written` does."""
    name = f'"{column.name}"'
    if is_document(column):
        return f"CASE WHEN {name} IS NULL THEN '{NULL}' ELSE '' END"
    if isinstance(column.type, Boolean):
        name = f"{name}::integer"
    return f"coalesce({name}::text, '{NULL}')"


def _checksum(row: Sequence[Any], documents: Sequence[bool]) -> int:
    written = SEPARATOR.join(map(_written, row, documents))
    return int(hashlib.md5(written.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()[:12], 16)


def _written(value: Any, document: bool) -> str:
    if value is None:
        return NULL
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"  # as PostgreSQL writes octets
    return "" if document else str(value)
