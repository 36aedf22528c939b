"""Files of users, read one user after the other: a table, a JSON array, NDJSON, or pages of `users.list`.

Each reader yields a row's number and its document. The number is where a person finds the user in the file: the row
that a spreadsheet shows, the line of NDJSON, the place among the users of an array or of pages. A file that cannot be
read as what it is raises `InvalidRow` for the field `document`. The documents themselves are not checked here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from mailer.directory.user_tables import TableOptions, UserTable
from mailer.files.json_streams import Documents, read_json, read_ndjson
from mailer.files.text_files import TextFile

TABLES = {".csv", ".tsv", ".tab", ".txt"}
DEFAULT_TABLE = TableOptions()
LINES = {".ndjson", ".jsonl"}


class UserFile:
    """The documents of a file, which can be iterated once, and what had to be assumed to read them."""

    def __init__(self, text: TextFile, name: str = "", table_options: TableOptions = DEFAULT_TABLE) -> None:
        """The format is told by the suffix of `name`, else by how the file begins. Raises `InvalidRow`."""
        self._text = text
        self._table: UserTable | None = None
        self._documents: Documents
        suffix = PurePath(name).suffix.lower()
        first = text.peek().lstrip()[:1]
        if suffix in LINES:
            self._documents = read_ndjson(text)
        elif suffix == ".json" or (first in {"{", "["} and suffix not in TABLES):
            self._documents = read_json(text)
        else:
            self._table = UserTable(text, table_options)
            self._documents = iter(self._table)

    def __iter__(self) -> Iterator[tuple[int, object]]:
        """The row's number and the document, or for a table its `TableRow`, of each user."""
        return self._documents

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed so far, a sentence each; complete after the last user."""
        return (*self._text.notes, *(self._table.notes if self._table else ()))
