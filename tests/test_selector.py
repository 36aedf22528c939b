"""What a selector may say, what it means at the edges, and what is refused by name."""

import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from mailer.errors import InvalidQuery
from mailer.selector import compile_selector, parse_query
from mailer.selector.sql.sqlite_functions import add_functions
from mailer.storage.models import User
from tests.databases import KINDS
from tests.selector_databases import connect, selected, store

MOMENT = 1_420_070_400_000


@pytest.fixture(scope="module", params=KINDS)
def connection(request: pytest.FixtureRequest) -> Iterator[Connection]:
    with connect(request.param) as connection:
        yield connection


@pytest.mark.parametrize("text", [None, ""], ids=["null", "empty"])
def test_absent_query_selects_everybody(connection: Connection, text: str | None) -> None:
    store(connection, [{}, {"active": False}])

    assert parse_query(text) == {}
    assert selected(connection, parse_query(text)) == [0, 1]


ROLES = {"plain": ["user", "admin"], "with a line end": ["user", "a\nb"], "long": ["user", "r" * 255], "none": []}


@pytest.mark.parametrize("roles", ROLES.values(), ids=ROLES)
@pytest.mark.parametrize(
    "wanted",
    [
        *["user", "admin", "us", "", "a", "a\nb", "\n", "user\nadmin", "r" * 255, None, ["user", "admin"], []],
        *[{"$in": ["nobody", "user"]}, {"$in": [f"r{n}" for n in range(17)]}, {"$in": ["user", None]}, {"$in": []}],
        *[{"$ne": "user"}, {"$nin": ["user", "admin"]}, {"$not": {"$in": ["a\nb"]}}, {"$all": ["user", "admin"]}],
    ],
    ids=str,
)
def test_role_is_found_whether_its_column_can_tell_or_not(
    connection: Connection, roles: list[str], wanted: object
) -> None:
    """The column's word against that of the document, which alone is asked for what is no user's roles."""
    store(connection, [{"roles": roles, "same": roles}])

    assert selected(connection, {"roles": wanted}) == selected(connection, {"same": wanted})


