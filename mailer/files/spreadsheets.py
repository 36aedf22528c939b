"""CSV that spreadsheets open: a cell that they would run as a formula is made text, and read back as it was. Pure."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable

# what spreadsheets and people pass over at the beginning of a cell: blanks of every kind, controls, zero-width marks
_BLANK = (
    r"\s\x00-\x20\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202f\u2060-\u206f\u2800\u3164\ufeff"
)
_FORMULA = re.compile(rf"'*[{_BLANK}]*[=+\-@＝＋－＠]|'*[\t\r\n]")


def neutral(cell: str) -> str:
    """`cell` with a `'` before it if a spreadsheet would run it: in a cell that begins so it shows what follows."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def bare(cell: str) -> str:
    """What `neutral` was given."""
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell, 1) else cell


def csv_line(cells: Iterable[str], *, raw: bool = False) -> str:
    """A line of RFC 4180. `raw`: for programs, with every cell as it is."""
    line = io.StringIO()
    csv.writer(line).writerow(cells if raw else map(neutral, cells))
    return line.getvalue()
