"""Tables with a heading, as people have them: `,`, `;`, tab or `|` between the cells, or what `sep=` says.

The heading decides on the separator: the one that gives it most known columns, or else most columns. Rows are numbered
as a spreadsheet shows them: a line `sep=` is not counted, a line end within quotes begins no new row, and blank rows
are counted and skipped.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Protocol

from mailer.errors import InvalidRow
from mailer.files.cells import trimmed
from mailer.files.headings import columns_of

SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}

_sep = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE | re.DOTALL).fullmatch

ColumnsOf = Callable[[Sequence[str]], tuple[str | None, ...]]
Numbered = Iterator[tuple[int, str]]
Records = Iterator[tuple[int, list[str]]]


class Reader(Protocol):
    """What `csv.reader` gives."""

    line_num: int

    def __iter__(self) -> Iterator[list[str]]:
        """The records."""

    def __next__(self) -> list[str]:
        """The next one."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its heading as it stands, the columns that this means (None: unknown), and the cells of each row."""

    separator: str
    heading: tuple[str, ...]
    columns: tuple[str | None, ...]
    row: int  # the heading's
    lines: int  # of the heading
    records: Records

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed in reading it, a sentence each; nothing for a table with commas."""
        if self.separator == ",":
            return ()
        return (f"cells are separated by {SEPARATORS.get(self.separator, repr(self.separator))}",)


@dataclass(frozen=True, slots=True)
class Headless:
    """Lines without a known heading. `first` is the first of them; `lines` are all of them with their numbers."""

    first: str
    row: int
    lines: Numbered


def read_table(lines: Iterable[str], columns_of: ColumnsOf = columns_of) -> Table | Headless | None:
    """The table in `lines`; None: there is nothing. `columns_of` tells the columns by their headings.

    Raises `InvalidRow` where the lines are no table. Which columns must be there is the caller's to check.
    """
    source = _Lines(lines)
    separators = list(SEPARATORS)
    declared = _sep(source.text)
    if declared:
        separators = [declared[1]]
        source.begin_anew()
    if not source.text:
        return None
    tried = [table for table in (_table(source, separator, columns_of) for separator in separators) if table]
    best = max(tried, key=lambda table: (_known(table), len(table.heading)), default=None)
    if best is None or (not _known(best) and not declared):
        return Headless(source.text, source.row, source.numbered())
    return replace(best, records=_records(source, best))


class _Lines:
    """Lines that can be read again from the first one that is not blank."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._rest = iter(lines)
        self._seen: list[str] = []
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget the first line, if there is one: the next one that is not blank is the first."""
        with_text = ((row, line) for row, line in enumerate(self._rest, 1) if trimmed(line))
        self.row, self.text = next(with_text, (1, ""))
        self._seen = [self.text] if self.text else []

    def again(self) -> Iterator[str]:
        """The lines from the first one on; this can be called again."""
        yield from self._seen
        for line in self._rest:
            self._seen.append(line)
            yield line

    def after(self, passed: int) -> Iterator[str]:
        """The lines after the first `passed` ones; the last call on this object."""
        return chain(self._seen[passed:], self._rest)

    def numbered(self) -> Numbered:
        """All lines with their numbers; the last call on this object."""
        return enumerate(self.after(0), self.row)


def _known(table: Table) -> int:
    return sum(column is not None for column in table.columns)


def _reader(lines: Iterator[str], separator: str) -> Reader:
    return csv.reader(lines, delimiter=separator, skipinitialspace=separator != "\t", strict=True)


def _table(source: _Lines, separator: str, columns_of: ColumnsOf) -> Table | None:
    """The heading as it is with this separator; None: it is no CSV then."""
    reader = _reader(source.again(), separator)
    try:
        heading = tuple(trimmed(cell) for cell in next(reader))
    except csv.Error:
        return None
    return Table(separator, heading, columns_of(heading), source.row, reader.line_num, iter(()))


def _records(source: _Lines, table: Table) -> Records:
    reader = _reader(source.after(table.lines), table.separator)
    width, row = len(table.heading), table.row
    try:
        for row, raw in enumerate(reader, table.row + 1):
            cells = [trimmed(cell) for cell in raw]
            if any(cells):
                yield row, _fitted(row, cells, width)
    except csv.Error as error:
        raise InvalidRow(row + 1, "document", f"is no CSV: {_explained(error)}") from None


def _fitted(row: int, cells: list[str], width: int) -> list[str]:
    """As many cells as there are headings; spreadsheets add blank ones at the end."""
    while len(cells) > width and not cells[-1]:
        cells.pop()
    if len(cells) != width:
        raise InvalidRow(row, "document", f"has {len(cells)} cells under {width} headings")
    return cells


def _explained(error: csv.Error) -> str:
    problem = str(error)
    if "field larger" in problem or "end of data" in problem:
        return "a quote in it does not end"
    return "there is something after a quoted cell" if "expected after" in problem else problem
