"""The two functions that SQLite lacks, in Python: searching by regular expression and comparing JSON as a whole."""

from __future__ import annotations

import json
import sqlite3

from mailer.selector.literals import canonical_json
from mailer.selector.regex.compiled import compiled

REGEX_SEARCH = "mailer_regex_search"
CANONICAL_JSON = "mailer_canonical_json"


def add_functions(connection: sqlite3.Connection) -> None:
    """Give a new connection the functions that the conditions of `compile_selector` call."""
    connection.create_function(REGEX_SEARCH, 2, _search, deterministic=True)
    connection.create_function(CANONICAL_JSON, 1, _canonical, deterministic=True)


def _search(pattern: str, text: str | None) -> bool | None:
    """Whether the pattern matches in the text. The statement's tree keeps the compiled pattern."""
    return None if text is None else compiled(pattern).found_in(text)


def _canonical(text: str | None) -> str | None:
    return None if text is None else canonical_json(json.loads(text))
