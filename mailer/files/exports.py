"""Rows written as files: CSV for spreadsheets and people, NDJSON for programs. Pure.

Spreadsheets run a cell that begins like a formula, whoever wrote it. In CSV such a cell is made text, and read back as
it was.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence

from mailer.text import INVISIBLE_CLASS

FORMATS = ("csv", "ndjson")

Cell = str | int | None

_FORMULA = re.compile(rf"'*{INVISIBLE_CLASS}*[=+\-@＝＋－＠]|'*[\t\r\n]")


def write_rows(
    form: str, columns: Sequence[str], rows: Iterable[Sequence[Cell]], *, raw: bool = False
) -> Iterator[str]:
    """The lines of a file in the format `form`, one of `FORMATS`; `raw` is for CSV only."""
    return write_ndjson(columns, rows) if form == "ndjson" else write_csv(columns, rows, raw=raw)


def write_csv(columns: Sequence[str], rows: Iterable[Sequence[Cell]], *, raw: bool = False) -> Iterator[str]:
    """Lines of RFC 4180 under a heading; None is an empty cell, and a boolean is `true` or `false`, as in JSON.

    A formula gets a `'` before it, unless the file is `raw`: for programs, with every cell as it is.
    """
    yield _csv_line(columns, raw=raw)
    for row in rows:
        yield _csv_line(map(_text, row), raw=raw)


def write_ndjson(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Iterator[str]:
    """A JSON object on each line, with the columns as its fields; None is null. Nobody takes it for a formula."""
    for row in rows:
        yield json.dumps(dict(zip(columns, row, strict=True))) + "\n"


def neutral(cell: str) -> str:
    """`cell` with a `'` before it if a spreadsheet would run it. A spreadsheet does not show that `'`."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def bare(cell: str) -> str:
    """The cell that `neutral` was given, from what it returned."""
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell, 1) else cell


def _text(cell: Cell) -> str:
    if cell is None:
        return ""
    return str(cell).lower() if isinstance(cell, bool) else str(cell)


def _csv_line(cells: Iterable[str], *, raw: bool) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells if raw else map(neutral, cells))
    return line.getvalue()