@pytest.mark.parametrize(
    ("user", "query", "expected"),
    [
        pytest.param({"a": [[1, 2]]}, {"a": {"$all": [1]}}, False, id="$all does not open arrays in arrays"),
        pytest.param({"a": [[1, 2]]}, {"a": {"$all": [[1, 2]]}}, True, id="$all finds an array in an array"),
        pytest.param(
            {"a": [[5]]}, {"a": {"$elemMatch": {"0": 5}}}, True, id="$elemMatch names positions of nested arrays"
        ),
        pytest.param({"a": [1, True]}, {"a": {"$in": [False, 2]}}, False, id="true is not 1"),
        pytest.param(
            {"a": [1, 5]}, {"a": {"$gt": 2, "$lt": 4}}, True, id="different elements may pass different tests"
        ),
        pytest.param({"a": 1}, {"a.b": {"$exists": False}}, True, id="a scalar has no members"),
        pytest.param({"a": {"b": "x"}}, {"a.b": {"$not": {"$regex": "^y"}}}, True, id="$not takes $regex"),
        pytest.param({"a": "\U00010400"}, {"a": {"$gt": "\uffff"}}, True, id="text is ordered by code points"),
        pytest.param({"a": None}, {"a": {"$exists": True}}, True, id="null is there"),
        pytest.param({"a": None}, {"a": {"$exists": 0}}, False, id="0 is false to $exists"),
        pytest.param({}, {"a": {"$exists": None}}, True, id="null is false to $exists"),
        pytest.param({}, {"a": {"$type": "null"}}, False, id="a missing field has no type"),
        pytest.param({}, {"a": {"$ne": None}}, False, id="a missing field is null to $ne"),
        pytest.param({}, {"a": {"$nin": [1]}}, True, id="a missing field is in no list"),
        pytest.param({"a": []}, {"a": None}, False, id="an empty array is not null"),
        pytest.param({"a": []}, {"a.b": None}, False, id="an empty array leads nowhere"),
        pytest.param({"a": []}, {"a.b": {"$exists": False}}, True, id="nothing exists in an empty array"),
        pytest.param({"a": [1, {}]}, {"a.b": None}, True, id="a document without the field is null"),
        pytest.param({"a": [1, 2]}, {"a.b": None}, False, id="scalars in an array lead nowhere"),
        pytest.param({"a": [[{"b": 1}]]}, {"a.b": 1}, False, id="arrays in arrays are not walked"),
        pytest.param({"a": [[{"b": 1}]]}, {"a.0.b": 1}, True, id="except by position"),
        pytest.param({"a": [[1, 2]]}, {"a.0": 1}, False, id="a position is not opened further"),
        pytest.param({"a": [[1, 2]]}, {"a.0": {"$size": 2}}, True, id="a position can be an array"),
        pytest.param({"a": [5]}, {"a.00": 5}, False, id="00 is no position"),
        pytest.param({"a": {"0": 5}}, {"a.0": 5}, True, id="0 can be a name"),
        pytest.param({"a": [{"0": 5}, 7]}, {"a.0": 5}, True, id="0 can be a name in an element"),
        pytest.param({"a": [1, 2]}, {"a": [1, 2]}, True, id="whole array"),
        pytest.param({"a": [1, 2]}, {"a": [2, 1]}, False, id="whole array in order"),
        pytest.param({"a": [[1, 2], 3]}, {"a": [1, 2]}, True, id="whole array as an element"),
        pytest.param({"a": {"x": 1, "y": 2}}, {"a": {"x": 1}}, False, id="whole document"),
        pytest.param({"a": {"x": 1, "y": 2}}, {"a": {"y": 2.0, "x": 1}}, True, id="order of keys does not count here"),
        pytest.param({"a": {"$date": 5}}, {"a": {"$gt": 4}}, False, id="a date is no number"),
        pytest.param({"lastLogin": {"$date": 5}}, {"lastLogin": {"$gt": 4}}, True, id="but in a known date field"),
        pytest.param({"lastLogin": 5}, {"lastLogin": {"$date": 5}}, True, id="and the other way round"),
        pytest.param({"lastLogin": {"$date": 5}}, {"lastLogin": {"$type": "number"}}, False, id="its type is a date"),
        pytest.param({"b": {"lastLogin": {"$date": 5}}}, {"b.lastLogin": 5}, False, id="not below another field"),
        pytest.param({"createdAt": {"$date": 5}}, {"createdAt": {"$lte": 5.5}}, True, id="fraction of a millisecond"),
        pytest.param(
            {"createdAt": {"$date": 5}}, {"createdAt": {"$in": [1, {"$date": 5}]}}, True, id="dates in a list"
        ),
        pytest.param({"createdAt": {"$date": 5}}, {"createdAt": {"$not": {"$in": [5]}}}, False, id="$not over dates"),
        pytest.param({"createdAt": None}, {"createdAt": {"$ne": 5}}, True, id="no date differs from a date"),
        pytest.param({"createdAt": None}, {"createdAt": {"$nin": [5]}}, True, id="no date is in no list"),
        pytest.param({"createdAt": {"$date": MOMENT}}, {"createdAt": {"$date": "2015-01-01"}}, True, id="day"),
        pytest.param(
            {"createdAt": {"$date": MOMENT}}, {"createdAt": {"$date": "2015-01-01T01:00:00.000+01:00"}}, True, id="zone"
        ),
        pytest.param(
            {"createdAt": {"$date": MOMENT}}, {"createdAt": {"$date": {"$numberLong": str(MOMENT)}}}, True, id="long"
        ),
        pytest.param({"a": {"$oid": "ab" * 12}}, {"a": {"$oid": "AB" * 12}}, True, id="object id in capitals"),
        pytest.param({"a": "ab" * 12}, {"a": {"$oid": "ab" * 12}}, False, id="an object id is no text"),
        pytest.param({"a": {"$oid": "ab" * 12}}, {"a": {"$type": "object"}}, False, id="an object id is no document"),
        pytest.param({"a": [{"$date": 5}]}, {"a.b": None}, False, id="a date is not walked into"),
        pytest.param({"a": 2**53 + 1}, {"a": 2**53}, False, id="integers are exact"),
        pytest.param({"a": 1e300}, {"a": {"$gt": 10**299}}, True, id="an integer beyond 64 bits is a double"),
        pytest.param({"a": 5}, {"a": {"$type": "int"}}, True, id="int"),
        pytest.param({"a": 2**31}, {"a": {"$type": 18}}, True, id="long"),
        pytest.param({"a": 5.0}, {"a": {"$type": "double"}}, True, id="double"),
        pytest.param({"a": "x"}, {"a": {"$type": ["binData", "string"]}}, True, id="one of several types"),
        pytest.param({"a": ["x"]}, {"a": {"$type": "string"}}, True, id="type of an element"),
        pytest.param({"a": 7.9}, {"a": {"$mod": [4.5, 3]}}, True, id="$mod cuts fractions off"),
        pytest.param({"a": [1, 2]}, {"a": {"$elemMatch": {"$gt": 1, "$lt": 2}}}, False, id="one element for all tests"),
        pytest.param(
            {"a": [{"b": 1}, {"c": 2}]}, {"a": {"$elemMatch": {"b": 1, "c": 2}}}, False, id="one document for all"
        ),
        pytest.param({"a": {"b": 1}}, {"a": {"$elemMatch": {"b": 1}}}, False, id="$elemMatch is for arrays"),
        pytest.param({"a": [1]}, {"a": {"$elemMatch": {}}}, False, id="an empty $elemMatch wants documents"),
        pytest.param({"a": [[]]}, {"a": {"$elemMatch": {}}}, True, id="or arrays"),
        pytest.param({"a": [{}]}, {"a": {"$elemMatch": {"$nor": [{"b": 1}]}}}, True, id="logic in $elemMatch"),
        pytest.param(
            {"a": [{"b": 1}, {"b": 2}]},
            {"a": {"$all": [{"$elemMatch": {"b": 1}}, {"$elemMatch": {"b": 2}}]}},
            True,
            id="$all of $elemMatch",
        ),
        pytest.param({"a": 1}, {"$comment": "why", "a": 1}, True, id="comment"),
        pytest.param({"a": 1}, {"$and": [{"$comment": {"any": "thing"}}, {}]}, True, id="nothing but a comment"),
        pytest.param({'q"\\': {"ü.": 1}, "\n": 2}, {'q"\\': {"ü.": 1}, "\n": 2}, True, id="odd names"),
        pytest.param({"a": [{"é": {'"': 1}}]}, {'a.é."': 1}, True, id="odd names through arrays"),
        pytest.param({"é": True}, {"é": True}, True, id="truth under an odd name"),
        pytest.param({"é": True}, {"é": {"$in": [1, "true"]}}, False, id="nothing but truth under an odd name"),
        pytest.param({"é": {"ü": None}}, {"é.ü": {"$type": 10}}, True, id="null under an odd name"),
        pytest.param({"a'": "x' OR 1=1 --"}, {"a'": "x' OR 1=1 --"}, True, id="quotes"),
        pytest.param({"a": "%s :x ?"}, {"a": {"$in": ["%s :x ?"]}}, True, id="placeholders"),
    ],
)
def test_meaning_is_mongodbs(
    connection: Connection, user: dict[str, Any], query: dict[str, Any], expected: bool
) -> None:
    store(connection, [user])

    assert bool(selected(connection, parse_query(json.dumps(query)))) is expected


