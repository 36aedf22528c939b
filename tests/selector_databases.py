"""Users in each kind of database, for the tests of selectors: a table that goes away with its connection."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, delete, event, insert, select
from sqlalchemy.exc import OperationalError

from mailer.directory.documents import role_lines
from mailer.selector import compile_selector
from mailer.selector.sql.sqlite_functions import add_functions
from mailer.storage.models import Base, User
from tests.databases import POSTGRESQL


@contextmanager
def connect(kind: str) -> Iterator[Connection]:
    """A connection to an empty table of users; skips the test where the database does not answer."""
    if kind == "sqlite":
        engine = create_engine("sqlite://")
        event.listen(engine, "connect", lambda raw, _: add_functions(raw))
    else:
        engine = create_engine(POSTGRESQL, connect_args={"options": "-c search_path=pg_temp"})
    try:
        connection = engine.connect()
    except OperationalError:
        pytest.skip("no PostgreSQL answers at TEST_POSTGRESQL")
    with connection:
        Base.metadata.tables["users"].create(connection)
        yield connection
    engine.dispose()


def store(connection: Connection, documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Make these documents the only users; gives them back with the ids they got, which are their numbers."""
    stored = [{"_id": str(number), **document} for number, document in enumerate(documents)]
    connection.execute(delete(User))
    connection.execute(insert(User), [_row(document) for document in stored])
    return stored


def _row(document: dict[str, Any]) -> dict[str, Any]:
    created = document.get("createdAt")
    columns = {"id": document["_id"], "username": document.get("username"), "created_at": created and created["$date"]}
    roles = document.get("roles")
    stored = isinstance(roles, list) and all(isinstance(role, str) for role in roles)  # others are never stored
    lines = role_lines(roles) if stored else None
    return {**columns, "name": "", "active": True, "roles": lines, "document": document}


def selected(connection: Connection, query: dict[str, Any]) -> list[int]:
    """The numbers of the users that a selector selects."""
    return sorted(int(number) for number in connection.scalars(select(User.id).where(compile_selector(query))))
