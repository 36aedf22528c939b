"""Make a backup while the service runs, and bring one back into an empty database."""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, Text, cast, select

from mailer.errors import InvalidState
from mailer.storage.database import Database, newest_version
from mailer.storage.moves import backup_file
from mailer.storage.moves import postgresql_target as postgresql
from mailer.storage.moves.backup_file import AT_ONCE, Facts
from mailer.storage.moves.copying import Told, copy_all, tables_to_copy
from mailer.storage.moves.sqlite_source import locked
from mailer.storage.moves.sums import Summing, is_document

Opens = Callable[[str], Database]  # the database at a URL
Stamp = Callable[[Connection, Facts], None]  # changes what was restored, before anybody can use it


def back_up(db: Database, path: Path, opens: Opens) -> dict[str, int]:
    """Write every row of one moment into a new file, readable by its owner alone; return how many each table has.

    Nobody waits for it: it reads one consistent view. Raises `InvalidState` where a file is, and for a schema that is
    not this version's.
    """
    version = db.version()
    if version != newest_version():
        raise InvalidState(f"The schema is at {version}, and this version makes backups of {newest_version()} only.")
    if path.exists():
        raise InvalidState(f"{path}: there is a file already; a backup is never written over")
    with db.read() as connection:
        facts = Facts(db.clock(connection), version)
    with _scratch(path.parent) as scratch:
        (_from_sqlite if db.writes else _from_postgresql)(db, scratch, opens)
        rows = backup_file.describe(scratch, facts)
        _to_disk(scratch)
        _appear(scratch, path)
    return rows


def restore(path: Path, db: Database, opens: Opens, stamp: Stamp, tell: Told) -> Facts:
    """Bring a backup into the empty `db`, all of it or nothing, and return its facts.

    It is migrated first, and `stamp` changes it, both before the database can be used. Raises `InvalidState` for a file
    that is no whole backup, and for a database that has rows or, on SQLite, is open in another process; `ConfigError`
    for a backup of a newer version.
    """
    facts = backup_file.check(path)
    folder = Path(db.place).parent if db.writes else path.absolute().parent
    with _scratch(folder) as scratch:
        shutil.copyfile(path, scratch)
        backup_file.strip(scratch)
        with closing(opens(f"sqlite:///{scratch}")) as copy:
            copy.migrate()
            with copy.write() as connection:
                stamp(connection, facts)
        if db.writes:
            _into_sqlite(scratch, db, tell)
        else:
            db.migrate()
            copy_all(scratch, db, tell)
    return facts


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A new empty file that only its owner may read, and what SQLite puts beside it, gone at the end."""
    path = folder / f".backup-{secrets.token_hex(8)}.db"
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    try:
        yield path
    finally:
        _remove(path)


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _appear(scratch: Path, path: Path) -> None:
    try:
        os.link(scratch, path)  # unlike a rename it writes over nothing
    except FileExistsError as error:
        raise InvalidState(f"{path}: there is a file already; a backup is never written over") from error


def _from_sqlite(db: Database, scratch: Path, _opens: Opens) -> None:
    pooled = db.engine.raw_connection()  # which has the functions that an index may use
    try:
        driver: Any = pooled.driver_connection
        driver.execute("VACUUM INTO ?", (str(scratch),)).close()
    finally:
        pooled.close()


def _from_postgresql(db: Database, scratch: Path, opens: Opens) -> None:
    one_view = db.engine.connect().execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    with one_view as source, source.begin(), closing(opens(f"sqlite:///{scratch}")) as copy:
        copy.migrate()
        with copy.write() as target:
            for table in tables_to_copy():
                _carry(source, target, table)


def _carry(source: Connection, target: Connection, table: Table) -> None:
    """Copy the rows of a table from PostgreSQL, as SQLite stores them. Raises `InvalidState` if others arrive."""
    summing, places = Summing(table), ", ".join("?" * len(table.columns))
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    putting = f'INSERT INTO "{table.name}" ({names}) VALUES ({places})'  # noqa: S608 - only names
    wanted = select(*(cast(one, Text) if is_document(one) else one for one in table.columns))
    for rows in source.execution_options(yield_per=AT_ONCE).execute(wanted).partitions():
        target.exec_driver_sql(putting, list(summing.passing(tuple(map(_stored, row)) for row in rows)))
    left = postgresql.sum_of(source, table)
    if summing.sum() != left:
        raise InvalidState(f"{table.name}: what arrived is not what left: {summing.sum()} instead of {left}")


def _stored(value: Any) -> Any:
    return int(value) if isinstance(value, bool) else value


def _into_sqlite(scratch: Path, db: Database, tell: Told) -> None:
    place = Path(db.place)
    if place.exists():
        db.close()
        _require_empty(place)
    with closing(sqlite3.connect(scratch)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()
        for table in tables_to_copy():
            tell(table.name, connection.execute(f'SELECT count(*) FROM "{table.name}"').fetchone()[0])  # noqa: S608
    _to_disk(scratch)
    _remove(place)
    scratch.rename(place)


def _require_empty(place: Path) -> None:
    """Raise `InvalidState` if some process has the database open, or a table of it has a row."""
    with locked(place) as source:
        there = source.names()
        filled = [one.name for one in tables_to_copy() if one.name in there and next(iter(source.rows(one)), None)]
    if filled:
        raise InvalidState(f"{place}: has rows already, in {', '.join(filled)}; a backup is never restored over them")
