"""How the commands print: lines for people, JSON for scripts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import click


def printable(value: object) -> str:
    """`value` in one line that a terminal takes as text; what would steer it becomes an escape."""
    if value is None:
        return "-"
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in str(value))


def moment(milliseconds: int | None) -> str:
    """Milliseconds since 1970 as ISO 8601 to the second, UTC; `-` for None."""
    if milliseconds is None:
        return "-"
    return f"{datetime.fromtimestamp(milliseconds // 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def print_json(value: object, *, indent: int | None = None) -> None:
    """One JSON document on stdout, on one line unless `indent` is given."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=indent))


def print_rows(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Lines of columns, the headings first, all but the last column padded to its widest cell."""
    table = [list(headings), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """A line `name: value` for each field."""
    for name, value in fields:
        click.echo(f"{name}: {printable(value)}")
