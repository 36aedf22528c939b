"""Tables of data as rows of text, and which tables those are; the others only arrange a page."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from justhtml import Element

from mailer.messages.text_part.tree import attribute
from mailer.messages.text_part.visible import Close, Event, Open

_MAX_WIDTH = 100  # columns of text; a wider table is not aligned
_MAX_COLUMNS = 64  # that are aligned
_BETWEEN = "  "
_ARRANGING = ("width", "cellpadding", "cellspacing", "height", "background", "bgcolor")
_BLOCKS = frozenset(
    ("div", "p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "img", "center", "blockquote", "form", "hr")
)


@dataclass(slots=True)
class _Seen:
    place: int
    element: Element
    is_data: bool = False
    is_layout: bool = False
    columns: int = 0
    most_columns: int = 0


def data_tables(events: Sequence[Event]) -> frozenset[int]:
    """Give the places where a table of data opens, as opposed to one for layout.

    A table of data has several columns, no table inside it, and no attributes or contents that point to a layout.
    """
    found: list[int] = []
    open_: list[_Seen] = []
    for place, event in enumerate(events):
        name = event.element.name if isinstance(event, Open | Close) else ""
        if name == "table" and isinstance(event, Open):
            if open_:
                open_[-1].is_layout = True
            open_.append(_seen(event.element, place))
        elif name == "table":
            seen = open_.pop()
            if max(seen.columns, seen.most_columns) > 1 and not seen.is_layout:
                found.append(seen.place)
        elif open_ and isinstance(event, Open):
            _look(open_[-1], name)
    return frozenset(found)


def _seen(element: Element, place: int) -> _Seen:
    role = (attribute(element, "role") or "").strip().lower()
    border = (attribute(element, "border") or "").strip()
    is_data = role in ("table", "grid", "treegrid") or ("border" in element.attrs and border != "0")
    arranging = any(name in element.attrs for name in _ARRANGING) or border == "0"
    seen = _Seen(place, element, is_data, is_layout=role in ("presentation", "none") or (arranging and not is_data))
    seen.is_layout = seen.is_layout and not is_data
    return seen


def _look(seen: _Seen, name: str) -> None:
    if name == "tr":
        seen.most_columns = max(seen.most_columns, seen.columns)
        seen.columns = 0
    elif name in ("td", "th"):
        seen.columns += 1
    if name in ("th", "caption", "thead") and (attribute(seen.element, "role") or "") not in ("presentation", "none"):
        seen.is_data, seen.is_layout = True, False
    elif name in _BLOCKS and not seen.is_data:
        seen.is_layout = True


@dataclass(frozen=True, slots=True)
class Cell:
    """A table cell: its finished lines, and how many columns and rows it spans."""

    lines: list[str]
    columns: int = 1
    rows: int = 1


@dataclass(slots=True)
class Table:
    """A table of data while it is read."""

    rows: list[list[Cell]] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The table as text, its columns aligned; with `|` between cells where that would be too wide or all blanks."""
        rows = [row for row in _placed(self.rows) if any(cell.lines for cell in row.values())]
        widths = _widths(rows)
        text = sum(len(line) for row in rows for cell in row.values() for line in cell.lines)
        total = sum(width + len(_BETWEEN) for width in widths.values())
        if total > _MAX_WIDTH or len(widths) > _MAX_COLUMNS or total * len(rows) > 4 * text + 1000:
            return [" | ".join(" ".join(cell.lines) for cell in row.values() if cell.lines) for row in rows]
        return [line for row in rows for line in _aligned(row, widths)]


def span(element: Element, name: str) -> int:
    """How many columns or rows a cell says that it spans; 1 where that is no number or out of bounds."""
    text = (attribute(element, name) or "").strip()
    return (
        min(int(text), _MAX_COLUMNS) if text.isdecimal() and text.isascii() and 0 < len(text) < 9 and int(text) else 1
    )


def _placed(rows: list[list[Cell]]) -> list[dict[int, Cell]]:
    """Each row's cells by their column, beside the cells that reach down from the rows above."""
    placed: list[dict[int, Cell]] = []
    taken: dict[int, int] = defaultdict(int)  # column: how many more rows
    for row in rows:
        here: dict[int, Cell] = {}
        column = 0
        for cell in row:
            while column < _MAX_COLUMNS and taken[column] > 0:
                column += 1
            here[column] = cell
            for reached in range(column, min(column + cell.columns, _MAX_COLUMNS)):
                taken[reached] = max(taken[reached], cell.rows)
            column += cell.columns
        for column in taken:
            taken[column] -= 1
        placed.append(here)
    return placed


def _widths(rows: list[dict[int, Cell]]) -> dict[int, int]:
    widths: dict[int, int] = defaultdict(int)
    for row in rows:
        for column, cell in row.items():
            single = cell.columns == 1
            widths[column] = max(widths[column], *map(_width, cell.lines if single else ()), 0)
    return dict(sorted(widths.items()))


def _aligned(row: dict[int, Cell], widths: dict[int, int]) -> list[str]:
    lines = []
    for parts in zip_longest(*(cell.lines for cell in row.values()), fillvalue=""):
        shown = dict(zip(row, parts, strict=True))
        line, edge = "", 0
        for column, width in widths.items():
            if shown.get(column):
                line += " " * max(edge - _width(line), len(_BETWEEN) if line else 0) + shown[column]
            edge += width + len(_BETWEEN)
        lines.append(line)
    return lines


def _width(text: str) -> int:
    """The columns that `text` takes on a terminal."""
    return sum(
        0 if unicodedata.combining(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text
    )
