"""The database of the settings, for commands that need nothing else of the service."""

from __future__ import annotations

import getpass
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

import click

from mailer.database import Database
from mailer.settings import Settings
from mailer.text_files import TextFile


@contextmanager
def given_file(file: IO[Any]) -> Iterator[TextFile]:
    """A file that click has opened for reading bytes, as text; what had to be assumed is told on stderr."""
    buffered: Any = file if isinstance(file, io.BufferedReader) else io.BufferedReader(cast(Any, file))
    text = TextFile(buffered)
    try:
        yield text
    finally:
        text.close()  # the file is click's to close
        if buffered is not file:
            buffered.detach()
    for note in text.notes:
        click.echo(note, err=True)


def operator() -> str:
    """Who gives a command, as the system knows them: kept with what they put on a list."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no name for the number
        return str(os.getuid())


@contextmanager
def open_database() -> Iterator[Database]:
    """The migrated database; raises `ConfigError`. A transport that cannot work does not stop these commands."""
    db = Database(Settings.from_env().database_url)
    try:
        db.migrate()
        yield db
    finally:
        db.close()