def nested(levels: int, inner: Any, operator: str) -> dict[str, Any]:
    for _ in range(levels):
        inner = {operator: [inner]}
    return inner


REFUSED = [
    *(
        pytest.param(query, operator, id=f"{operator} {place}")
        for operator in (
            "$where",
            "$expr",
            "$function",
            "$jsonSchema",
            "$text",
            "$near",
            "$geoWithin",
            "$bitsAllSet",
            "$x",
        )
        for place, query in {
            "at the top": {operator: "x"},
            "on a field": {"a": {operator: "x"}},
            "under $and": {"$and": [{"a": 1}, {operator: "x"}]},
            "under $not": {"a": {"$not": {operator: "x"}}},
            "under $elemMatch": {"a": {"$elemMatch": {operator: "x"}}},
            "in a value": {"a": {"b": [{operator: "x"}]}},
            "in a list": {"a": {"$in": [1, {operator: "x"}]}},
            "under $all": {"a": {"$all": [{operator: "x"}]}},
            "beside a name": {"a": {"b": 1, operator: "x"}},
            "beside an operator": {"a": {"$gt": 1, operator: "x"}},
            "in a path": {f"a.{operator}": 1},
        }.items()
    ),
    *(
        pytest.param(query, name, id=f"{name} {place}")
        for name in (
            *("services", "services.password.bcrypt", "services.0", "mailer.unsubscribed", "e2e.private_key"),
            *(
                "__rooms",
                "password",
                "client_secret",
                "bcrypt",
                "privateKey",
                "passwd",
                "customFields.apiToken",
                "two_factor",
                "emails.0.TOTP",
                "x.email2fa",
            ),
        )
        for place, query in {
            "at the top": {name: 1},
            "under $or": {"$or": [{name: {"$exists": True}}]},
            "under $not": {name: {"$not": {"$gt": 1}}},
        }.items()
    ),
    pytest.param({"a": {"$elemMatch": {"token": 1}}}, "token", id="token in an element"),
    pytest.param({"a": {"password": 1}}, "password", id="password in a value"),
    pytest.param({"": 1}, '""', id="empty name"),
    pytest.param({"a..b": 1}, "a..b", id="empty name in a path"),
    pytest.param({"a.": 1}, "a.", id="empty name at the end"),
    pytest.param({"a": {"": 1}}, '""', id="empty name in a value"),
    pytest.param({"a\0": 1}, "NUL", id="NUL in a name"),
    pytest.param({"a": "\0"}, "NUL", id="NUL in a text"),
    pytest.param({"a": ["\ud800"]}, "surrogate", id="half a pair"),
    pytest.param({".".join("abcdefghi"): 1}, "a.b.c", id="deep path"),
    pytest.param({"a.0.1.2": 1}, "a.0.1.2", id="too many positions"),
    pytest.param({"$or": []}, "$or", id="empty $or"),
    pytest.param({"$and": {}}, "$and", id="$and of no array"),
    pytest.param({"$nor": [1]}, "object", id="$nor of numbers"),
    pytest.param({"a": {"$in": 1}}, "$in", id="$in of no array"),
    pytest.param({"a": {"$nin": [0] * 1001}}, "$nin", id="long $nin"),
    pytest.param({"a": {"$in": [0] * 1001}}, "$in", id="long $in"),
    pytest.param({"a": {"$all": 1}}, "$all", id="$all of no array"),
    pytest.param({"a": {"$all": [1, {"$elemMatch": {}}]}}, "$elemMatch", id="mixed $all"),
    pytest.param({"a": {"$size": -1}}, "$size", id="negative $size"),
    pytest.param({"a": {"$size": 1.5}}, "$size", id="fraction in $size"),
    pytest.param({"a": {"$size": True}}, "$size", id="$size of a boolean"),
    pytest.param({"a": {"$mod": [0, 1]}}, "$mod", id="$mod 0"),
    pytest.param({"a": {"$mod": [0.5, 1]}}, "$mod", id="$mod of less than 1"),
    pytest.param({"a": {"$mod": [1]}}, "$mod", id="short $mod"),
    pytest.param({"a": {"$mod": [1, "2"]}}, "$mod", id="$mod of a text"),
    pytest.param({"a": {"$type": "text"}}, "$type", id="unknown type"),
    pytest.param({"a": {"$type": 0}}, "$type", id="unknown type number"),
    pytest.param({"a": {"$type": []}}, "$type", id="no type"),
    pytest.param({"a": {"$type": True}}, "$type", id="type of a boolean"),
    pytest.param({"a": {"$not": 1}}, "$not", id="$not of a number"),
    pytest.param({"a": {"$not": {}}}, "$not", id="$not of nothing"),
    pytest.param({"$not": {"a": 1}}, "$not", id="$not at the top"),
    pytest.param({"a": {"$elemMatch": 1}}, "$elemMatch", id="$elemMatch of a number"),
    pytest.param({"a": {"$options": "i"}}, "$options", id="$options alone"),
    pytest.param({"a": {"$regex": "(?=x)"}}, "$regex", id="look ahead"),
    pytest.param({"a": {"$gt": [1]}}, "$gt", id="$gt of an array"),
    pytest.param({"a": {"$lte": {"b": 1}}}, "$lte", id="$lte of a document"),
    pytest.param({"a": {"$date": "yesterday"}}, "$date", id="no date"),
    pytest.param({"a": {"$date": 1.5}}, "$date", id="fraction of a date"),
    pytest.param({"a": {"$date": {"$numberLong": "x"}}}, "$date", id="no long"),
    pytest.param({"a": {"$date": {"$numberLong": []}}}, "$date", id="no long at all"),
    pytest.param({"a": {"$date": 10**17}}, "$date", id="far date"),
    pytest.param({"a": {"$oid": "xyz"}}, "$oid", id="no object id"),
    pytest.param({"a": {"$oid": 5}}, "$oid", id="object id of a number"),
    pytest.param({"a": 10**400}, "range", id="huge integer"),
    pytest.param(nested(9, {"a": 1}, "$and"), "deeply", id="deep logic"),
    pytest.param({"a": json.loads("[" * 9 + "]" * 9)}, "deeply", id="deep value"),
    pytest.param({f"f{number}": 1 for number in range(301)}, "comparisons", id="many fields"),
]


