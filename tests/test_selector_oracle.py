"""SQLite, PostgreSQL and MongoDB's documented meaning select the same users."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, delete, event, insert, select
from sqlalchemy.exc import OperationalError

from mailer.models import Base, User
from mailer.selector import compile_selector, register
from tests.selector_reference import matches
from tests.selector_strategies import documents, selectors

POSTGRESQL = os.environ.get("TEST_POSTGRESQL", "postgresql+psycopg://root@127.0.0.1/test")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def connection(request: pytest.FixtureRequest) -> Iterator[Connection]:
    """A connection to an empty table of users, gone with it."""
    if request.param == "sqlite":
        engine = create_engine("sqlite://")
        event.listen(engine, "connect", lambda raw, _: register(raw))
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


def selected(connection: Connection, query: dict[str, Any]) -> list[int]:
    """The numbers of the users selected."""
    return sorted(int(number) for number in connection.scalars(select(User.id).where(compile_selector(query))))


def store(connection: Connection, stored: list[dict[str, Any]]) -> None:
    """Make these documents the users."""
    connection.execute(delete(User))
    connection.execute(insert(User), [user_row(document) for document in stored])


def user_row(document: dict[str, Any]) -> dict[str, Any]:
    """The row for a document, with the columns that repeat it."""
    created = document.get("createdAt")
    columns = {"id": document["_id"], "username": document.get("username"), "created_at": created and created["$date"]}
    return {**columns, "name": "", "active": True, "document": document}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(stored=st.lists(documents, min_size=12, max_size=12), queries=st.lists(selectors(), min_size=5, max_size=5))
def test_both_databases_select_what_mongodb_would(
    connection: Connection, stored: list[dict[str, Any]], queries: list[dict[str, Any]]
) -> None:
    stored = [{"_id": str(n), "username": f"{n % 9}", **document} for n, document in enumerate(stored)]
    store(connection, stored)

    for query in queries:
        assert selected(connection, query) == [n for n, document in enumerate(stored) if matches(query, document)], (
            query
        )
