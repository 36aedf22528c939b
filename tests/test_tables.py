"""Files of people: encodings, separators, headings and cells."""

from __future__ import annotations

import codecs
import gzip
import io
import zipfile

import pytest

from mailer.errors import InvalidRow
from mailer.files import cells
from mailer.files.headings import column_of, columns_of
from mailer.files.tables import Headless, Table, read_table
from mailer.files.text_files import TextFile

TEXT = "_id,name\r\nzoe,Zoë Müller\r\n"


def text_file(data: bytes, encoding: str | None = None) -> TextFile:
    return TextFile(io.BufferedReader(io.BytesIO(data)), encoding)  # type: ignore[arg-type]


WINDOWS = "line 2 is not in UTF-8: read as Windows-1252 (cp1252)"
ENCODED = {
    "utf-8": (TEXT.encode(), ()),
    "utf-8 with its mark": (codecs.BOM_UTF8 + TEXT.encode(), ()),
    "utf-16 with its mark": (TEXT.encode("utf-16"), ("read as UTF-16",)),
    "utf-16 the other way round": (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), ("read as UTF-16",)),
    "utf-16-le without": (TEXT.encode("utf-16-le"), ("read as UTF-16",)),
    "utf-16-be without": (TEXT.encode("utf-16-be"), ("read as UTF-16",)),
    "utf-32": (TEXT.encode("utf-32"), ("read as UTF-32",)),
    "cp1252": (TEXT.encode("cp1252"), (WINDOWS,)),
}


@pytest.mark.parametrize("way", ["lines", "pieces", "peek"])
@pytest.mark.parametrize(("data", "notes"), ENCODED.values(), ids=ENCODED)
def test_encoding_is_found_and_named(data: bytes, notes: tuple[str, ...], way: str) -> None:
    file = text_file(data)
    if way == "peek":
        assert file.peek() == "_id,name\r\n"
    text = "".join(iter(lambda: file.read(5), "")) if way == "pieces" else "".join(file)
    assert (text, file.notes) == (TEXT, notes)


def test_one_line_of_windows_in_a_file_of_utf8_leaves_the_others_alone() -> None:
    file = text_file("name\nZoë\n".encode() + "Müller “quoted”\nSéb\n".encode("cp1252") + "Ünal\n".encode())
    assert list(file) == ["name\n", "Zoë\n", "Müller “quoted”\n", "Séb\n", "Ünal\n"]
    assert file.notes == ("line 3 and 1 more are not in UTF-8: read as Windows-1252 (cp1252)",)


def test_encoding_that_is_given_overrules() -> None:
    file = text_file("Łódź\n".encode("cp1250"), "cp1250")
    assert ("".join(file), file.notes) == ("Łódź\n", ())
    with pytest.raises(InvalidRow, match="no encoding is called 'latin-99'"):
        text_file(b"", "latin-99")
    with pytest.raises(InvalidRow, match="row 2, field file: is not in utf-8"):
        list(text_file(b"a\nZo\xeb\n" + b"x" * 20_000, "utf-8"))


def test_line_is_given_in_pieces_of_the_size_asked_for() -> None:
    file = text_file(b"abcdef\nxy\n")
    assert file.peek() == "abcdef\n"
    assert [file.readline(4), file.readline(4), file.readline(9), file.readline(9)] == ["abcd", "ef\n", "xy\n", ""]


def test_blank_lines_before_the_first_are_looked_past_and_stay() -> None:
    file = text_file(b"\r\n \n\nabc\ndef")
    assert file.peek() == "\r\n \n\nabc\n"
    assert list(file) == ["\r\n", " \n", "\n", "abc\n", "def"]
    pieces = text_file(b"\nabcdef")
    assert (pieces.peek(), list(iter(lambda: pieces.read(4), ""))) == ("\nabcdef", ["\n", "abcd", "ef"])


def test_lines_of_an_old_mac_are_lines() -> None:
    file = text_file(b"\r_id;name\rann;Ann\r")
    assert file.peek() == "\r_id;name\r"
    table = read_table(file)
    assert isinstance(table, Table)
    assert list(table.records) == [(3, ["ann", "Ann"])]


def zipped(*names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            content = "application/vnd.oasis.opendocument.spreadsheet" if name == "mimetype" else "x" * 99
            archive.writestr(name, content, zipfile.ZIP_STORED if name == "mimetype" else None)
    return out.getvalue()


BINARIES = {
    "xlsx": (zipped("[Content_Types].xml", "_rels/.rels", "xl/workbook.xml"), r"is an Excel workbook \(.xlsx\)"),
    "ods": (zipped("mimetype", "content.xml"), r"is an OpenDocument spreadsheet \(.ods\)"),
    "zip": (zipped("users.csv"), "is a zip archive"),
    "empty zip": (zipped(), "is a zip archive"),
    "xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504), "is an old Excel or Office file"),
    "gzip": (gzip.compress(TEXT.encode()), "is compressed"),
    "pdf": (b"%PDF-1.7\n", "is a PDF"),
    "html": (b"\r\n<!DOCTYPE html><table>", "is HTML or XML"),
    "rtf": (rb"{\rtf1\ansi", "is a text document"),
}


@pytest.mark.parametrize(("data", "problem"), BINARIES.values(), ids=BINARIES)
def test_what_is_no_text_is_refused_by_name(data: bytes, problem: str) -> None:
    with pytest.raises(InvalidRow, match=problem):
        text_file(data)


@pytest.mark.parametrize("data", [TEXT.encode("utf-16")[:-1], "a\nb\ud800".encode("utf-16-le", "surrogatepass")])
def test_utf16_cut_short_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidRow, match="field file: is not in UTF-16, or is cut short"):
        list(text_file(data))


