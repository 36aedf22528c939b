"""Text files in any of the usual encodings, and what had to be assumed to read them.

UTF-8 (with or without byte order mark), UTF-16 and UTF-32 are told by their bytes. Bytes that are not UTF-8 in an
otherwise readable file are taken for Windows-1252, which spreadsheets write; a note says so. A file that is no text,
such as a workbook, is refused with its kind.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from io import BufferedReader, TextIOWrapper
from typing import Any

from mailer.errors import InvalidRow

WINDOWS = "cp1252"
HELD = 1 << 16  # characters
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32"}
MARKS |= {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}  # after UTF-32, which begins with the same
NAMES = {"utf-16": "UTF-16", "utf-16-le": "UTF-16", "utf-16-be": "UTF-16", "utf-32": "UTF-32"}

_SAVE = "save it as CSV (UTF-8)"
_ZIPPED = {
    b"xl/": f"is an Excel workbook (.xlsx): {_SAVE}",
    b"opendocument.spreadsheet": f"is an OpenDocument spreadsheet (.ods): {_SAVE}",
    b"[Content_Types].xml": f"is an Office file such as .xlsx: {_SAVE}",
    b"": "is a zip archive: unpack it",
}
_BINARIES = {
    rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": f"is an old Excel or Office file (.xls): {_SAVE}",
    rb"\x1f\x8b|BZh[1-9]|\xfd7zXZ\0|7z\xbc\xaf|\x28\xb5\x2f\xfd|Rar!": "is compressed: unpack it",
    rb"%PDF-": "is a PDF",
    rb"\{\\rtf": f"is a text document (.rtf): {_SAVE}",
    rb"SQLite format 3\0": "is a database (SQLite)",
    rb"(?i)\s*<(?:!doctype|\?xml|html|table|head|meta)\b": f"is HTML or XML, whatever its name: {_SAVE}",
    rb"(?i)BEGIN:VCARD": f"is an address book (vCard): {_SAVE}",
}
_foreign = re.compile("[\udc80-\udcff]")


class TextFile:
    """`file` as text, with its line ends as they are. The caller closes the file.

    `encoding` overrules what the bytes say. Raises `InvalidRow` for the field `file` if it cannot be read as text.
    """

    def __init__(self, file: BufferedReader[Any], encoding: str | None = None) -> None:
        head = file.peek()
        _refuse_binary(head)
        self._named = encoding is not None
        self._encoding = _codec(encoding) if encoding else _detected(head)
        errors = "strict" if self._named or self._encoding in NAMES else "surrogateescape"
        self._file = file
        self._text = TextIOWrapper(file, encoding=self._encoding, errors=errors, newline="")
        self._held: list[str] = []  # lines, the last of which may be cut
        self._line = 0  # how many have been read
        self._windows: list[int] = []  # the first line in Windows-1252, and how many there are

    def readline(self, size: int = -1) -> str:
        """The next line with its end, or `size` characters of it; "" at the end of the file."""
        return self._next(self._text.readline, size)

    def read(self, size: int) -> str:
        """The next `size` characters; "" at the end of the file."""
        return self._next(self._text.read, size)

    def __iter__(self) -> Iterator[str]:
        """The lines that have not been read yet."""
        return iter(self.readline, "")

    def peek(self) -> str:
        """The text up to the end of the first line that is not blank, or some of a long line; it is not consumed."""
        while not (held := "".join(self._held)).strip() and len(held) < HELD:
            line = self._decoded(self._text.readline, HELD)
            if not line:
                break
            self._held.append(line)
        return held

    def close(self) -> None:
        """Detach from the file, which stays open."""
        if not self._file.closed:
            self._text.detach()

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed in reading it so far, a sentence each; nothing for UTF-8."""
        if self._windows:
            first, count = self._windows
            lines = f"line {first}" + (f" and {count - 1} more are" if count > 1 else " is")
            return (f"{lines} not in UTF-8: read as Windows-1252 (cp1252)",)
        return (f"read as {NAMES[self._encoding]}",) if self._encoding in NAMES and not self._named else ()

    def _next(self, read: Callable[[int], str], size: int) -> str:
        if not self._held:
            return self._decoded(read, size)
        line = self._held.pop(0)
        if 0 <= size < len(line):
            self._held.insert(0, line[size:])
            return line[:size]
        if read == self._text.read or line.endswith(("\n", "\r")) or len(line) == size:
            return line
        return line + self._next(read, size - len(line) if size >= 0 else size)

    def _decoded(self, read: Callable[[int], str], size: int) -> str:
        try:
            text = read(size)
        except UnicodeDecodeError as error:
            line = self._line + 1 + error.object[: error.start].count(b"\n")
            name = NAMES.get(self._encoding, self._encoding)
            raise InvalidRow(line, "file", f"is not in {name}, or is cut short") from None
        if not text.isascii() and _foreign.search(text):
            text = self._from_windows(text)
        self._line += text.count("\n")
        return text

    def _from_windows(self, text: str) -> str:
        """`text` with its foreign bytes read as Windows-1252. Five of them mean nothing there and stay."""
        first, count = self._windows or (self._line + 1 + text[: _first(text)].count("\n"), 0)
        self._windows = [first, count + sum(1 for line in text.split("\n") if _foreign.search(line))]
        return _foreign.sub(lambda found: _windows(found[0]), text)


def _first(text: str) -> int:
    found = _foreign.search(text)
    return found.start() if found else 0


def _windows(character: str) -> str:
    try:
        return character.encode("ascii", "surrogateescape").decode(WINDOWS)
    except UnicodeDecodeError:
        return character


def _codec(name: str) -> str:
    try:
        return codecs.lookup(name).name
    except (LookupError, ValueError):
        raise InvalidRow(1, "file", f"no encoding is called {name!r}; utf-8, utf-16 and cp1252 are") from None


def _detected(head: bytes) -> str:
    """The encoding by the first bytes. UTF-16 without byte order mark has a NUL beside each of its first letters."""
    for mark, name in MARKS.items():
        if head.startswith(mark):
            return name
    first = head[:2]
    if len(first) == 2 and first.count(0) == 1 and head[2:4].count(0):
        return "utf-16-be" if first[0] == 0 else "utf-16-le"
    return "utf-8"


def _refuse_binary(head: bytes) -> None:
    problem = next((problem for magic, problem in _BINARIES.items() if re.match(magic, head)), None)
    if re.match(rb"PK(?:\x03\x04|\x05\x06|\x07\x08)", head):
        problem = next(problem for part, problem in _ZIPPED.items() if part in head)
    if problem:
        raise InvalidRow(1, "file", problem)
