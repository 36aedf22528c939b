"""Suppression lists on both databases: whom they mark, what they say of the rest, and how they are read."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from mailer.errors import InvalidRow
from mailer.files.exports import bare, neutral, write_csv, write_rows
from mailer.files.text_files import TextFile
from mailer.storage.database import Database
from mailer.storage.models import User
from mailer.suppression.list_files import ListedPerson, read_people
from mailer.suppression.unsubscribe_lists import (
    Unsubscribed,
    UnsubscribeResult,
    all_unsubscribed_users_and_wishes,
    unsubscribe_listed,
    unsubscribed_users,
)
from mailer.suppression.unsubscribes import resubscribe
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


def file_of(text: str | bytes) -> TextFile:
    data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    return TextFile(io.BufferedReader(io.BytesIO(data)))  # type: ignore[arg-type]


def entries(text: str | bytes) -> list[ListedPerson]:
    return list(read_people(file_of(text)))


def unsubscribed(db: Database) -> dict[str, int | None]:
    with db.read() as connection:
        rows = connection.execute(select(User.id, User.unsubscribed_at)).all()
    return {row.id: row.unsubscribed_at for row in rows if row.unsubscribed_at is not None}


READ = {
    "bare addresses": (
        "a@b.example\r\nc@D.example\n",
        [ListedPerson(None, "a@b.example"), ListedPerson(None, "c@d.example")],
    ),
    "blank lines": (
        "\n\na@b.example\n\n  \nc@d.example",
        [ListedPerson(None, "a@b.example"), ListedPerson(None, "c@d.example")],
    ),
    "heading email": ("name,email\nAnn,a@b.example\n", [ListedPerson(None, "a@b.example")]),
    "heading id": ("_id\nann\n", [ListedPerson("ann", None)]),
    "id and address": (
        "userId,address\nann,\n,a@b.example\n",
        [ListedPerson("ann", None), ListedPerson(None, "a@b.example")],
    ),
    "byte order mark": ("\ufeffaddress\na@b.example\n", [ListedPerson(None, "a@b.example")]),
    "quoted": ('address,reason\n"a@b.example","x,y"\n', [ListedPerson(None, "a@b.example")]),
    "formula": ("address\n'+a@b.example\n", [ListedPerson(None, "+a@b.example")]),
    "ndjson": (
        '{"_id": "ann"}\n\n{"email": "a@b.example"}\n',
        [ListedPerson("ann", None), ListedPerson(None, "a@b.example")],
    ),
    "empty": ("", []),
    "heading only": ("address\n", []),
    "semicolons": ("Name;E-Mail\nAnn;a@b.example\n", [ListedPerson(None, "a@b.example")]),
    "tabs": ("User ID\tMail\nann\ta@b.example\n", [ListedPerson("ann", "a@b.example")]),
    "sep=": ("sep=;\r\nemail;note\r\na@b.example;x\r\n", [ListedPerson(None, "a@b.example")]),
    "utf-16": ("email\na@b.example\n".encode("utf-16"), [ListedPerson(None, "a@b.example")]),
    "windows-1252": ("name,email\nJörg,a@b.example\n".encode("cp1252"), [ListedPerson(None, "a@b.example")]),
    "blanks of all kinds": ("email\n\xa0a@b.example\u200b \n", [ListedPerson(None, "a@b.example")]),
    "rows of nothing at the end": ("_id,email\nann,\n,\n,\n", [ListedPerson("ann", None)]),
    "line end in a quoted cell": ('note,email\n"x\ny",a@b.example\n', [ListedPerson(None, "a@b.example")]),
    "several in a cell": (
        "email\na@b.example; c@d.example\n",
        [ListedPerson(None, "a@b.example"), ListedPerson(None, "c@d.example")],
    ),
    "several in a line": (
        "a@b.example, <c@d.example>\n",
        [ListedPerson(None, "a@b.example"), ListedPerson(None, "c@d.example")],
    ),
    "several columns": (
        "email,Email 2,Private mail\na@b.example,,c@d.example\n",
        [ListedPerson(None, "a@b.example"), ListedPerson(None, "c@d.example")],
    ),
    "several of a user": (
        "_id,email\nann,a@b.example c@d.example\n",
        [ListedPerson("ann", "a@b.example"), ListedPerson("ann", "c@d.example")],
    ),
    "time": (
        "email,unsubscribedAt\na@b.example,2015-01-01T00:00:00.001Z\n",
        [ListedPerson(None, "a@b.example", 1420070400001)],
    ),
    "no time": ("email,unsubscribedAt\na@b.example,\n", [ListedPerson(None, "a@b.example")]),
    "times of json": (
        '[{"_id": "a", "unsubscribedAt": 1420070400001}, {"_id": "b", "unsubscribedAt": {"$date": 1420070400001}}]',
        [ListedPerson("a", None, 1420070400001), ListedPerson("b", None, 1420070400001)],
    ),
    "user documents": (
        '{"_id": "a", "emails": [{"address": "a@b.example"}, {"address": "c@d.example"}], "name": "A"}\n',
        [ListedPerson("a", "a@b.example"), ListedPerson("a", "c@d.example")],
    ),
    "bare addresses, the first with a word of headings in it": (
        "john@mail.example\nemail@b.example\n",
        [ListedPerson(None, "john@mail.example"), ListedPerson(None, "email@b.example")],
    ),
    "bare address that is a heading without its mark": ("user@email\n", [ListedPerson(None, "user@email")]),
    "bare address with a name": ("Ann <ann@mail.example>\n", [ListedPerson(None, "ann@mail.example")]),
    "several in an address book": (
        "E-mail 1 - Value\na@b.example ::: c@d.example\n",
        [ListedPerson(None, "a@b.example"), ListedPerson(None, "c@d.example")],
    ),
    "address in parentheses": ("Ann Lee (a@b.example)\n", [ListedPerson(None, "a@b.example")]),
    "columns about mail beside the addresses": (
        "Email,Unsubscribed from all email,E-mail Display Name,E-mail 2\n"
        "a@b.example,Yes,Ann (a@b.example),\nc@d.example,No,Cid,d@d.example\n",
        [ListedPerson(None, "a@b.example"), ListedPerson(None, "c@d.example"), ListedPerson(None, "d@d.example")],
    ),
    "another column of addresses": (
        "Email,Address,Home address\na@b.example,c@d.example,1 Main St\n",
        [ListedPerson(None, "a@b.example"), ListedPerson(None, "c@d.example")],
    ),
    "fields about mail beside the address": (
        '{"email": "a@b.example", "email verified": true, "mail type": "html", "other mails": ["c@d.example"]}\n',
        [ListedPerson(None, "a@b.example"), ListedPerson(None, "c@d.example")],
    ),
    "column about mail beside the id": ("_id,Unsubscribed from all email\nann,yes\n", [ListedPerson("ann", None)]),
    "other columns before the separator is known": (
        "Abgemeldet;E-Mail-Adresse privat\n01.02.2020;a@b.example\n",
        [ListedPerson(None, "a@b.example")],
    ),
    "idna": ("address\nx@bücher.example\n", [ListedPerson(None, "x@xn--bcher-kva.example")]),
}


@pytest.mark.parametrize(("text", "read"), READ.values(), ids=READ)
def test_list_is_read(text: str, read: list[ListedPerson]) -> None:
    assert entries(text) == read


REFUSED = {
    "no known column": ("name\nAnn\n", 1, "heading"),
    "no address": ("address\na@b.example\nnonsense\n", 3, "address"),
    "neither": ("_id,address\n,\nx,\n,,\n,nonsense\n", 5, "address"),
    "neither in json": ('{"_id": "x"}\n{"name": "Ann"}\n', 2, "address"),
    "broken csv": ('address\n"a@b.example\n', 2, "document"),
    "broken json": ('{"_id": "ann"}\n{"_id"\n', 2, "document"),
    "json of another kind": ('[{"_id": "ann"}, 1]', 2, "document"),
    "address among the rest of a cell": ("address\na@b.example and others\n", 2, "address"),
    "one of several is none": ("email\na@b.example; nonsense\n", 2, "address"),
    "no address beside an id": ("_id,email\nann,nonsense\n", 2, "address"),
    "name without a heading": ("Ann,a@b.example\n", 1, "address"),
    "address of another kind": ('{"email": 5}\n', 1, "address"),
    "no time": ("email,unsubscribedAt\na@b.example,soon\n", 2, "unsubscribedAt"),
    "time of another kind": ('{"_id": "a", "unsubscribedAt": [1]}\n', 1, "unsubscribedAt"),
    "only a time": ("unsubscribedAt\n2015-01-01\n", 1, "heading"),
    "workbook": ("PK\x03\x04 xl/workbook.xml", 1, "file"),
    "id of another kind": ('{"_id": {"a": 1}}\n', 1, "_id"),
    "control character": ('{"_id": "a\\u0000b"}\n', 1, "_id"),
    "cells too few": ("_id,email\nann\n", 2, "document"),
    "endless line": ("address\n" + "a" * 70_000, 2, "line"),
}


@pytest.mark.parametrize(("text", "row", "field"), REFUSED.values(), ids=REFUSED)
def test_unreadable_row_is_named(text: str, row: int, field: str) -> None:
    with pytest.raises(InvalidRow) as refused:
        entries(text)
    assert refused.value.details == {"row": row, "field": field}


MARKED = {
    "by id": ([ListedPerson("bob", None)], {"bob"}, (1, 0, 0)),
    "by address of any case": ([ListedPerson(None, "ANN.LEE@example.com")], {"ann", "ann2"}, (2, 0, 0)),
    "by address beyond ascii": ([ListedPerson(None, "ünal@example.com")], {"cid"}, (1, 0, 0)),
    "by unknown id and known address": ([ListedPerson("other", "bob@example.com")], {"bob"}, (1, 0, 0)),
    "twice": ([ListedPerson("bob", None), ListedPerson(None, "bob@example.com")], {"bob"}, (1, 0, 0)),
    "already": ([ListedPerson("gone", None)], set(), (0, 1, 0)),
    "nobody": ([ListedPerson("x", None), ListedPerson(None, "x@example.com")], set(), (0, 0, 2)),
    "nothing": ([], set(), (0, 0, 0)),
}


@pytest.mark.parametrize(("listed", "marked", "counts"), MARKED.values(), ids=MARKED)
def test_list_marks_whom_it_names(directory: Database, listed: list[ListedPerson], marked: set[str], counts) -> None:
    assert unsubscribe_listed(directory, listed, **BROUGHT) == UnsubscribeResult(*counts)
    now = unsubscribed(directory)
    assert set(now) == marked | {"gone"}
    assert now["gone"] == 7


def test_list_with_a_bad_row_marks_nobody(directory: Database) -> None:
    with pytest.raises(InvalidRow):
        unsubscribe_listed(directory, read_people(file_of("_id\nbob\nx\x07y\n")), **BROUGHT)
    assert set(unsubscribed(directory)) == {"gone"}
    assert unsubscribe_listed(directory, [ListedPerson("bob", None)], **BROUGHT).unsubscribed == 1


def test_pages_follow_each_other(directory: Database) -> None:
    unsubscribe_listed(directory, [ListedPerson("ann", None), ListedPerson("bob", None)], **BROUGHT)
    assert [one.user_id for one in unsubscribed_users(directory, count=2)] == ["ann", "bob"]
    assert unsubscribed_users(directory, after="bob", count=2) == [Unsubscribed("gone", "gone@example.com", 7)]


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_export_is_a_list_that_marks_the_same(directory: Database, form: str) -> None:
    with directory.write() as connection:
        connection.execute(insert(User), [user_row(9, id="=sum", email="+eve@example.com")])
    unsubscribe_listed(directory, [ListedPerson("=sum", None), ListedPerson("dan", None)], **BROUGHT)
    before = unsubscribed(directory)
    text = "".join(
        write_rows(form, Unsubscribed.COLUMNS, map(Unsubscribed.cells, all_unsubscribed_users_and_wishes(directory)))
    )
    for user_id in before:
        resubscribe(directory, user_id)
    assert unsubscribe_listed(directory, read_people(file_of(text)), **BROUGHT) == UnsubscribeResult(3, 0, 0)
    assert unsubscribed(directory) == before


def test_csv_runs_no_formula_and_dates_are_iso() -> None:
    lines = list(write_csv(Unsubscribed.COLUMNS, [Unsubscribed("=cmd", "a@b.example", 1_420_070_400_001).cells()]))
    assert lines == ["_id,address,unsubscribedAt,campaign\r\n", "'=cmd,a@b.example,2015-01-01T00:00:00.001Z,\r\n"]
    raw = list(
        write_csv(Unsubscribed.COLUMNS, [Unsubscribed("=cmd", "+a@b.example", 1_420_070_400_001).cells()], raw=True)
    )
    assert raw[1] == "=cmd,+a@b.example,2015-01-01T00:00:00.001Z,\r\n"


BEFORE = (
    "",
    " ",
    "\xa0",
    "\t",
    "\r",
    "\n",
    "\x0b",
    "\u2003",
    "\u3000",
    "\u200b",
    "\ufeff",
    "\xad",
    "\x00",
    "  \xa0\t",
    "'",
    "''",
)


@pytest.mark.parametrize("sign", "=+-@＝＋－＠")
@pytest.mark.parametrize("before", BEFORE, ids=repr)
def test_cell_that_a_spreadsheet_would_run_is_text_and_reads_back(before: str, sign: str) -> None:
    cell = f"{before}{sign}1"
    assert neutral(cell) == f"'{cell}"
    assert bare(neutral(cell)) == cell
    assert neutral(f"a{cell}") == f"a{cell}" == bare(f"a{cell}")


@pytest.mark.parametrize("cell", ["\tx", "\rx", "\nx"])
def test_cell_that_begins_with_a_tab_or_line_end_is_text(cell: str) -> None:
    assert neutral(cell) == f"'{cell}"


def test_every_csv_that_is_written_goes_through_the_guard() -> None:
    sources = [*(Path(__file__).parent.parent / "mailer").rglob("*.py")]
    assert [path.name for path in sources if "csv.writer" in path.read_text("utf-8")] == ["exports.py"]


def test_list_of_a_workspace_is_taken_as_a_whole(directory: Database) -> None:
    text = "E-Mail;Opt-out time\n bob@example.com ;2015-01-01T00:00:00Z\nann.lee@EXAMPLE.com, later@example.com;\n"
    assert unsubscribe_listed(directory, read_people(file_of(text)), **BROUGHT) == UnsubscribeResult(3, 0, 1)
    assert unsubscribed(directory)["bob"] == 1_420_070_400_000