@pytest.mark.parametrize(("query", "named"), REFUSED)
def test_everything_else_is_refused_by_name(query: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidQuery) as refusal:
        parse_query(json.dumps(query))
    with pytest.raises(InvalidQuery):
        compile_selector(query)

    assert named in refusal.value.text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("x", "JSON", id="no JSON"),
        pytest.param("{", "JSON", id="half of it"),
        pytest.param("[]", "object", id="array"),
        pytest.param("null", "object", id="null"),
        pytest.param('"{}"', "object", id="text in a text"),
        pytest.param('{"a": NaN}', "NaN", id="NaN"),
        pytest.param('{"a": -Infinity}', "-Infinity", id="infinity"),
        pytest.param('{"a": 1e999}', "range", id="number too large for a double"),
        pytest.param('{"a": ' + "9" * 5000 + "}", "JSON", id="more digits than Python reads"),
        pytest.param('{"a": 1, "a": 2}', '"a" twice', id="repeated field"),
        pytest.param('{"b": {"$gt": 1, "$gt": 2}}', "$gt", id="repeated operator"),
        pytest.param('{"a": ' + "[" * 50_000 + "]" * 40_000 + "}", "", id="very deep"),
        pytest.param('{"a": "' + "x" * 100_000 + '"}', "100000", id="too long"),
    ],
)
def test_text_that_is_no_selector_is_refused(text: str, said: str) -> None:
    with pytest.raises(InvalidQuery) as refusal:
        parse_query(text)

    assert said in refusal.value.text


