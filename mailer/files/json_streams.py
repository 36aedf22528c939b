"""User documents from JSON of any length, one after the other: an array, NDJSON, or pages of `users.list`.

Only a window of the file is in memory. A page is Rocket.Chat's answer, `{"users": [...], "count": ...}`; pages may
follow one another. The row of a document is its line, or its place among the users where they come in pages or in an
array.

This reader is not strict as `strict_json` is: NaN and the like pass, and are refused when each document is checked, by
the name of their field. Of two equal names in an object the last one counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator
from json import JSONDecodeError

from mailer.errors import InvalidRow
from mailer.files.text_files import TextFile

MAX_DOCUMENT = 1 << 20  # characters
CHUNK = 1 << 16

Documents = Iterator[tuple[int, object]]

_blank = re.compile(r"[ \t\r\n]*")
_separator = re.compile(r"[ \t\r\n]*([,\]])[ \t\r\n]*")
_SCALAR = r'(?:"[^"\\]*"|-?[0-9.]+|true|false|null)'
_page = re.compile(rf'\{{\s*(?:"(?!users"|_id")\w+"\s*:\s*{_SCALAR}\s*,\s*){{0,8}}"users"\s*:\s*\[').match
Begin = Callable[[str, int], re.Match[str] | None]  # finds the beginning of a page at a place in a text
_PAGE_HEAD = 1000  # characters in which a page shows that it is one
_decoder = json.JSONDecoder()


def read_json(file: TextFile) -> Documents:
    """The elements of one array, or documents and pages one after the other, whatever their line breaks."""
    return read_array(file) if file.peek().lstrip()[:1] != "{" else _numbered(_Buffer(file.read), 0)


def read_ndjson(file: TextFile) -> Documents:
    """One document or page on each line. Blank lines are skipped. An object may also span several lines."""
    row = users = 0
    paged = False
    while line := file.readline(MAX_DOCUMENT + 1):
        row += 1
        if line.isspace():
            continue
        if line.strip() == "{":
            yield from _numbered(_Buffer(file.read, line), users)
            return
        if _page(line, _skip(line, 0)):
            paged = True
            buffer = _Buffer(file.readline, line)
            for document in buffer.page(users):
                users += 1
                yield users, document
            buffer.expect_end_of_line(users)
            continue
        users += 1
        yield users if paged else row, _whole(line, row)


def read_array(file: TextFile) -> Documents:
    """The elements of one JSON array. `ijson` is not up to it: deep nesting costs it memory without bound."""
    buffer = _Buffer(file.read)
    if buffer.take() != "[":
        raise unreadable(1, "the file is no JSON array")
    row = 0
    for row, document in enumerate(buffer.elements(0), 1):
        yield row, document
    if buffer.peek():
        raise unreadable(row, "has something after the end of the array")


def read_lists(file: TextFile, names: Collection[str]) -> Documents:
    """Documents one after the other, or objects such as `{"items": [...]}` whose field of one of `names` has them."""
    buffer = _Buffer(file.read, begin=_list_of(names))
    return _numbered(buffer, 0)


def unreadable(row: int, problem: str) -> InvalidRow:
    """The error for a document that cannot be read."""
    return InvalidRow(row, "document", problem)


def _whole(line: str, row: int) -> object:
    if len(line) > MAX_DOCUMENT:
        raise unreadable(row, f"is longer than {MAX_DOCUMENT:,} characters")
    document, end = _decode(line, _skip(line, 0), row)
    if not line[end:].isspace() and end < len(line):
        raise unreadable(row, f"has something after the document, at character {end + 1}")
    return document


def _numbered(buffer: _Buffer, users: int) -> Documents:
    """Documents and pages to the end of the buffer; `users` were there before."""
    while buffer.peek():
        for document in buffer.page(users) if buffer.at_page() else iter((buffer.document(users + 1),)):
            users += 1
            yield users, document


class _Buffer:
    """A window on a text that moves forward by whole values. `read(n)` gives up to `n` more characters."""

    def __init__(self, read: Callable[[int], str], text: str = "", begin: Begin = _page) -> None:
        self._read = read
        self._begin = begin
        self._text = text
        self._at = 0

    def fill(self) -> bool:
        """Read on; False at the end of the file."""
        more = self._read(CHUNK)
        self._text = self._text[self._at :] + more
        self._at = 0
        return bool(more)

    def peek(self) -> str:
        """The next character that is not blank; it is not consumed. "" at the end."""
        while True:
            self._at = _skip(self._text, self._at)
            if self._at < len(self._text) or not self.fill():
                return self._text[self._at : self._at + 1]

    def take(self) -> str:
        """The next character that is not blank; it is consumed. "" at the end."""
        character = self.peek()
        self._at += len(character)
        return character

    def at_page(self) -> bool:
        """Whether a page of users begins here."""
        if len(self._text) - self._at < _PAGE_HEAD:
            self.fill()
        return self._begin(self._text, self._at) is not None

    def page(self, users: int) -> Iterator[object]:
        """The users of the page that begins here; everything else in it is skipped. `users` were read before."""
        found = self._begin(self._text, self._at)
        self._at = found.end() if found else self._at
        for document in self.elements(users):
            users += 1
            yield document
        while (mark := self.take()) == ",":
            self._value(users)
            if self.take() != ":":
                raise unreadable(users, "is followed by something else than the end of the page")
            self._value(users)
        if mark != "}":
            raise unreadable(users, "is followed by something else than the end of the page")

    def elements(self, row: int) -> Iterator[object]:
        """The objects up to the end of the array, whose opening bracket was consumed; `row` were read before."""
        mark = self._separator(row + 1) if self.peek() == "]" else ","
        while mark == ",":
            row += 1
            yield self.document(row)
            mark = self._separator(row)

    def document(self, row: int) -> object:
        """The next object; the window grows until it holds all of it."""
        if self.peek() != "{":
            raise unreadable(row, "must be an object")
        return self._value(row)

    def expect_end_of_line(self, row: int) -> None:
        """Raise `InvalidRow` if more than blanks is left of what has been read."""
        if _skip(self._text, self._at) < len(self._text):
            raise unreadable(row, "has something after the page")

    def _separator(self, row: int) -> str:
        """The comma or bracket after a document."""
        found = _separator.match(self._text, self._at)
        if found:
            self._at = found.end()
            return found[1]
        character = self.take()
        if character not in {",", "]"}:
            raise unreadable(row, "has neither a comma nor the end of the array after it")
        return character

    def _value(self, row: int) -> object:
        self.peek()
        while True:
            try:
                value, self._at = _decode(self._text, self._at, row)
                return value
            except InvalidRow:  # broken, or only cut off by the end of the window
                if not self.fill():
                    raise
                if len(self._text) > MAX_DOCUMENT + CHUNK:
                    raise unreadable(row, f"is no JSON or is longer than {MAX_DOCUMENT:,} characters") from None


def _list_of(names: Collection[str]) -> Begin:
    return re.compile(rf'\{{\s*(?:"\w+"\s*:\s*{_SCALAR}\s*,\s*){{0,8}}"(?:{"|".join(names)})"\s*:\s*\[').match


def _skip(text: str, at: int) -> int:
    found = _blank.match(text, at)
    return found.end() if found else at


def _decode(text: str, at: int, row: int) -> tuple[object, int]:
    try:
        return _decoder.raw_decode(text, at)
    except JSONDecodeError as error:
        raise unreadable(row, f"is no JSON: {error.msg}") from None
    except RecursionError:
        raise unreadable(row, "is nested too deeply") from None
    except ValueError:  # an integer of more digits than Python reads
        raise unreadable(row, "has a number that is too long") from None
