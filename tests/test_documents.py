from copy import deepcopy

import pytest

from mailer.directory.documents import MAX_DEPTH, normalise
from mailer.errors import InvalidRow
from mailer.messages.recipient import user_digest

FULL = {
    "_id": "u1",
    "username": "ada",
    "name": "Ada Lovelace",
    "emails": [{"address": "ada@Example.ORG", "verified": True}, {"address": "other@example.org"}],
    "active": False,
    "type": "user",
    "roles": ["admin"],
    "createdAt": "2015-01-01T00:00:00.000Z",
    "customFields": {"level": 3},
}


def nested(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


def test_columns_come_from_the_document():
    row = normalise(FULL, 1)
    expected = ("u1", "ada", "Ada Lovelace", "ada@example.org", False, 1420070400000, user_digest("u1"), "\nadmin\n")
    assert row[:-1] == expected
    assert row.document == {**FULL, "createdAt": {"$date": 1420070400000}}


def test_document_given_is_not_changed():
    given = deepcopy(FULL)
    normalise(given, 1)
    assert given == FULL


def test_smallest_document_gets_defaults():
    document = {"_id": "x", "active": True}

    assert normalise({"_id": "x"}, 1) == ("x", None, "", None, True, None, user_digest("x"), "", document)


@pytest.mark.parametrize(
    ("document", "name"),
    [
        pytest.param({"username": "ada"}, "ada", id="absent"),
        pytest.param({"username": "ada", "name": "  "}, "ada", id="blank"),
        pytest.param({"username": "ada", "name": None}, "ada", id="null"),
        pytest.param({"username": None, "name": " Ada "}, "Ada", id="trimmed"),
    ],
)
def test_name_falls_back_to_the_username(document, name):
    assert normalise({"_id": "x", **document}, 1).name == name


@pytest.mark.parametrize(
    "emails", [[], None, [{"address": "not an address"}], [{"address": "bad"}, {"address": "good@example.org"}]]
)
def test_email_is_none_without_a_valid_first_address(emails):
    assert normalise({"_id": "x", "emails": emails}, 1).email is None


@pytest.mark.parametrize(
    ("given", "milliseconds"),
    [
        ("2015-01-01T00:00:00.000Z", 1420070400000),
        ("2015-01-01T01:00:00+01:00", 1420070400000),
        ("2015-01-01T00:00:00", 1420070400000),
        ("2015-01-01", 1420070400000),
        (1420070400000, 1420070400000),
        (1420070400000.0, 1420070400000),
        (-1, -1),
        ({"$date": "2015-01-01T00:00:00.123Z"}, 1420070400123),
        ({"$date": 1420070400000}, 1420070400000),
        ({"$date": {"$numberLong": "-62135596800000"}}, -62135596800000),
        ("1969-12-31T23:59:59.999Z", -1),
        ("9999-12-31T23:59:59.999Z", 253402300799999),
    ],
)
@pytest.mark.parametrize("field", ["createdAt", "lastLogin", "_updatedAt"])
def test_date_becomes_milliseconds(given, milliseconds, field):
    row = normalise({"_id": "x", field: given}, 1)
    assert row.document[field] == {"$date": milliseconds}
    assert row.created_at == (milliseconds if field == "createdAt" else None)


def test_extended_json_is_canonical_at_any_depth():
    custom = {"hired": {"$date": "2020-01-01T00:00:00Z"}, "list": [{"$date": 5}], "n": {"$numberInt": "7"}}
    more = {"long": {"$numberLong": "9007199254740993"}, "double": {"$numberDouble": "1.5"}, "oid": {"$oid": "ab"}}
    row = normalise({"_id": "x", "customFields": {**custom, **more}}, 1)
    assert row.document["customFields"] == {
        "hired": {"$date": 1577836800000},
        "list": [{"$date": 5}],
        "n": 7,
        "long": 9007199254740993,
        "double": 1.5,
        "oid": {"$oid": "ab"},
    }


def test_iso_string_elsewhere_stays_a_string():
    assert normalise({"_id": "x", "bio": "2015-01-01"}, 1).document["bio"] == "2015-01-01"


def test_secrets_are_dropped_at_any_depth():
    secret = {
        "services": {"password": {"bcrypt": "S"}},
        "e2e": {"private_key": "S"},
        "password": "S",
        "inviteToken": "S",
    }
    custom = {"api_key": "S", "twoFactor": {"x": "S"}, "kept": [{"authToken": "S", "services": "plumbing"}]}
    document = normalise({"_id": "x", **secret, "customFields": custom}, 1).document
    assert document == {"_id": "x", "active": True, "customFields": {"kept": [{"services": "plumbing"}]}}


@pytest.mark.parametrize(
    ("document", "field"),
    [
        pytest.param([], "document", id="list"),
        pytest.param({"$numberLong": "5"}, "document", id="number"),
        pytest.param({}, "_id", id="no id"),
        pytest.param({"_id": ""}, "_id", id="empty id"),
        pytest.param({"_id": 5}, "_id", id="number as id"),
        pytest.param({"_id": "a\nb"}, "_id", id="control character in id"),
        pytest.param({"_id": "a\u2028b"}, "_id", id="line separator in id"),
        pytest.param({"_id": "a" * 256}, "_id", id="long id"),
        pytest.param({"_id": "x", "username": 5}, "username", id="username"),
        pytest.param({"_id": "x", "username": "a" * 256}, "username", id="long username"),
        pytest.param({"_id": "x", "name": ["a"]}, "name", id="name"),
        pytest.param({"_id": "x", "name": "a\0b"}, "name", id="nul"),
        pytest.param({"_id": "x", "name": "a\ud800b"}, "name", id="surrogate"),
        pytest.param({"_id": "x", "customFields": {"a\0": 1}}, "customFields", id="nul in key"),
        pytest.param({"_id": "x", "customFields": [{"a": "\0"}]}, "customFields.0.a", id="nul deep down"),
        pytest.param({"_id": "x", "customFields": []}, "customFields", id="customFields"),
        pytest.param({"_id": "x", "active": None}, "active", id="active null"),
        pytest.param({"_id": "x", "active": "true"}, "active", id="active text"),
        pytest.param({"_id": "x", "roles": "admin"}, "roles", id="roles"),
        pytest.param({"_id": "x", "mailer": "left"}, "mailer", id="mailer"),
        pytest.param({"_id": "x", "mailer": {"unsubscribed": "true"}}, "mailer.unsubscribed", id="unsubscribed"),
        pytest.param({"_id": "x", "mailer": {"unsubscribed": 1}}, "mailer.unsubscribed", id="unsubscribed number"),
        pytest.param({"_id": "x", "roles": ["a", 1]}, "roles.1", id="role"),
        pytest.param({"_id": "x", "emails": "a@b.org"}, "emails", id="emails"),
        pytest.param({"_id": "x", "emails": ["a@b.org"]}, "emails.0", id="email"),
        pytest.param({"_id": "x", "emails": [{"address": 1}]}, "emails.0", id="address"),
        pytest.param(
            {"_id": "x", "emails": [{"address": "a@b.org", "verified": 1}]}, "emails.0.verified", id="verified"
        ),
        pytest.param({"_id": "x", "createdAt": "yesterday"}, "createdAt", id="no date"),
        pytest.param({"_id": "x", "createdAt": True}, "createdAt", id="boolean as date"),
        pytest.param({"_id": "x", "createdAt": 253402300800000}, "createdAt", id="year 10000"),
        pytest.param({"_id": "x", "createdAt": "0001-01-01T00:00:00+01:00"}, "createdAt", id="year 0"),
        pytest.param({"_id": "x", "createdAt": 1e300}, "createdAt", id="far date"),
        pytest.param({"_id": "x", "createdAt": {"$date": 5, "x": 1}}, "createdAt", id="date with company"),
        pytest.param({"_id": "x", "createdAt": {"$date": {"$date": 5}}}, "createdAt", id="date in date"),
        pytest.param({"_id": "x", "a": {"b": {"$date": "x"}}}, "a.b", id="no date deep down"),
        pytest.param({"_id": "x", "a": {"$numberLong": "9" * 19}}, "a", id="long over 64 bits"),
        pytest.param({"_id": "x", "a": {"$numberDouble": "nan"}}, "a", id="not a number"),
        pytest.param({"_id": "x", "a": 2**63}, "a", id="integer over 64 bits"),
        pytest.param({"_id": "x", "a": float("inf")}, "a", id="infinity"),
        pytest.param({"_id": "x", "a": nested(MAX_DEPTH)}, "a" + ".0" * (MAX_DEPTH - 1), id="too deep"),
    ],
)
def test_document_is_refused_with_row_and_field(document, field):
    with pytest.raises(InvalidRow) as caught:
        normalise(document, 7)
    assert caught.value.details == {"row": 7, "field": field}


def test_deepest_document_that_is_taken():
    document = {"_id": "x", "a": nested(MAX_DEPTH - 1)}
    assert normalise(document, 1).document["a"] == document["a"]