def elem_match(levels: int, path: str, inner: dict[str, Any]) -> dict[str, Any]:
    for _ in range(levels):
        inner = {path: {"$elemMatch": inner}}
    return inner


LONG = "a.b.c.d.e.f.g.h"


@pytest.mark.parametrize(
    "query",
    [
        pytest.param(nested(8, {LONG: {"$nin": ["x", 1, None]}}, "$nor"), id="logic over a long path"),
        pytest.param(elem_match(3, "x", {"x": 1}), id="elements in elements"),
        pytest.param(elem_match(1, "x.y", {"x.y": {"$in": [1, "x", None]}}), id="long paths in elements"),
        pytest.param(nested(5, elem_match(2, "x", {"é": 1}), "$nor"), id="odd names in elements"),
        pytest.param(nested(5, {"é.é.a.b": {"$ne": None}}, "$nor"), id="odd names"),
        pytest.param({"x": {"$elemMatch": {"$elemMatch": {"$elemMatch": {"$gt": 1}}}}}, id="arrays in arrays"),
        pytest.param({"a.0.b.1.c.d.e.f": {"$in": ["a", 1, None]}}, id="positions"),
        pytest.param({LONG: {"$in": [f"{n}" for n in range(1000)]}}, id="long list of texts"),
        pytest.param({"x": {"$in": [{"$date": n} for n in range(1000)]}}, id="long list of dates"),
        pytest.param(
            {"x": {"$in": [{"k": n} for n in range(500)] + [[n] for n in range(500)]}}, id="long list of values"
        ),
        pytest.param({"$or": [{f"f{n}": n} for n in range(40)]}, id="many fields"),
        pytest.param({f"f{n}.g.h": n for n in range(12)}, id="many paths"),
        pytest.param({"$or": [{"username": f"u{n}"} for n in range(300)]}, id="many usernames"),
        pytest.param({"$or": [{"a": {"$regex": f"x{n}y"}} for n in range(290)]}, id="many patterns for one field"),
        pytest.param({"a": {"$regex": "(a|b)" * 150}}, id="long pattern"),
    ],
)
def test_largest_selectors_run(connection: Connection, query: dict[str, Any]) -> None:
    store(connection, [{}])

    assert selected(connection, parse_query(json.dumps(query))) in ([], [0])


