"""Users from a table: which field of a user document each column is, and what its cells mean there. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mailer.directory.changes import TableRow
from mailer.errors import InvalidRow
from mailer.files import cells
from mailer.files.headings import CUSTOM, FIRST, LAST
from mailer.files.tables import Headless, Table, read_table
from mailer.files.text_files import TextFile

TEXTS = ("_id", "username", "name", "type", "status", "language")
COLUMNS = (*TEXTS, "email", "active", "roles", "createdAt", "lastLogin")
KNOWN = f"known are {', '.join(COLUMNS)}, {FIRST}, {LAST} and {CUSTOM}…"
IDENTIFYING = ("_id", "username", "email")  # one of them says whose row it is
NO_ID_NOTE = "no column _id: users are found by username, else by address; who is new gets an id made from the address"

_CELLS: dict[str, Callable[[str], Any]] = {
    "active": cells.boolean,
    "roles": cells.roles,
    **dict.fromkeys(("createdAt", "lastLogin"), lambda cell: {"$date": cells.moment(cell)}),
}


@dataclass(frozen=True, slots=True)
class TableOptions:
    """How to read a table: whether an empty cell clears its field, and whether unknown columns are left out."""

    empty_clears: bool = False
    ignore_unknown: bool = False


class UserTable:
    """The rows of a table of users. Raises `InvalidRow` where it cannot be read as one."""

    def __init__(self, file: TextFile, options: TableOptions) -> None:
        table = read_table(file)
        if table is None:
            raise InvalidRow(1, "heading", "is missing: the file is empty")
        if isinstance(table, Headless):
            raise InvalidRow(table.row, "heading", f"none of {_shown(table.first)} is a column; {KNOWN}")
        self._table = table
        self._options = options
        self._columns = _columns(table, options)
        self._blank = [
            place for place, heading in enumerate(table.heading) if not heading and not options.ignore_unknown
        ]

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed, a sentence each."""
        headings = enumerate(self._table.heading)
        left_out = [heading for place, heading in headings if heading and place not in self._columns]
        notes = [*self._table.notes]
        if left_out:
            notes.append(f"columns left out: {', '.join(left_out)}")
        if "_id" not in self._columns.values():
            notes.append(NO_ID_NOTE)
        return tuple(notes)

    def __iter__(self) -> Iterator[tuple[int, TableRow]]:
        """The number of each row and what it says."""
        for row, record in self._table.records:
            for place in self._blank:
                if record[place]:
                    raise InvalidRow(row, "heading", f"is missing over the cell {_shown(record[place])}")
            yield row, self._row(row, {column: record[place] for place, column in self._columns.items()})

    def _row(self, row: int, record: Mapping[str, str]) -> TableRow:
        fields: dict[str, Any] = {}
        addresses: list[str] | None = None
        for column, cell in _with_name(record).items():
            if column == "email":
                addresses = _addresses(cell) if cell or self._options.empty_clears else None
            elif cell or column == "_id":
                _put(fields, column, _cell(row, column, cell))
            elif self._options.empty_clears and column != "active":
                _put(fields, column, None)
        return TableRow(fields, addresses)


def _columns(table: Table, options: TableOptions) -> dict[int, str]:
    """The columns by their places.

    Raises `InvalidRow` for one that is unknown or there twice, and if no column says which user a row is about.
    """
    columns: dict[int, str] = {}
    for place, (heading, column) in enumerate(zip(table.heading, table.columns, strict=True)):
        if column in columns.values():
            raise InvalidRow(table.row, heading, f"stands twice in the heading, as the column {column}")
        if column and (column in {*COLUMNS, FIRST, LAST} or column.startswith(CUSTOM)):
            columns[place] = column
        elif heading and not options.ignore_unknown:
            raise InvalidRow(table.row, heading, f"is no column of users; {KNOWN}")
    if not set(IDENTIFYING) & set(columns.values()):
        raise InvalidRow(table.row, "_id", f"is missing from the heading, and so are {' and '.join(IDENTIFYING[1:])}")
    _check_paths(table.row, [column for column in columns.values() if column.startswith(CUSTOM)])
    return columns


def _check_paths(row: int, columns: list[str]) -> None:
    for column in columns:
        if not all(column.split(".")):
            raise InvalidRow(row, column, "has an empty name in it")
        if any(other.startswith(f"{column}.") for other in columns):
            raise InvalidRow(row, column, "cannot have a value beside the columns below it")


def _with_name(record: Mapping[str, str]) -> dict[str, str]:
    """`record` with its first and last name as one, unless there is a whole one."""
    parts = [record[column] for column in (FIRST, LAST) if record.get(column)]
    rest = {column: cell for column, cell in record.items() if column not in {FIRST, LAST}}
    return rest if len(rest) == len(record) else {**rest, "name": rest.get("name") or " ".join(parts)}


def _cell(row: int, column: str, cell: str) -> object:
    try:
        return _CELLS[column](cell) if column in _CELLS else cell
    except ValueError as error:
        raise InvalidRow(row, column, str(error)) from None


def _addresses(cell: str) -> list[str]:
    """The addresses in a cell. If something in it is none, the whole cell is one, and the check finds it invalid."""
    try:
        return cells.addresses_in(cell)
    except ValueError:
        return [cells.plain_address(cell)]


def _put(fields: dict[str, Any], column: str, value: object) -> None:
    *path, last = column.split(".") if column.startswith(CUSTOM) else [column]
    for name in path:
        fields = fields.setdefault(name, {})
    fields[last] = value


def _shown(text: str) -> str:
    text = cells.trimmed(text)
    return repr(text if len(text) <= 60 else f"{text[:60]}…")