def rows(text: str) -> list[tuple[int, list[str]]]:
    table = read_table(io.StringIO(text, newline=""))
    assert isinstance(table, Table)
    return list(table.records)


SEPARATED = {
    "comma": ("_id,name\nann,Ann\n", ","),
    "semicolon": ("_id;name\nann;Ann\n", ";"),
    "tab": ("_id\tname\nann\tAnn\n", "\t"),
    "bar": ("_id|name\nann|Ann\n", "|"),
    "sep": ("sep=;\r\n_id;name\r\nann;Ann\r\n", ";"),
    "quoted sep": ('"sep=;"\n_id;name\nann;Ann\n', ";"),
    "another sep": ("SEP=^\n_id^name\nann^Ann\n", "^"),
    "quoted": ('"_id";"name"\n"ann";"Ann"\n', ";"),
    "blank after": ('_id, "name"\nann, "Ann"\n', ","),
    "other cases": ("ID;Name\nann;Ann\n", ";"),
    "blanks": ("\u00a0_id ;\tname\u200b\n ann\u00a0;\u2007Ann\n", ";"),
    "old mac": ("_id;name\rann;Ann\r", ";"),
}


@pytest.mark.parametrize(("text", "separator"), SEPARATED.values(), ids=SEPARATED)
def test_heading_decides_what_separates(text: str, separator: str) -> None:
    lines = text.splitlines(keepends=True) if "\r" in text and "\n" not in text else io.StringIO(text, newline="")
    table = read_table(lines)
    assert isinstance(table, Table)
    assert (table.separator, table.columns, list(table.records)) == (separator, ("_id", "name"), [(2, ["ann", "Ann"])])


def test_separators_of_the_cells_do_not_matter() -> None:
    assert rows("email;name\na@x.org;Lee, Ann\nb@x.org;Lee, Bob\n") == [
        (2, ["a@x.org", "Lee, Ann"]),
        (3, ["b@x.org", "Lee, Bob"]),
    ]


def test_rows_are_numbered_as_a_spreadsheet_shows_them() -> None:
    text = '\r\n_id,name\r\nann,"Ann\r\nLee"\r\n\r\nbob,"say ""hi"""\r\n,\r\ncid,\r\n,,,\r\n\r\n'
    assert rows(text) == [(3, ["ann", "Ann\r\nLee"]), (5, ["bob", 'say "hi"']), (7, ["cid", ""])]


def test_heading_over_several_lines_is_one_row() -> None:
    assert rows('"_id","E-mail\naddress"\nann,a@x.org\n') == [(2, ["ann", "a@x.org"])]


BROKEN = {
    "longer": ("_id,name\na,b,c\n", "row 2, field document: has 3 cells under 2 headings"),
    "shorter": ("_id,name\na,b\nc\n", "row 3, field document: has 1 cells under 2 headings"),
    "open quote": ('_id,name\na,b\nc,"d\n' + "x" * 200_000, "row 3, .* a quote in it does not end"),
    "cut off": ('_id,name\na,"b', "row 2, .* a quote in it does not end"),
    "after a quote": ('_id,name\na,"b" c\n', "row 2, .* there is something after a quoted cell"),
}


@pytest.mark.parametrize(("text", "problem"), BROKEN.values(), ids=BROKEN)
def test_broken_row_is_named(text: str, problem: str) -> None:
    with pytest.raises(InvalidRow, match=problem):
        rows(text)


def test_blank_cells_past_the_heading_are_passed_over() -> None:
    assert rows("_id,name\na,b,, \n") == [(2, ["a", "b"])]


def test_lines_without_a_heading_are_given_back_whole() -> None:
    found = read_table(["\n", "ann@x.org; bob@x.org\n", "cid@x.org\n"])
    assert isinstance(found, Headless)
    assert (found.first, found.row) == ("ann@x.org; bob@x.org\n", 2)
    assert list(found.lines) == [(2, "ann@x.org; bob@x.org\n"), (3, "cid@x.org\n")]


def test_nothing_is_no_table() -> None:
    assert read_table([]) is None
    assert read_table(["\n", "  \n"]) is None


