"""Suppression lists on both databases: whom they mark, what they say of the rest, and how they are read."""

from __future__ import annotations

import io

import pytest
from sqlalchemy import insert, select

from mailer.database import Database
from mailer.errors import InvalidRow
from mailer.models import User
from mailer.suppression import SuppressionResult, all_suppressed, suppress, suppressed
from mailer.suppression_lists import Entry, Suppressed, read_entries, write_csv, write_ndjson
from mailer.unsubscribe import resubscribe
from tests.conftest import user_row

BROUGHT = {"by": "boss", "source": "list.csv"}
DIRECTORY = [
    user_row(1, id="ann", email="Ann.Lee@example.com"),
    user_row(2, id="ann2", email="ann.lee@example.com"),
    user_row(3, id="bob", email="bob@example.com"),
    user_row(4, id="cid", email="ünal@example.com"),
    user_row(5, id="dan", email=None),
    user_row(6, id="gone", email="gone@example.com", unsubscribed_at=7),
]


@pytest.fixture
def directory(db: Database) -> Database:
    with db.write() as connection:
        connection.execute(insert(User), DIRECTORY)
    return db


def entries(text: str) -> list[Entry]:
    return list(read_entries(io.StringIO(text, newline="")))


def unsubscribed(db: Database) -> dict[str, int | None]:
    with db.read() as connection:
        rows = connection.execute(select(User.id, User.unsubscribed_at)).all()
    return {row.id: row.unsubscribed_at for row in rows if row.unsubscribed_at is not None}


READ = {
    "bare addresses": ("a@b.example\r\nc@D.example\n", [Entry(None, "a@b.example"), Entry(None, "c@d.example")]),
    "blank lines": ("\n\na@b.example\n\n  \nc@d.example", [Entry(None, "a@b.example"), Entry(None, "c@d.example")]),
    "heading email": ("name,email\nAnn,a@b.example\n", [Entry(None, "a@b.example")]),
    "heading id": ("_id\nann\n", [Entry("ann", None)]),
    "id and address": ("userId,address\nann,\n,a@b.example\n", [Entry("ann", None), Entry(None, "a@b.example")]),
    "byte order mark": ("\ufeffaddress\na@b.example\n", [Entry(None, "a@b.example")]),
    "quoted": ('address,reason\n"a@b.example","x,y"\n', [Entry(None, "a@b.example")]),
    "formula": ("address\n'+a@b.example\n", [Entry(None, "+a@b.example")]),
    "ndjson": ('{"_id": "ann"}\n\n{"email": "a@b.example"}\n', [Entry("ann", None), Entry(None, "a@b.example")]),
    "empty": ("", []),
    "heading only": ("address\n", []),
    "idna": ("address\nx@bücher.example\n", [Entry(None, "x@xn--bcher-kva.example")]),
}


@pytest.mark.parametrize(("text", "read"), READ.values(), ids=READ)
def test_list_is_read(text: str, read: list[Entry]) -> None:
    assert entries(text) == read


REFUSED = {
    "no known column": ("name\nAnn\n", 1, "heading"),
    "no address": ("address\na@b.example\nnonsense\n", 3, "address"),
    "neither": ("_id,address\n,\nx,\n,,\n,nonsense\n", 5, "address"),
    "broken csv": ('address\n"a@b.example\n', 2, "line"),
    "broken json": ('{"_id": "ann"}\n{"_id"\n', 2, "line"),
    "json of another kind": ('{"_id": "ann"}\n[1]\n', 2, "line"),
    "id of another kind": ('{"_id": {"a": 1}}\n', 1, "_id"),
    "control character": ('{"_id": "a\\u0000b"}\n', 1, "_id"),
    "half a character": ("_id\na\udc80\n", 2, "_id"),
    "endless line": ("address\n" + "a" * 70_000, 2, "line"),
}


@pytest.mark.parametrize(("text", "row", "field"), REFUSED.values(), ids=REFUSED)
def test_unreadable_row_is_named(text: str, row: int, field: str) -> None:
    with pytest.raises(InvalidRow) as refused:
        entries(text)
    assert refused.value.details == {"row": row, "field": field}


MARKED = {
    "by id": ([Entry("bob", None)], {"bob"}, (1, 0, 0)),
    "by address of any case": ([Entry(None, "ANN.LEE@example.com")], {"ann", "ann2"}, (2, 0, 0)),
    "by address beyond ascii": ([Entry(None, "ünal@example.com")], {"cid"}, (1, 0, 0)),
    "by unknown id and known address": ([Entry("other", "bob@example.com")], {"bob"}, (1, 0, 0)),
    "twice": ([Entry("bob", None), Entry(None, "bob@example.com")], {"bob"}, (1, 0, 0)),
    "already": ([Entry("gone", None)], set(), (0, 1, 0)),
    "nobody": ([Entry("x", None), Entry(None, "x@example.com")], set(), (0, 0, 2)),
    "nothing": ([], set(), (0, 0, 0)),
}


@pytest.mark.parametrize(("listed", "marked", "counts"), MARKED.values(), ids=MARKED)
def test_list_marks_whom_it_names(directory: Database, listed: list[Entry], marked: set[str], counts) -> None:
    assert suppress(directory, listed, **BROUGHT) == SuppressionResult(*counts)
    now = unsubscribed(directory)
    assert set(now) == marked | {"gone"}
    assert now["gone"] == 7


def test_list_with_a_bad_row_marks_nobody(directory: Database) -> None:
    with pytest.raises(InvalidRow):
        suppress(directory, read_entries(io.StringIO("_id\nbob\n\x07\n")), **BROUGHT)
    assert set(unsubscribed(directory)) == {"gone"}
    assert suppress(directory, [Entry("bob", None)], **BROUGHT).unsubscribed == 1


def test_pages_follow_each_other(directory: Database) -> None:
    suppress(directory, [Entry("ann", None), Entry("bob", None)], **BROUGHT)
    assert [one.user_id for one in suppressed(directory, count=2)] == ["ann", "bob"]
    assert suppressed(directory, after="bob", count=2) == [Suppressed("gone", "gone@example.com", 7)]


@pytest.mark.parametrize("write", [write_csv, write_ndjson])
def test_export_is_a_list_that_marks_the_same(directory: Database, write) -> None:
    with directory.write() as connection:
        connection.execute(insert(User), [user_row(9, id="=sum", email="+eve@example.com")])
    suppress(directory, [Entry("=sum", None), Entry("dan", None)], **BROUGHT)
    before = unsubscribed(directory)
    text = "".join(write(all_suppressed(directory)))
    for user_id in before:
        resubscribe(directory, user_id)
    assert suppress(directory, read_entries(io.StringIO(text)), **BROUGHT) == SuppressionResult(3, 0, 0)
    assert set(unsubscribed(directory)) == set(before)


def test_csv_runs_no_formula_and_dates_are_iso() -> None:
    lines = list(write_csv([Suppressed("=cmd", "a@b.example", 1_420_070_400_001)]))
    assert lines == ["_id,address,unsubscribedAt\r\n", "'=cmd,a@b.example,2015-01-01T00:00:00.001Z\r\n"]
