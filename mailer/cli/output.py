"""How the commands print: columns and fields for people, JSON for scripts."""

from __future__ import annotations

import codecs
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
from wcwidth import wcswidth

from mailer.times import to_iso

_NAME = re.compile(r"_([a-z])")
_JOINERS = "\u200c\u200d"  # harmless, and parts of emoji and Persian words


def printable(value: object) -> str:
    """`value` as one line for a terminal: control characters become escapes, None becomes `-`."""
    if value is None:
        return "-"
    return "".join(map(_escaped, str(value)))


def _escaped(character: str) -> str:
    if character.isprintable() or character in _JOINERS:
        return character
    return character.encode("unicode_escape", "replace").decode()


def moment(milliseconds: int | None) -> str:
    """Milliseconds since 1970 as ISO 8601 to the second, UTC; `-` for None."""
    if milliseconds is None:
        return "-"
    return to_iso(milliseconds, precision="seconds")


def print_json(value: object, *, indent: int | None = None) -> None:
    """One JSON document on stdout, on one line unless `indent` is given."""
    click.echo(json.dumps(value, ensure_ascii=not _takes_everything(), indent=indent))


def _takes_everything() -> bool:
    return codecs.lookup(sys.stdout.encoding).name == "utf-8"


def spelled(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record with the API's names and times: `createdAt` for `created_at`, ISO 8601 for milliseconds."""
    return {_NAME.sub(lambda found: found[1].upper(), name): _value(name, value) for name, value in record.items()}


def _value(name: str, value: Any) -> Any:
    return to_iso(value) if value is not None and name.endswith(("_at", "since")) else value


def columns(text: str) -> int:
    """How many columns of a terminal `text` takes: two for a wide character, none for a combining mark."""
    width = wcswidth(text)
    return width if width >= 0 else len(text)


def print_rows(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Lines of columns, the headings first, all but the last column padded to its widest cell."""
    table = [list(headings), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(map(columns, column)) for column in zip(*table, strict=True)]
    for row in table:
        click.echo("  ".join(_padded(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _padded(cell: str, width: int) -> str:
    return cell + " " * (width - columns(cell))


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """A line `name: value` for each field."""
    for name, value in fields:
        click.echo(f"{name}: {printable(value)}")


def erased_note(people: int) -> Iterable[str]:
    """The note that goes with a list where `people` were erased; none where nobody was."""
    return [f"{people} of the people have been erased, and no address of theirs is here"] if people else []


def print_notes(notes: Iterable[str]) -> None:
    """Notes, a line each on stderr, so that they do not mix with the output."""
    for note in notes:
        click.echo(f"Note: {printable(note)}", err=True)
