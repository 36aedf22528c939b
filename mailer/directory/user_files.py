"""Files of users, read one by one in flat memory: a table, a JSON array, NDJSON, or pages of `users.list`.

Each reader yields `(row, document)`. The row is what a person looks for in the file: the row a spreadsheet shows, the
line of NDJSON, the place among the users of an array or of pages. Nothing is checked here but that the file can be read
as what it is; anything else is an `InvalidRow` of the field `document`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from mailer.directory.user_tables import Reading, UserTable
from mailer.files.json_streams import Documents, read_json, read_ndjson
from mailer.files.text_files import TextFile

TABLES = {".csv", ".tsv", ".tab", ".txt"}
PLAIN = Reading()
LINES = {".ndjson", ".jsonl"}


class UserFile:
    """The documents of a file, once, and what had to be assumed to read them."""

    def __init__(self, text: TextFile, name: str = "", reading: Reading = PLAIN) -> None:
        """Read by the suffix of `name`, or else by what the file begins with. Raises `InvalidRow`."""
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
            self._table = UserTable(text, reading)
            self._documents = iter(self._table)

    def __iter__(self) -> Iterator[tuple[int, object]]:
        """Each with its row."""
        return self._documents

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed, a sentence each; complete when all has been read."""
        return (*self._text.notes, *(self._table.notes if self._table else ()))