@pytest.mark.parametrize("dialect", [sqlite.dialect(), postgresql.dialect()], ids=["sqlite", "postgresql"])
@pytest.mark.parametrize(
    "query",
    [
        {"evil": "evil"},
        {"evil.evil": {"$in": ["evil"]}},
        {"x": {"$elemMatch": {"evil": ["evil"]}}},
        {"evil": {"$regex": "evil"}},
    ],
    ids=["equality", "path", "elements", "pattern"],
)
def test_nothing_of_the_callers_is_in_the_sql(dialect: Any, query: dict[str, Any]) -> None:
    assert "evil" not in str(select(User.id).where(compile_selector(query)).compile(dialect=dialect))


def test_texts_are_ordered_bytewise_whatever_the_databases_collation() -> None:
    condition = compile_selector({"name": {"$gt": "a"}})

    assert 'COLLATE "C"' in str(condition.compile(dialect=postgresql.dialect()))


DOCUMENTED = re.findall(r"\| `(\{.*\})` \|", (Path(__file__).parent.parent / "docs" / "queries.md").read_text("utf-8"))


def test_documented_queries_are_there() -> None:
    assert len(DOCUMENTED) >= 10


@pytest.mark.parametrize("text", DOCUMENTED)
def test_documented_query_runs(connection: Connection, text: str) -> None:
    store(connection, [{"roles": ["user"]}])

    assert selected(connection, parse_query(text)) in ([], [0])


def test_register_makes_a_plain_connection_able() -> None:
    raw = sqlite3.connect(":memory:")

    add_functions(raw)

    assert raw.execute("SELECT mailer_regex_search('^a', 'ab'), mailer_regex_search('^a', NULL)").fetchone() == (
        1,
        None,
    )
    assert raw.execute("""SELECT mailer_canonical_json('{"b":1.0,"a":2}')""").fetchone() == ('{"a":2,"b":1}',)
    raw.close()
