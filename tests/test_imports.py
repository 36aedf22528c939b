import csv
import io
import json
import tracemalloc
from itertools import repeat
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import func, select, text, update

from mailer.directory.changes import Mode
from mailer.directory.imports import ImportOptions, ImportResult, import_users, upsert_documents
from mailer.errors import InvalidRow
from mailer.files.json_streams import MAX_DOCUMENT
from mailer.messages.recipient import user_digest
from mailer.selector import database_at
from mailer.storage.database import Database
from mailer.storage.models import User

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
ADA = {"_id": "ada", "username": "ada", "name": "Ada", "emails": [{"address": "ada@example.org"}], "roles": ["a", "b"]}
ZOE = {"_id": "zoe", "name": "Zoë 🎉", "createdAt": "2015-01-01T00:00:00Z", "customFields": {"city": "Köln"}}


def rows(db):
    with db.read() as connection:
        return {row.id: row for row in connection.execute(select(User.__table__))}


def counts(result):
    return result.created, result.updated, result.unchanged


def as_csv(*lines):
    out = io.StringIO()
    csv.writer(out).writerows(lines)
    return out.getvalue()


FORMATS = {
    "array.json": json.dumps([ADA, ZOE]),
    "indented.json": json.dumps([ADA, ZOE], indent=3, ensure_ascii=False) + "\n\n",
    "bom.json": "\ufeff" + json.dumps([ADA, ZOE]),
    "lines.json": f"{json.dumps(ADA)}\n{json.dumps(ZOE)}",
    "lines.ndjson": f"\r\n{json.dumps(ADA)}\r\n\n  {json.dumps(ZOE)}  \n",
    "lines.jsonl": f"{json.dumps(ADA)}\n{json.dumps(ZOE)}\n",
    "array": json.dumps([ADA, ZOE]),
    "lines": f"{json.dumps(ADA)}\n{json.dumps(ZOE)}\n",
    "table.csv": as_csv(
        ["_id", "username", "name", "email", "roles", "createdAt", "customFields.city", "active"],
        ["ada", "ada", "Ada", "ada@example.org", "a; b", "", "", ""],
        ["zoe", "", "Zoë 🎉", "", "", "1420070400000", "Köln", "TRUE"],
    ),
    "table": "_id,name,createdAt,customFields.city,username,email,roles\n"
    "ada,Ada,,,ada,ada@example.org,a;b\n\nzoe,Zoë 🎉,2015-01-01T00:00:00Z,Köln,,,\n",
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_brings_the_same_users(any_db: Database, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(FORMATS[name], "utf-8")
    assert counts(import_users(any_db, path)) == (2, 0, 0)
    ada, zoe = rows(any_db).values()
    assert ada[:9] == ("ada", "ada", "Ada", "ada@example.org", True, None, user_digest("ada"), "\na\nb\n", None)
    assert zoe[:9] == ("zoe", None, "Zoë 🎉", None, True, 1420070400000, user_digest("zoe"), "", None)
    assert ada.document == {**ADA, "active": True}
    assert zoe.document == {**ZOE, "createdAt": {"$date": 1420070400000}, "active": True}


@pytest.mark.parametrize("content", ["[]", " [\n] ", ""], ids=["empty array", "blank array", "empty file"])
def test_file_without_users_brings_none(any_db: Database, tmp_path: Path, content: str) -> None:
    path = tmp_path / ("users.json" if content else "users.ndjson")
    path.write_text(content)
    assert import_users(any_db, path).total == 0


def test_sample_directory_has_those_who_get_mail_and_those_who_do_not(db: Database) -> None:
    assert import_users(db, EXAMPLES / "users.json") == ImportResult(created=20, updated=0, unchanged=0, unreachable=3)
    users = rows(db)
    assert sum(row.active and row.email is not None for row in users.values()) == 16
    assert {row.document["type"] for row in users.values()} == {"user", "bot", "app"}
    assert users["sorenKierkeg000003"].email == "soren@xn--bcher-kva.example"


def test_second_import_counts_what_it_changes(db: Database) -> None:
    changed = {**ZOE, "name": "Zoe"}
    assert counts(upsert_documents(db, enumerate([ADA, ZOE]))) == (2, 0, 0)
    new = {"_id": "new"}
    assert counts(upsert_documents(db, enumerate([changed, ADA, new]))) == (1, 1, 1)
    assert rows(db)["zoe"].name == "Zoe"


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize(
    "value", [1e-7, 1e16, 1.0, -0.0, 2**63 - 1, "null", "\x1f\x7f\u2028", {"$date": 5}, [True, None, {"b": 1, "a": 2}]]
)
def test_document_that_is_brought_again_is_unchanged(db: Database, mode: Mode, value: object) -> None:
    ada = {"_id": "ada", "active": True, "customFields": {"value": value}}
    upsert_documents(db, [(1, ada)], ImportOptions(mode))
    assert counts(upsert_documents(db, [(1, ada)], ImportOptions(mode))) == (0, 0, 1)


@pytest.mark.parametrize("again", [1, 1.0, True, "1"], ids=repr)
@pytest.mark.parametrize("first", [1, True, "1"], ids=repr)
def test_value_of_another_type_is_another_value(any_db: Database, first: object, again: object) -> None:
    for value in (first, again):
        result = upsert_documents(any_db, [(1, {"_id": "ada", "active": True, "customFields": {"n": value}})])
    same_number = not any_db.writes and {first, again} == {1} and bool not in (type(first), type(again))
    assert result.unchanged == (type(first) is type(again) or same_number)  # 1 and 1.0 are one number to PostgreSQL


def test_null_that_was_stored_goes_when_it_is_merged(db: Database) -> None:
    ada = {"_id": "ada", "active": True, "bio": None}
    upsert_documents(db, [(1, ada)], ImportOptions(Mode.REPLACE))
    assert counts(upsert_documents(db, [(1, ada)], ImportOptions(Mode.REPLACE))) == (0, 0, 1)
    assert counts(upsert_documents(db, [(1, ada)])) == (0, 1, 0)
    assert rows(db)["ada"].document == {"_id": "ada", "active": True}


@pytest.mark.parametrize("bad", [2**64, 10**22, float("nan"), float("inf"), "\ud800", "a\0"], ids=repr)
def test_known_user_is_checked_like_a_new_one(db: Database, bad: object) -> None:
    upsert_documents(db, [(1, {"_id": "ada", "customFields": {"n": 1e22, "kept": [1]}})])
    with pytest.raises(InvalidRow, match=r"row 1, field customFields\.n: "):
        upsert_documents(db, [(1, {"_id": "ada", "customFields": {"n": bad}})])


def test_import_leaves_the_unsubscribed_and_the_absent_alone(db: Database) -> None:
    upsert_documents(db, enumerate([ADA, ZOE]))
    with db.write() as connection:
        connection.execute(update(User).values(unsubscribed_at=5))
    upsert_documents(db, enumerate([{**ADA, "name": "Changed"}]))
    assert {row.id: (row.name, row.unsubscribed_at) for row in rows(db).values()} == {
        "ada": ("Changed", 5),
        "zoe": ("Zoë 🎉", 5),
    }


def test_rocketchats_own_mark_unsubscribes_when_it_is_new(db: Database) -> None:
    marked = {**ADA, "mailer": {"unsubscribed": True}}
    upsert_documents(db, enumerate([marked, {**ZOE, "mailer": {"unsubscribed": False}}]))
    assert (rows(db)["ada"].unsubscribed_at is None, rows(db)["zoe"].unsubscribed_at) == (False, None)
    with db.write() as connection:
        connection.execute(update(User).values(unsubscribed_at=None))  # subscribed again here
    upsert_documents(db, enumerate([{**marked, "name": "Changed"}, {**ZOE, "mailer": {"unsubscribed": True}}]))
    assert (rows(db)["ada"].unsubscribed_at, rows(db)["zoe"].unsubscribed_at is None) == (None, False)


def test_address_that_became_invalid_is_taken_away(db: Database) -> None:
    upsert_documents(db, enumerate([ADA]))
    upsert_documents(db, enumerate([{**ADA, "emails": []}]))
    assert rows(db)["ada"].email is None


def test_document_survives_with_every_kind_of_value(db: Database) -> None:
    strange = {
        "quote": "\"\\\t\n'",
        "nothing": None,
        "yes": True,
        "float": 1.5,
        "long": 2**53 + 1,
        "list": [[], {}],
        "": "",
    }
    document = {"_id": "\\N", "name": "a\tb\\.\n", "customFields": strange}
    upsert_documents(db, [(1, document)], ImportOptions(Mode.REPLACE))
    row = rows(db)["\\N"]
    assert (row.name, row.document["customFields"]) == ("a\tb\\.", strange)


def test_repeated_id_names_both_rows_and_changes_nothing(db: Database) -> None:
    upsert_documents(db, enumerate([ADA]))
    documents = [(10, {**ADA, "name": "Other"}), (11, ZOE), (12, {"_id": "ada"})]
    with pytest.raises(InvalidRow, match="row 12, field _id: ada stands in row 10 already"):
        upsert_documents(db, documents)
    assert [row.name for row in rows(db).values()] == ["Ada"]


def test_refused_row_changes_nothing_and_the_next_import_works(db: Database) -> None:
    with pytest.raises(InvalidRow, match="row 1201, field name: must be a string"):
        upsert_documents(db, [*((n, {"_id": f"u{n}"}) for n in range(1, 1201)), (1201, {"_id": "x", "name": 5})])
    assert rows(db) == {}
    assert upsert_documents(db, [(1, ADA)]).created == 1
    assert upsert_documents(db, [(1, ADA)]).unchanged == 1


def test_others_can_write_while_a_file_is_read(db: Database) -> None:
    def reading():
        yield 1, ADA
        with other.write() as connection:
            connection.execute(text("PRAGMA busy_timeout = 0") if "sqlite" in db.url else text("SELECT 1"))
            connection.execute(text("INSERT INTO transport_health VALUES (1, '', 0, 0, 0)"))
        yield 2, ZOE

    other = database_at(db.url)
    assert upsert_documents(db, reading()).created == 2
    with other.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM transport_health")) == 1
    other.close()


MALFORMED = {
    "no array": ("a.json", b'"users"', 1, "document"),
    "empty json": ("a.json", b"", 1, "document"),
    "open array": ("a.json", b'[{"_id": "a"}', 1, "document"),
    "open document": ("a.json", b'[{"_id": "a"}, {"_id": ', 2, "document"),
    "trailing comma": ("a.json", b'[{"_id": "a"},]', 2, "document"),
    "no comma": ("a.json", b'[{"_id": "a"} {"_id": "b"}]', 1, "document"),
    "after the array": ("a.json", b'[{"_id": "a"}] []', 1, "document"),
    "number in array": ("a.json", b'[{"_id": "a"}, 5]', 2, "document"),
    "broken line": ("a.ndjson", b'{"_id": "a"}\n\n{"_id" "b"}\n', 3, "document"),
    "two on a line": ("a.ndjson", b'{"_id": "a"} {"_id": "b"}\n', 1, "document"),
    "list on a line": ("a.ndjson", b"[]\n", 1, "document"),
    "not a number": ("a.ndjson", b'{"_id": "a", "x": NaN}\n', 1, "x"),
    "float too large": ("a.ndjson", b'{"_id": "a", "x": 1e999}\n', 1, "x"),
    "endless integer": ("a.ndjson", b'{"_id": "a", "x": ' + b"1" * 5000 + b"}\n", 1, "document"),
    "deep line": ("a.ndjson", b'{"_id": ' + b"[" * 200_000, 1, "document"),
    "deep array": ("a.json", b'[{"_id": ' + b"[" * 200_000, 1, "document"),
    "long line": ("a.ndjson", b'{"_id": "' + b"a" * MAX_DOCUMENT + b'"}', 1, "document"),
    "long document": ("a.json", b'[{"_id": "' + b"a" * 3 * MAX_DOCUMENT + b'"}]', 1, "document"),
    "no encoding": ("a.ndjson", b'{"_id": "a", "name": "Zo\x81"}\n', 1, "name"),
    "half a character": ("a.json", rb'[{"_id": "a", "name": "\ud800"}]', 1, "name"),
    "unknown column": ("a.csv", b"_id,phone\na,b\n", 1, "phone"),
    "column twice": ("a.csv", b"_id,name,name\n", 1, "name"),
    "no id column": ("a.csv", b"name\nAda\n", 1, "_id"),
    "empty table": ("a.csv", b"", 1, "heading"),
    "no heading": ("a.csv", b"ann@example.org,Ann\nbob@example.org,Bob\n", 1, "heading"),
    "short row": ("a.csv", b"_id,name\na,b\nc\n", 3, "document"),
    "empty id": ("a.csv", b"_id,name\n,b\n", 2, "_id"),
    "open quote": ("a.csv", b'_id,name\na,b\nc,"d', 3, "document"),
    "active cell": ("a.csv", b"_id,active\na,perhaps\n", 2, "active"),
    "date cell": ("a.csv", b"_id,createdAt\na,soon\n", 2, "createdAt"),
    "cell in no encoding": ("a.csv", b"_id,name\na,Zo\x81\n", 2, "name"),
    "cell under no heading": ("a.csv", b"_id,,name\na,,b\nc,x,d\n", 3, "heading"),
    "nobody": ("a.csv", b"email,name\nann@example.org,Ann\n,Bob\n", 3, "_id"),
    "address in no encoding": ("a.csv", b"email,name\nzo\x81@x.org,Ann\n", 2, "_id"),
    "time in seconds": ("a.csv", b"_id,createdAt\na,1420070400\n", 2, "createdAt"),
    "field beside fields": ("a.csv", b"_id,customFields.a,customFields.a.b\n", 1, "customFields.a"),
    "column of a list of wishes": ("a.csv", b"_id,unsubscribedAt\n", 1, "unsubscribedAt"),
    "workbook": ("a.csv", b"PK\x03\x04 [Content_Types].xml xl/workbook.xml", 1, "file"),
}


@pytest.mark.parametrize(("name", "content", "row", "field"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_file_is_refused_with_row_and_field(
    any_db: Database, tmp_path: Path, name: str, content: bytes, row: int, field: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InvalidRow) as caught:
        import_users(any_db, path)
    assert caught.value.details == {"row": row, "field": field}
    assert rows(any_db) == {}


def test_documents_across_the_window_arrive_whole(any_db: Database, tmp_path: Path) -> None:
    documents = [{"_id": f"u{n}", "bio": "é🎉" * (n * 37 % 9001)} for n in range(40)]
    path = tmp_path / "users.json"
    path.write_text(json.dumps(documents, ensure_ascii=False), "utf-8")
    import_users(any_db, path)
    assert {row.id: row.document["bio"] for row in rows(any_db).values()} == {d["_id"]: d["bio"] for d in documents}


def test_progress_goes_up_to_the_size_of_the_file(any_db: Database, tmp_path: Path) -> None:
    path = tmp_path / "users.ndjson"
    path.write_text("".join(json.dumps({"_id": f"u{n}", "bio": "x" * 50}) + "\n" for n in range(2000)))
    seen: list[int] = []
    import_users(any_db, path, progress=seen.append)
    assert seen == sorted(seen)
    assert len(set(seen)) > 2
    assert seen[-1] == path.stat().st_size


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(any_db: Database, tmp_path: Path) -> None:
    path = tmp_path / "users.json"
    with path.open("w") as file:
        file.write(
            "[" + ",".join(f'{{"_id": "{n}", "bio": "{bio}"}}' for n, bio in enumerate(repeat("x" * 1000, 8000)))
        )
        file.write("]")
    tracemalloc.start()
    try:
        import_users(any_db, path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < path.stat().st_size / 2
    with any_db.read() as connection:
        assert connection.scalar(select(func.count()).select_from(User)) == 8000


@pytest.mark.parametrize("case", ["long line", "long document"])
def test_document_over_the_limit_is_called_too_long(any_db: Database, tmp_path: Path, case: str) -> None:
    name, content, *_ = MALFORMED[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidRow, match="longer than 1,048,576 characters"):
        import_users(any_db, tmp_path / name)


def test_longest_user_fits_into_every_index(db: Database) -> None:
    """PostgreSQL refuses an index entry over 2,704 bytes; it packs entries, so that these must not be packable."""
    letters = Random(5)

    def text(length: int) -> str:
        return "".join(chr(letters.randrange(0x20000, 0x2A000)) for _ in range(length))  # four bytes each

    address = f"{'a' * 64}@{'.'.join(['d' * 63] * 2)}.{'e' * 57}.org"
    longest = {"_id": text(255), "username": text(255), "roles": [text(126), text(126)]}
    upsert_documents(db, [(1, {**longest, "emails": [{"address": address}]})])
    (row,) = rows(db).values()
    assert (len(row.id), len(row.username), len(row.roles), len(row.email)) == (255, 255, 255, 254)
