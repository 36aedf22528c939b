"""SQLite, PostgreSQL and MongoDB's documented meaning select the same users."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from mailer.selector import parse_query
from mailer.selector.syntax import TooLarge
from tests.databases import KINDS
from tests.drills import rounds
from tests.selector_databases import connect, selected, store
from tests.selector_reference import matches
from tests.selector_strategies import documents, selectors


@pytest.fixture(scope="module", params=KINDS)
def connection(request: pytest.FixtureRequest) -> Iterator[Connection]:
    with connect(request.param) as connection:
        yield connection


def is_acceptable(query: dict[str, Any]) -> bool:
    """Whether it is small enough; nothing else may be wrong with it."""
    with contextlib.suppress(TooLarge):
        return parse_query(json.dumps(query)) == query
    return False


@pytest.mark.drill
@settings(max_examples=rounds(20, 500), deadline=None, suppress_health_check=list(HealthCheck))
@given(users=st.lists(documents, min_size=12, max_size=12), queries=st.lists(selectors(), min_size=5, max_size=5))
def test_both_databases_select_what_mongodb_would(
    connection: Connection, users: list[dict[str, Any]], queries: list[dict[str, Any]]
) -> None:
    stored = store(connection, users)

    for query in filter(is_acceptable, queries):
        assert selected(connection, query) == [n for n, document in enumerate(stored) if matches(query, document)], (
            query
        )
