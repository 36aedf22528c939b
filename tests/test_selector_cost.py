"""What a query costs: alternatives about one field are one test, and what would take too long is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from mailer.errors import InvalidQuery
from mailer.selector import parse_query
from mailer.selector.cost import seconds
from mailer.selector.limits import MAX_SECONDS
from mailer.selector.regex.compiled import Pattern, Regex
from mailer.selector.syntax import parse_selector
from mailer.selector.tree import And, Field, Not, OneOf, Or
from tests.databases import KINDS
from tests.drills import rounds
from tests.selector_databases import connect, selected, store
from tests.selector_reference import matches
from tests.test_selector_oracle import is_acceptable


@pytest.fixture(scope="module", params=KINDS)
def connection(request: pytest.FixtureRequest) -> Iterator[Connection]:
    with connect(request.param) as connection:
        yield connection


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param({"$or": [{"a": n} for n in range(9)]}, OneOf, id="values"),
        pytest.param({"$or": [{"a": 1}, {"$or": [{"a": {"$in": [2, 3]}}, {"a": 4}]}]}, OneOf, id="lists, nested"),
        pytest.param({"$or": [{"a": {"$regex": f"x{n}"}} for n in range(290)]}, Regex, id="patterns"),
    ],
)
def test_alternatives_about_one_field_are_one_test(query: dict[str, Any], expected: type) -> None:
    tree = parse_selector(query)

    assert isinstance(tree, Field)
    assert isinstance(tree.test, expected)


@pytest.mark.parametrize(
    "query",
    [
        pytest.param({"$nor": [{"a": n} for n in range(9)]}, id="nor"),
        pytest.param({"$and": [{"a": {"$ne": n}} for n in range(9)]}, id="each unequal"),
        pytest.param({"$and": [{"a": {"$nin": [n, n + 9]}} for n in range(9)]}, id="each not among"),
        pytest.param({"$and": [{"a": {"$not": {"$regex": f"x{n}"}}} for n in range(9)]}, id="each unlike"),
    ],
)
def test_denials_about_one_field_are_one_denial(query: dict[str, Any]) -> None:
    tree = parse_selector(query)

    assert isinstance(tree, Not)
    assert isinstance(tree.part, Field)


def test_demands_that_must_all_hold_stay_apart() -> None:
    tree = parse_selector({"$and": [{"a": {"$regex": "x"}}, {"a": {"$regex": "y"}}, {"a": 1}, {"a": 2}]})

    assert isinstance(tree, And)
    assert len(tree.parts) == 4


def test_alternatives_about_several_fields_stay_apart() -> None:
    tree = parse_selector({"$or": [{"a": 1}, {"b": 1}, {"a.b": 1}, {"a": {"$gt": 1}}]})

    assert isinstance(tree, Or)
    assert len(tree.parts) == 4


VALUES = st.sampled_from([0, 1, "a", "ab", None, True, [1], ["a", "b"], {"b": 1}, {"b": ["ab", 0]}])
PATHS = st.sampled_from(["a", "a.b", "a.0", "c"])
TESTS = st.one_of(
    VALUES,
    st.builds(lambda value: {"$ne": value}, VALUES),
    st.builds(lambda values: {"$in": values}, st.lists(VALUES, max_size=3)),
    st.builds(lambda values: {"$nin": values}, st.lists(VALUES, max_size=3)),
    st.sampled_from([{"$regex": "a"}, {"$regex": "^b"}, {"$regex": "B$", "$options": "i"}, {"$not": {"$regex": "b"}}]),
)
PARTS = st.lists(st.dictionaries(PATHS, TESTS, min_size=1, max_size=1), min_size=2, max_size=6)


@pytest.mark.drill
@settings(max_examples=rounds(8, 200), deadline=None, suppress_health_check=list(HealthCheck))
@given(
    users=st.lists(st.fixed_dictionaries({}, optional={"a": VALUES, "c": VALUES}), min_size=10, max_size=10),
    queries=st.lists(st.tuples(st.sampled_from(["$or", "$nor", "$and"]), PARTS), min_size=4, max_size=4),
)
def test_joined_tests_select_what_the_single_ones_would(
    connection: Connection, users: list[dict[str, Any]], queries: list[tuple[str, list[dict[str, Any]]]]
) -> None:
    stored = store(connection, users)

    for query in filter(is_acceptable, ({operator: parts} for operator, parts in queries)):
        assert selected(connection, query) == [n for n, user in enumerate(stored) if matches(query, user)], query


@pytest.mark.parametrize(
    ("query", "named"),
    [
        pytest.param({"$and": [{"bio": {"$regex": f"x{n}"}} for n in range(66)]}, '"bio"', id="66 patterns that hold"),
        pytest.param({"$or": [{f"f{n}": {"$regex": "x"}} for n in range(20)]}, '"f0"', id="a pattern for each field"),
        pytest.param({"bio": {"$regex": "[a-z]{100,250}x"}}, '"bio"', id="a long repetition"),
        pytest.param({"bio": {"$regex": "b?i?o?" * 60 + "z"}}, '"bio"', id="much that may be left out"),
        pytest.param({"bio": {"$regex": "(b?i?o? ?){100}z"}}, '"bio"', id="a group of such, repeated"),
        pytest.param({"bio": {"$regex": r"\bbio\b\s*" * 80}}, '"bio"', id="many word bounds"),
        pytest.param({"$or": [{f"f{n}": n} for n in range(300)]}, '"f0"', id="many fields"),
        pytest.param(
            {"tags": {"$elemMatch": {"$or": [{"k": {"$gt": f"{n}"}} for n in range(30)]}}}, '"tags"', id="many of each"
        ),
        pytest.param({"$or": [{"a.b.c.d.e": {"$gt": n}} for n in range(20)]}, '"a.b.c.d.e"', id="long paths"),
        pytest.param(
            {"$or": [{"emails": {"$elemMatch": {"address": f"a{n}"}}} for n in range(9)]}, '"emails"', id="elements"
        ),
        pytest.param({"$or": [{f"f{n}": [n]} for n in range(9)]}, '"f0"', id="arrays as a whole"),
        pytest.param({"$or": [{f"f.{n}.g": n} for n in range(25)]}, '"f.0.g"', id="positions"),
    ],
)
def test_query_that_would_take_long_is_refused_with_the_field(query: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidQuery, match=r"would take about \d+ s over a million users") as refusal:
        parse_query(json.dumps(query))

    assert named in refusal.value.text


@pytest.mark.parametrize(
    "query",
    [
        pytest.param({"$or": [{"name": {"$regex": f"x{n}", "$options": "i"}} for n in range(290)]}, id="290 patterns"),
        pytest.param({"$or": [{"emails.address": {"$regex": f"@x{n}.com$"}} for n in range(200)]}, id="200 domains"),
        pytest.param({"$or": [{"username": f"u{n}"} for n in range(300)]}, id="300 usernames"),
        pytest.param({"customFields.team": {"$in": [f"t{n}" for n in range(1000)]}}, id="1000 teams"),
        pytest.param({f"customFields.f{n}": n for n in range(20)}, id="20 fields that hold"),
        pytest.param({"roles": "user", "bio": {"$regex": "[0-9]{24}"}}, id="a repetition"),
        pytest.param({"bio": {"$regex": r"^(dr\.? )?(\w+-)?\w+ (von |van )?[a-z]{2,30}$"}}, id="a pattern for names"),
        pytest.param({"bio": {"$regex": "|".join(rf"\bterm{n}\b" for n in range(20))}}, id="20 words"),
        pytest.param(
            {"emails": {"$elemMatch": {"address": {"$regex": "@x"}, "verified": True}}}, id="a verified address"
        ),
    ],
)
def test_query_as_people_write_it_is_taken(query: dict[str, Any]) -> None:
    assert seconds(parse_selector(parse_query(json.dumps(query)))) <= MAX_SECONDS


def test_patterns_are_compiled_once_a_statement(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    real = Pattern.__init__
    monkeypatch.setattr(Pattern, "__init__", lambda self, text: (made.append(text), real(self, text))[1])
    query = {"$or": [{f"f{n}": {"$regex": f"only{n}here"}} for n in range(9)]}

    with connect("sqlite") as connection:
        store(connection, [{f"f{n}": f"x{n}" for n in range(9)} for _ in range(50)])
        assert selected(connection, query) == []

    assert len(made) == len(set(made)) == 9
