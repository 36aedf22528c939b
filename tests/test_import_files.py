"""What an import does to users who are there already, and files as people have them, on both databases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from mailer.directory.changes import Mode, combined, derived_id
from mailer.directory.imports import DEFAULT_OPTIONS, ImportOptions, ImportResult, import_users, upsert_documents
from mailer.directory.merge_patch import difference, merged
from mailer.directory.staged_users import Problem
from mailer.directory.user_tables import NO_ID_NOTE, TableOptions
from mailer.directory.users import deactivate_user, patch_user, put_user
from mailer.errors import InvalidRow
from mailer.files.json_streams import MAX_DOCUMENT
from mailer.selector import database_at
from mailer.storage.database import Database
from mailer.storage.erased.key import key_of
from mailer.storage.models import User

ANN = {
    "_id": "ann",
    "username": "ann.lee",
    "name": "Ann Lee",
    "emails": [{"address": "ann@example.org", "verified": True}, {"address": "second@example.org"}],
    "roles": ["admin", "user"],
    "createdAt": {"$date": 1_420_070_400_000},
    "language": "en",
    "customFields": {"team": "blue", "seat": {"floor": 3, "room": "12"}},
    "active": True,
}
REPLACE = ImportOptions(Mode.REPLACE)
CLEARS = ImportOptions(table=TableOptions(empty_clears=True))


@pytest.fixture
def known(db: Database) -> Database:
    """A directory with Ann in it."""
    upsert_documents(db, [(1, ANN)])
    return db


def bring(
    db: Database, folder: Path, text: str | bytes, options: ImportOptions = DEFAULT_OPTIONS, name: str = "a.csv"
) -> ImportResult:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return import_users(db, path, options)


def row(db: Database, user_id: str) -> Any:
    with db.read() as connection:
        return connection.execute(select(User.__table__).where(User.id == user_id)).one_or_none()


def ids(db: Database) -> list[str]:
    with db.read() as connection:
        return list(connection.scalars(select(User.id).order_by(User.id)))


def counts(result: ImportResult) -> tuple[int, int, int]:
    return result.created, result.updated, result.unchanged


def test_table_changes_only_what_it_names(known: Database, tmp_path: Path) -> None:
    table = "_id,username,name,email\nann,ann.lee,Ann Miller,ann@example.org\n"
    assert counts(bring(known, tmp_path, table)) == (0, 1, 0)
    assert row(known, "ann").document == {**ANN, "name": "Ann Miller"}
    assert counts(bring(known, tmp_path, table)) == (0, 0, 1)


def test_table_keeps_a_deactivated_user_so_unless_it_says_otherwise(known: Database, tmp_path: Path) -> None:
    deactivate_user(known, "ann")
    bring(known, tmp_path, "_id,name\nann,Ann\n")
    bring(known, tmp_path, "_id,name\nann,Ann\n", REPLACE)
    bring(known, tmp_path, json.dumps({"_id": "ann", "name": "Other"}), name="a.ndjson")
    bring(known, tmp_path, "_id,active\nann,\n", CLEARS)
    assert row(known, "ann").active is False
    bring(known, tmp_path, "_id,active\nann,yes\n")
    assert (row(known, "ann").active, row(known, "ann").document["active"]) == (True, True)


def test_list_of_leavers_erases_nothing_else(known: Database, tmp_path: Path) -> None:
    bring(known, tmp_path, "_id,active\nann,false\n")
    assert row(known, "ann").document == {**ANN, "active": False}
    assert row(known, "ann").email == "ann@example.org"


@pytest.mark.parametrize("options", [ImportOptions(), REPLACE], ids=["merge", "replace"])
def test_import_never_undoes_an_unsubscription(known: Database, tmp_path: Path, options: ImportOptions) -> None:
    with known.write() as connection:
        connection.execute(update(User).values(unsubscribed_at=5))
    bring(known, tmp_path, "_id,active,email\nann,true,new@example.org\n", options)
    assert row(known, "ann").unsubscribed_at == 5


def test_empty_cell_stays_or_clears(known: Database, tmp_path: Path) -> None:
    table = "_id,language,email,roles,customFields.team,createdAt\nann,,,,,\n"
    assert counts(bring(known, tmp_path, table)) == (0, 0, 1)
    assert counts(bring(known, tmp_path, table, CLEARS)) == (0, 1, 0)
    document = row(known, "ann").document
    assert document["emails"] == []
    assert document["customFields"] == {"seat": ANN["customFields"]["seat"]}
    assert not {"language", "roles", "createdAt"} & document.keys()
    assert (row(known, "ann").email, row(known, "ann").roles, row(known, "ann").created_at) == (None, "", None)


def test_replacing_makes_the_document_what_the_file_says(known: Database, tmp_path: Path) -> None:
    bring(known, tmp_path, "_id,name,language,email\nann,Ann,,ann@example.org\n", REPLACE)
    emails = [{"address": "ann@example.org"}]
    assert row(known, "ann").document == {"_id": "ann", "name": "Ann", "emails": emails, "active": True}


CUSTOM = {
    "one field": ("customFields.team", "red", {"team": "red", "seat": {"floor": 3, "room": "12"}}),
    "a field below": ("customFields.seat.room", "14", {"team": "blue", "seat": {"floor": 3, "room": "14"}}),
    "a new one": ("CustomFields.Level", "x", {**ANN["customFields"], "Level": "x"}),
}


@pytest.mark.parametrize(("column", "cell", "fields"), CUSTOM.values(), ids=CUSTOM)
def test_custom_fields_merge_one_by_one(
    known: Database, tmp_path: Path, column: str, cell: str, fields: dict[str, Any]
) -> None:
    bring(known, tmp_path, f"_id,{column}\nann,{cell}\n")
    assert row(known, "ann").document["customFields"] == fields


@pytest.mark.parametrize("name", ["a.ndjson", "a.json", "array.json"])
def test_json_merges_as_a_patch_does(known: Database, tmp_path: Path, name: str) -> None:
    change = {"_id": "ann", "language": None, "roles": ["user"], "customFields": {"seat": {"floor": 4}}}
    bring(known, tmp_path, json.dumps([change] if name == "array.json" else change), name=name)
    document = {key: value for key, value in ANN.items() if key != "language"}
    document |= {"roles": ["user"], "customFields": {"team": "blue", "seat": {"floor": 4, "room": "12"}}}
    assert row(known, "ann").document == document


def test_null_for_active_is_refused_not_taken_for_yes(known: Database, tmp_path: Path) -> None:
    deactivate_user(known, "ann")
    with pytest.raises(InvalidRow, match="row 1, field active"):
        bring(known, tmp_path, '{"_id": "ann", "active": null}', name="a.ndjson")
    with pytest.raises(InvalidRow, match="field active"):
        patch_user(known, "ann", {"active": None})
    assert row(known, "ann").active is False


def test_put_keeps_a_deactivated_user_so_unless_it_says_otherwise(known: Database) -> None:
    deactivate_user(known, "ann")
    assert put_user(known, "ann", {"name": "Ann"}).document == {"_id": "ann", "name": "Ann", "active": False}
    assert put_user(known, "ann", {"active": True}).document == {"_id": "ann", "active": True}


def test_new_address_takes_the_place_of_the_first(known: Database, tmp_path: Path) -> None:
    bring(known, tmp_path, "_id,email\nann,new@example.org\n")
    assert row(known, "ann").document["emails"] == [{"address": "new@example.org"}, {"address": "second@example.org"}]
    bring(known, tmp_path, "_id,email\nann,SECOND@example.org\n")
    assert row(known, "ann").document["emails"] == [{"address": "second@example.org"}]


def test_list_without_ids_finds_users_or_makes_their_ids(known: Database, tmp_path: Path) -> None:
    table = "Name;E-Mail\nAnn Miller;ANN@example.org\nBob;Bob@Example.org\n"
    result = bring(known, tmp_path, table)
    assert counts(result) == (1, 1, 0)
    assert result.notes == ("cells are separated by a semicolon", NO_ID_NOTE)
    assert row(known, "ann").document["name"] == "Ann Miller"
    bob = derived_id(key_of(known), "bob@example.org")
    assert ids(known) == ["ann", bob]
    assert row(known, bob).document["emails"] == [{"address": "Bob@example.org"}]
    assert "bob" not in bob
    assert counts(bring(known, tmp_path, table)) == (0, 0, 2)


def test_usernames_say_whose_row_it_is(known: Database, tmp_path: Path) -> None:
    bring(known, tmp_path, "login,active\nann.lee,no\n")
    assert row(known, "ann").document == {**ANN, "active": False}
    bring(known, tmp_path, "username,email\nann.lee,new@example.org\n")
    assert (ids(known), row(known, "ann").email) == (["ann"], "new@example.org")
    with pytest.raises(InvalidRow, match="row 3, field _id: is missing, and there is neither an address nor"):
        bring(known, tmp_path, "username,active\nann.lee,yes\nnobody,yes\n")
    assert row(known, "ann").active is False


def test_list_without_ids_takes_who_has_no_valid_address(db: Database, tmp_path: Path) -> None:
    table = "name,email\nAnn,ann@example.org\nBob,bob at example.org\nCid,cid@\n"
    for created in (3, 0):
        result = bring(db, tmp_path, table, ImportOptions(problems=9))
        assert (result.created, result.unreachable) == (created, 2)
    assert [one.user_id for one in result.problems] == [
        derived_id(key_of(db), "bob at example.org"),
        derived_id(key_of(db), "cid@"),
    ]


def test_active_user_comes_first_where_several_share_the_address(db: Database, tmp_path: Path) -> None:
    shared = {"emails": [{"address": "us@example.org"}]}
    upsert_documents(
        db, [(1, {"_id": "a", "active": False, **shared}), (2, {"_id": "c", **shared}), (3, {"_id": "b", **shared})]
    )
    bring(db, tmp_path, "email,name\nus@example.org,Us\n")
    assert [row(db, user_id).name for user_id in "abc"] == ["", "Us", ""]


def test_address_that_a_list_has_twice_is_one_user_and_the_last_row_counts(db: Database, tmp_path: Path) -> None:
    result = bring(db, tmp_path, "email,name\nann@example.org,Ann\nbob@example.org,Bob\nANN@example.org,Ann Lee\n")
    assert counts(result) == (2, 0, 0)
    assert result.notes[-1] == "1 rows repeat a user without an id: the last row of each counts"
    assert row(db, derived_id(key_of(db), "ann@example.org")).name == "Ann Lee"


def test_document_without_an_id_is_known_by_its_address(known: Database, tmp_path: Path) -> None:
    bring(known, tmp_path, '{"name": "Ann L", "emails": [{"address": "ann@example.org"}]}', name="a.ndjson")
    assert (ids(known), row(known, "ann").name) == (["ann"], "Ann L")
    with pytest.raises(InvalidRow, match="row 1, field _id"):
        bring(known, tmp_path, '{"name": "Nobody"}', name="a.ndjson")


def test_names_in_two_columns_are_one(db: Database, tmp_path: Path) -> None:
    table = "ID\tFirst Name\tLast Name\tname\na\tAnn\tLee\t\nb\tBob\t\t\nc\tCid\tRay\tDr. Ray\n"
    bring(db, tmp_path, table)
    assert [row(db, user_id).document["name"] for user_id in "abc"] == ["Ann Lee", "Bob", "Dr. Ray"]


@pytest.mark.parametrize("cell", ["admin;user", '"admin, user"', '"[""admin"",""user""]"'])
def test_roles_of_a_cell_are_found_by_queries(db: Database, tmp_path: Path, cell: str) -> None:
    bring(db, tmp_path, f"_id,roles\nann,{cell}\n")
    assert (row(db, "ann").document["roles"], row(db, "ann").roles) == (["admin", "user"], "\nadmin\nuser\n")


def test_address_is_stored_without_what_is_around_it(db: Database, tmp_path: Path) -> None:
    bring(
        db,
        tmp_path,
        "_id,email\na,\u00a0ann@example.org\u200b\nb,Bob <bob@example.org>\nc,x@example.org; y@example.org\n",
    )
    bring(db, tmp_path, '{"_id": "d", "emails": [{"address": " <dan@example.org>\\u00a0"}]}', name="a.ndjson")
    assert [row(db, user_id).email for user_id in "abcd"] == [
        "ann@example.org",
        "bob@example.org",
        "x@example.org",
        "dan@example.org",
    ]
    assert row(db, "c").document["emails"] == [{"address": "x@example.org"}, {"address": "y@example.org"}]
    assert row(db, "d").document["emails"] == [{"address": "dan@example.org"}]


def test_who_cannot_be_written_to_is_counted_and_named(db: Database, tmp_path: Path) -> None:
    result = bring(db, tmp_path, "_id,email\na,\nb,not an address\nc,c@example.org\n", ImportOptions(problems=10))
    assert (result.unreachable, counts(result)) == (2, (3, 0, 0))
    assert result.problems == (
        Problem("a", "emails", "has no address"),
        Problem("b", "emails.0.address", "is no valid address"),
    )
    assert bring(db, tmp_path, "_id,email\na,\nb,not an address\nc,c@example.org\n").problems == ()


ENCODED = {
    "utf-16": "read as UTF-16",
    "cp1252": "line 2 is not in UTF-8: read as Windows-1252 (cp1252)",
    "utf-8-sig": None,
}


@pytest.mark.parametrize("kind", ["csv", "ndjson", "json"])
@pytest.mark.parametrize("encoding", ENCODED)
def test_encoding_of_a_file_is_named(any_db: Database, tmp_path: Path, encoding: str, kind: str) -> None:
    lines = json.dumps({"_id": "z", "name": "Zoë"}, ensure_ascii=False)
    text = {"csv": "_id,name\nz,Zoë\n", "ndjson": f"\n{lines}\n", "json": f"[\n{lines}]"}[kind]
    result = bring(any_db, tmp_path, text.encode(encoding), name=f"a.{kind}")
    assert (row(any_db, "z").name, result.notes) == ("Zoë", (ENCODED[encoding],) if ENCODED[encoding] else ())


def test_columns_that_are_not_known_are_left_out_if_asked(any_db: Database, tmp_path: Path) -> None:
    table = "_id,Phone,name,,Fax\na,1,Ann,x,2\n"
    with pytest.raises(InvalidRow, match="field Phone: is no column of users"):
        bring(any_db, tmp_path, table)
    result = bring(any_db, tmp_path, table, ImportOptions(table=TableOptions(ignore_unknown=True)))
    assert result.notes == ("columns left out: Phone, Fax",)
    assert row(any_db, "a").document == {"_id": "a", "name": "Ann", "active": True}


def page(first: int, count: int, **more: Any) -> dict[str, Any]:
    users = [{"_id": f"u{n}", "name": f"User {n}"} for n in range(first, first + count)]
    return {"users": users, "count": count, "offset": first, "total": 7, "success": True, **more}


PAGES = {
    "one page": ("a.json", json.dumps(page(0, 7))),
    "without a suffix": ("a", json.dumps(page(0, 7))),
    "indented": ("a.json", json.dumps(page(0, 7), indent=2)),
    "indented in ndjson": ("a.ndjson", json.dumps(page(0, 4), indent=2) + "\n" + json.dumps(page(4, 3), indent=2)),
    "a page a line": ("a.ndjson", f"{json.dumps(page(0, 4))}\n\n{json.dumps(page(4, 3))}\n"),
    "pages in json": ("a.json", f"{json.dumps(page(0, 4))}{json.dumps(page(4, 3))}"),
    "after blank lines": ("a", "\n\n" + json.dumps(page(0, 7))),
    "users last": ("a.ndjson", json.dumps({"success": True, "count": 7, "text": "x", "users": page(0, 7)["users"]})),
    "an empty page": ("a.ndjson", f"{json.dumps(page(0, 7))}\n{json.dumps(page(7, 0))}\n"),
    "lines between": ("a.ndjson", f"{json.dumps(page(0, 6))}\n{json.dumps(page(6, 1)['users'][0])}\n"),
    "more in it": ("a.json", json.dumps(page(0, 7, extra={"a": [1, {"b": "]}"}]}))),
}


@pytest.mark.parametrize(("name", "text"), PAGES.values(), ids=PAGES)
def test_pages_of_a_workspace_are_read(any_db: Database, tmp_path: Path, name: str, text: str) -> None:
    assert counts(bring(any_db, tmp_path, text, name=name)) == (7, 0, 0)
    assert ids(any_db) == [f"u{n}" for n in range(7)]


def test_page_larger_than_a_document_may_be_is_read(any_db: Database, tmp_path: Path) -> None:
    users = [{"_id": f"u{n}", "bio": "é" * 5000} for n in range(500)]
    text = json.dumps({"users": users, "count": 500}, ensure_ascii=False)
    assert len(text) > 2 * MAX_DOCUMENT
    for name in ("a.json", "a.ndjson"):
        assert bring(any_db, tmp_path, f"{text}\n" + '{"_id": "last"}\n', name=name).total == 501


BROKEN_PAGES = {
    "open": (b'{"users": [{"_id": "a"}', "row 1, field document: has neither a comma"),
    "no object": (b'{"users": [{"_id": "a"}, 5]}', "row 2, field document: must be an object"),
    "open after the users": (b'{"users": [{"_id": "a"}], "count"', "row 1, field document: is followed by something"),
    "second page": (b'{"users": [{"_id": "a"}]}\n{"users": [{"_id": 5}]}', "row 2, field _id"),
    "two on a line": (b'{"users": [{"_id": "a"}]} {"_id": "b"}', "row 1, field document: has something after the page"),
}


@pytest.mark.parametrize(("text", "told"), BROKEN_PAGES.values(), ids=BROKEN_PAGES)
def test_broken_page_changes_nothing(any_db: Database, tmp_path: Path, text: bytes, told: str) -> None:
    with pytest.raises(InvalidRow, match=told):
        bring(any_db, tmp_path, text, name="a.ndjson")
    assert ids(any_db) == []


@pytest.mark.parametrize("mode", Mode)
def test_change_made_while_the_file_is_read_is_not_lost(known: Database, mode: Mode) -> None:
    def reading():
        yield 1, {"_id": "ann", "name": "From the file"}
        yield from ((n, {"_id": f"x{n}"}) for n in range(2, 1200))
        other = database_at(known.url)
        patch_user(other, "ann", {"active": False, "customFields": {"team": "green"}})
        other.close()

    result = upsert_documents(known, reading(), ImportOptions(mode))
    ann = row(known, "ann").document
    assert (counts(result), ann["name"], ann["active"]) == ((1198, 1, 0), "From the file", False)
    assert ann.get("customFields", {}).get("team") == ("green" if mode is Mode.MERGE else None)


def test_user_who_comes_while_the_file_is_read_and_is_inactive_stays_so(db: Database) -> None:
    def reading():
        yield 1, {"_id": "ann", "name": "From the file"}
        yield from ((n, {"_id": f"x{n}"}) for n in range(2, 1200))
        other = database_at(db.url)
        put_user(other, "ann", {"active": False, "language": "en"})
        other.close()

    upsert_documents(db, reading())
    assert row(db, "ann").document == {"_id": "ann", "name": "From the file", "language": "en", "active": False}


CHANGES = [
    ({}, {"a": 1}),
    ({"a": 1}, {}),
    ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}),
    ({"a": {"b": 1}}, {"a": 5}),
    ({"a": 5}, {"a": {"b": {"c": 1}}}),
    ({"d": {"$date": 1}}, {"d": {"$date": 2}}),
    ({"d": {"$date": 1}}, {"d": {"e": 2}}),
    ({"a": [1, {"b": 2}]}, {"a": [1]}),
    ({"a": True}, {"a": 1}),
]


@pytest.mark.parametrize(("before", "after"), CHANGES)
def test_difference_leads_from_one_to_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert merged(before, difference(before, after)) == after


def test_what_is_no_document_is_left_to_be_refused() -> None:
    assert combined(ANN, [1], Mode.MERGE) == [1]
