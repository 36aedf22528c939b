"""Databases full of users, made once and copied for each round."""

from __future__ import annotations

import json
import shutil
from itertools import islice
from pathlib import Path

from sqlalchemy import insert

from bench.newsletter import document, people
from mailer.directory.documents import role_lines
from mailer.selector import database_at
from mailer.storage.database import Database
from mailer.storage.models import User

AT_ONCE = 5_000


def url_of(path: Path) -> str:
    """The SQLite database in that file, as `MAILER_DATABASE_URL` has it."""
    return f"sqlite:///{path}"


def write_documents(path: Path, count: int) -> None:
    """A file for `mailer users import`, one document a line."""
    with path.open("w", encoding="utf-8") as file:
        for n, person in enumerate(people(count)):
            file.write(json.dumps(document(n, person), separators=(",", ":")) + "\n")


def fill(db: Database, count: int) -> None:
    """Put `count` users into an empty directory, past the importer."""
    numbered = enumerate(people(count))
    while some := list(islice(numbered, AT_ONCE)):
        rows = []
        for n, person in some:
            described = document(n, person)
            row: dict[str, object] = {
                "id": person.id,
                "username": person.id,
                "name": person.name,
                "email": person.address,
            }
            row |= {"active": True, "created_at": described["createdAt"]["$date"], "unsubscribed_at": None}
            row["roles"] = role_lines(described["roles"])
            rows.append({**row, "document": described})
        with db.write(durable=False) as connection:
            connection.execute(insert(User), rows)


def filled(url: str, count: int) -> Database:
    """The database at `url`, which is empty so far, with `count` users."""
    db = database_at(url)
    db.migrate()
    fill(db, count)
    return db


def create(path: Path, count: int) -> Path:
    """A database file with `count` users."""
    filled(url_of(path), count).close()
    return path


def copy(original: Path, folder: Path) -> Path:
    """A fresh copy in `folder`, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    target = folder / "mailer.db"
    shutil.copyfile(original, target)
    return target
