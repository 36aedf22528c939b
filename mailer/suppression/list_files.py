"""Lists of the unsubscribed and of addresses, read from files: tables, JSON, or nothing but addresses. Pure.

Such lists come from other programs. A column counts if its heading resembles a known one, and rows are numbered as a
person sees them in the file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from mailer.errors import InvalidRow
from mailer.files import cells
from mailer.files.ejson import canonical_date
from mailer.files.exports import bare
from mailer.files.headings import POSTAL, columns_of
from mailer.files.json_streams import read_json
from mailer.files.tables import Headless, Table, read_table
from mailer.files.text_files import TextFile
from mailer.messages.addresses import envelope_address

MAX_LINE = 1 << 16  # characters
KNOWN = "_id, email, address"
MENTIONING = "mentioning"  # a further column about mail, beside that of the addresses: it may hold more of them
MAIL = {"email", "mail", "courriel"}

Rows = Iterator[tuple[int, dict[str, list[Any]]]]  # a row's number, and its cells by column, without empty ones


@dataclass(frozen=True, slots=True)
class ListedPerson:
    """A person on a list: a user's id, an address in its envelope form, or both.

    `unsubscribed_at` is when they unsubscribed (ms), if the list says so.
    """

    user_id: str | None
    address: str | None
    unsubscribed_at: int | None = None


@dataclass(frozen=True, slots=True)
class ListedAddress:
    """An address that a list names, and the reason that stands beside it.

    An address may begin with a `'`, and spreadsheets put one before a formula. Where it begins so in the file,
    `literally` has the forms with it, which may be the right ones.
    """

    address: str
    literally: tuple[str, ...] = ()
    reason: str | None = None


def read_people(file: TextFile) -> Iterator[ListedPerson]:
    """The people of a list: a table with an id or an address column, JSON with such fields, or bare addresses.

    A row with several addresses gives a person for each. Raises `InvalidRow` for a row that names nobody, and for one
    with something among its addresses that is none.
    """
    for row, found in _rows(file):
        user_id = _user_id(row, found)
        made_at = _made_at(row, found)
        addresses = [address for cell in found.get("email", ()) for address in _addresses(row, bare(cell))]
        if not addresses and user_id is None:
            raise InvalidRow(row, "address", "is missing, and there is no id")
        if not addresses:
            yield ListedPerson(user_id, None, made_at)
        for address in dict.fromkeys(addresses):
            yield ListedPerson(user_id, address, made_at)


def read_addresses(file: TextFile) -> Iterator[ListedAddress]:
    """The addresses of a list, with what its column `reason` says, if it has one; ids in it are ignored.

    Raises `InvalidRow` for a row without an address, or with something that is none.
    """
    for row, found in _rows(file):
        reason = next((cells.trimmed(str(cell)) for cell in found.get("reason", ())), None)
        if not found.get("email"):
            raise InvalidRow(row, "address", "is missing")
        for cell in found["email"]:
            yield from (ListedAddress(address, _literally(cell), reason) for address in _addresses(row, bare(cell)))


def _literally(cell: str) -> tuple[str, ...]:
    forms = (cells.trimmed(form) for form in (cell, bare(cell)))
    return tuple(address for form in forms if form.startswith("'") and (address := envelope_address(form)))


def _rows(file: TextFile) -> Rows:
    if file.peek().lstrip()[:1] in {"{", "["}:
        yield from _objects(file)
        return
    table = read_table(lines_of(file), _columns)
    if isinstance(table, Headless):
        yield from _bare_lines(table)
    elif table is not None:
        yield from _cells(table)


def lines_of(file: TextFile) -> Iterator[str]:
    """The lines of a list. Raises `InvalidRow` for one that is longer than any row is."""
    row = 0
    while line := file.readline(MAX_LINE + 1):
        row += 1
        if len(line) > MAX_LINE:
            raise InvalidRow(row, "line", f"is longer than {MAX_LINE:,} characters")
        yield line


def _columns(headings: Sequence[str]) -> tuple[str | None, ...]:
    """What each column is called here. None: it is ignored.

    A column whose heading only has a word for mail in it is `MENTIONING`, or `email` where no other says who is meant.
    """
    known = columns_of(headings)
    words, column_of_them = (MAIL | POSTAL, MENTIONING) if {"_id", "email"} & {*known} else (MAIL, "email")
    by_word = partial(_by_word, words, column_of_them)
    return tuple(column or by_word(heading) for column, heading in zip(known, headings, strict=True))


def _by_word(of_mail: Collection[str], column: str, heading: str) -> str | None:
    if "@" in heading:  # an address, and the list has no heading
        return None
    words = "".join(character if character.isalnum() else " " for character in heading.casefold()).split()
    if any(word.rstrip("0123456789s") in of_mail or word in of_mail for word in words):
        return column
    return "reason" if words in (["reason"], ["note"], ["comment"]) else None


def _bare_lines(table: Headless) -> Rows:
    if "@" not in table.first:
        raise InvalidRow(table.row, "heading", f"has none of {KNOWN}")
    for row, line in table.lines:
        if cells.trimmed(line):
            yield row, {"email": [line]}


def _cells(table: Table) -> Rows:
    if not {"_id", "email"} & {*table.columns}:
        raise InvalidRow(table.row, "heading", f"has none of {KNOWN}")
    for row, record in table.records:
        found: dict[str, list[Any]] = {}
        for column, cell in zip(table.columns, record, strict=True):
            if column and cell:
                _put(found, column, [cell])
        yield row, found


def _put(found: dict[str, list[Any]], column: str, cells: list[Any]) -> None:
    """Add the cells of a column to `found`; under `MENTIONING` a cell counts only if it has an `@`."""
    if column == MENTIONING:
        cells = [cell for cell in cells if isinstance(cell, str) and "@" in cell]
        column = "email"
    if cells:
        found.setdefault(column, []).extend(cells)


def _objects(file: TextFile) -> Rows:
    for row, value in read_json(file):
        if not isinstance(value, dict):
            raise InvalidRow(row, "document", "must be an object")
        found: dict[str, list[Any]] = {}
        for column, given in zip(_columns([*value]), value.values(), strict=True):
            if column and given not in (None, "", []):
                _put(found, column, _texts(row, column, given))
        yield row, found


def _texts(row: int, column: str, given: object) -> list[Any]:
    """The values of a field of JSON. Addresses may be a text, a list of texts, or as in a user document."""
    if column not in ("email", MENTIONING):
        return [given]
    listed = given if isinstance(given, list) else [given]
    texts = [one.get("address") if isinstance(one, dict) else one for one in listed]
    if column == "email" and not all(isinstance(one, str) for one in texts):
        raise InvalidRow(row, "address", "is no valid address")
    return texts


def _addresses(row: int, cell: str) -> list[str]:
    try:
        return cells.addresses_in(cell)
    except ValueError as error:
        raise InvalidRow(row, "address", str(error)) from None


def _user_id(row: int, found: dict[str, list[Any]]) -> str | None:
    given = next(iter(found.get("_id", ())), None)
    if given is None:
        return None
    user_id = bare(given) if isinstance(given, str) else ""
    if not user_id or not user_id.isprintable():
        raise InvalidRow(row, "_id", "is no id")
    return user_id


def _made_at(row: int, found: dict[str, list[Any]]) -> int | None:
    given = next(iter(found.get("unsubscribedAt", ())), None)
    if given is None:
        return None
    if isinstance(given, dict):
        given = given.get("$date")  # EJSON
    try:
        return cells.moment(given) if isinstance(given, str) else int(canonical_date(given)["$date"])
    except (ValueError, TypeError):
        raise InvalidRow(row, "unsubscribedAt", "is no time: 2015-01-01T00:00:00Z, or milliseconds") from None
