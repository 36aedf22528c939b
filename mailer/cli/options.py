"""Options and arguments that several commands take, and how what is given becomes a value."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

import click

from mailer.cli.output import print_notes
from mailer.files.exports import FORMATS
from mailer.files.text_files import TextFile
from mailer.times import from_iso
from transports.options import parse_duration

UNITS = ("m", "h", "d")  # in which it can be said how long ago something was


def moment_of(_context: click.Context, _option: click.Parameter, given: str | None) -> int | None:
    """Milliseconds since 1970 of a date, a time, or of so long ago."""
    if given is None:
        return None
    ago = parse_duration(given, UNITS) if given.isalnum() else None
    try:
        return from_iso(given) if ago is None else int((time.time() - ago) * 1000)
    except ValueError as error:
        raise click.BadParameter(
            f"{given!r} is neither a date such as 2026-01-31 nor a time span such as 7d"
        ) from error


SINCE = click.option(
    "--since", callback=moment_of, metavar="WHEN", help="A date, a time, or how long ago: 2026-01-31, 7d."
)
LIMIT = click.option("--limit", type=click.IntRange(min=0), default=50, show_default=True, help="How many; 0 is all.")
RAW = click.option("--raw", is_flag=True, help="For programs: no ' before what a spreadsheet would take for a formula.")
FORMAT = click.option("--format", "form", type=click.Choice(FORMATS), default="csv", show_default=True)


def duration(
    units: Collection[str], problem: str, *, least: float = 0, most: float = float("inf")
) -> Callable[..., int | None]:
    """The callback of an option that takes a duration: it becomes milliseconds, and None where none is given.

    A whole number is wanted, with one of `units`: a bare one may be meant in any. `least` and `most` are seconds.
    `problem` is the error for whatever else is given, which stands at its `{}`.
    """

    def read(_context: click.Context, _option: click.Parameter, given: str | None) -> int | None:
        if given is None:
            return None
        seconds = parse_duration(given, units) if given.isalnum() else None
        if seconds is None or not least <= seconds <= most:
            raise click.BadParameter(problem.format(repr(given)))
        return int(seconds * 1000)

    return read


def query_text(_context: click.Context, _option: click.Parameter, query: str | None) -> str | None:
    """The text of `--query`; one that is empty is a script's mistake, and would mean everyone."""
    if query is not None and not query.strip():
        raise click.BadParameter("empty; leave it out to mean everyone")
    return query


@contextmanager
def text_of(file: IO[Any]) -> Iterator[TextFile]:
    """A file that click has opened for reading bytes, as text. What was assumed of its encoding is told on stderr."""
    buffered: Any = file if isinstance(file, io.BufferedReader) else io.BufferedReader(cast(Any, file))
    text = TextFile(buffered)
    try:
        yield text
    finally:
        text.close()  # the file is click's to close
        if buffered is not file:
            buffered.detach()
    print_notes(text.notes)