HEADINGS = {
    "_id": ["_id", "ID", "id", "User ID", "user_id", "userId"],
    "email": ["email", "E-Mail", "e-mail", "mail", "Address", "E-Mail-Adresse", "Email Address", "EMAIL", "emails"],
    "username": ["username", "User", "login", "User Name"],
    "first name": ["first name", "First_Name", "Vorname", "Given name", "Prénom", "Pre\u0301nom"],
    "last name": ["last name", "LastName", "surname", "Nachname"],
    "name": ["name", "Full Name"],
    "active": ["Active", "isActive"],
    "createdAt": ["createdAt", "created at", "created_at"],
    "customFields.Team Name": ["customFields.Team Name", "customfields.Team Name", "custom_fields.Team Name"],
    None: ["", "phone", "customFields.", "e mail of a friend"],
}


@pytest.mark.parametrize(("heading", "column"), [(h, column) for column, hs in HEADINGS.items() for h in hs])
def test_heading_is_known_by_its_usual_names(heading: str, column: str | None) -> None:
    assert column_of(heading) == column


def test_address_beside_email_is_a_postal_one() -> None:
    assert columns_of(["email", "Address"]) == ("email", None)
    assert columns_of(["email", "e-mail"]) == ("email", "email")


ADDRESSES = [
    ("ann@x.org", "ann@x.org"),
    ("\u00a0 ann@x.org\u200b\ufeff", "ann@x.org"),
    ("\u202aann@x.org\u202c", "ann@x.org"),
    ("<ann@x.org>", "ann@x.org"),
    ("Ann Lee <ann@x.org>", "ann@x.org"),
    ('"Lee, Ann" < ann@x.org >', "ann@x.org"),
    ("mailto:ann@x.org", "ann@x.org"),
    ("<MAILTO:ann@x.org?subject=hi>", "ann@x.org"),
    ("'ann@x.org'", "ann@x.org"),
    ("o'neil@x.org", "o'neil@x.org"),
    ("nobody", "nobody"),
    ("", ""),
]


@pytest.mark.parametrize(("text", "address"), ADDRESSES)
def test_address_is_taken_out_of_what_is_around_it(text: str, address: str) -> None:
    assert cells.plain_address(text) == address


SEVERAL = {
    "a@x.org, b@x.org": ["a@x.org", "b@x.org"],
    "a@x.org;b@x.org;": ["a@x.org", "b@x.org"],
    "a@x.org b@X.org\ta@x.org": ["a@x.org", "b@x.org"],
    '"Lee, Ann" <a@x.org>, Bob <b@x.org>': ["a@x.org", "b@x.org"],
    "Ann Lee <a@x.org>": ["a@x.org"],
    "a@x.org\u00a0| mailto:b@x.org": ["a@x.org", "b@x.org"],
    "Lee, Ann <a@x.org>": ["a@x.org"],
    "a@x.org <a@x.org>": ["a@x.org"],
    "b@x.org <a@x.org>": ["b@x.org", "a@x.org"],
    "a@x.org, Bob <b@x.org>": ["a@x.org", "b@x.org"],
    "Ann @ work <a@x.org>": ["a@x.org"],
    "": [],
    " ;, ": [],
}


@pytest.mark.parametrize(("text", "found"), SEVERAL.items())
def test_every_address_of_a_cell_is_found(text: str, found: list[str]) -> None:
    assert cells.addresses_in(text) == found


@pytest.mark.parametrize("text", ["nobody", "a@x.org, nobody", "a@x.org b", "Ann <nobody>", "a@x.org Ann"])
def test_cell_with_more_than_addresses_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no valid address|has something besides addresses"):
        cells.addresses_in(text)


ROLES = [
    "admin, user",
    "admin;user",
    '["admin","user"]',
    "{admin,user}",
    "['admin', 'user']",
    "admin|user",
    "admin\nuser",
]


@pytest.mark.parametrize("text", ROLES)
def test_several_roles_are_several(text: str) -> None:
    assert cells.roles(text) == ["admin", "user"]


def test_role_may_have_a_blank_in_its_name() -> None:
    assert cells.roles("Sales Team") == ["Sales Team"]
    assert cells.roles(" [ ] ") == []


@pytest.mark.parametrize("text", ["true", "TRUE", "Yes", "1", " y ", "WAHR", "active", "ja", "VRAI"])
def test_yes_is_yes(text: str) -> None:
    assert cells.boolean(text) is True


@pytest.mark.parametrize("text", ["false", "No", "0", "FALSCH", "inactive", "nein", "FAUX", "deactivated"])
def test_no_is_no(text: str) -> None:
    assert cells.boolean(text) is False


@pytest.mark.parametrize("text", ["perhaps", "", "2"])
def test_neither_yes_nor_no_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="true or false"):
        cells.boolean(text)


@pytest.mark.parametrize("text", ["2015-01-01", " 2015-01-01T00:00:00.000Z", "2015-01-01 00:00", "1420070400000"])
def test_time_of_a_cell_is_milliseconds(text: str) -> None:
    assert cells.moment(text) == 1_420_070_400_000


@pytest.mark.parametrize("text", ["soon", "1420070400", "01/02/2015", "42005"])
def test_time_that_could_be_another_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no date"):
        cells.moment(text)
