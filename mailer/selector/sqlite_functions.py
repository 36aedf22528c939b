"""The two functions that SQLite lacks, in Python: searching by regular expression and comparing JSON as a whole."""

from __future__ import annotations

import json
import sqlite3
from functools import lru_cache
from typing import Any

import re2

from mailer.selector.literals import canonical_json

REGEX_SEARCH = "mailer_regex_search"
CANONICAL_JSON = "mailer_canonical_json"


def register(connection: sqlite3.Connection) -> None:
    """Add the functions that conditions of `compile_selector` call to a new connection."""
    connection.create_function(REGEX_SEARCH, 2, _search, deterministic=True)
    connection.create_function(CANONICAL_JSON, 1, _canonical, deterministic=True)


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> Any:
    return re2.compile(pattern.encode())


def _search(pattern: str, text: str | None) -> bool | None:
    """Whether the text has it; as bytes, because the wrapper takes thrice as long to count in characters."""
    return None if text is None else _compiled(pattern).search(text.encode()) is not None


def _canonical(text: str | None) -> str | None:
    return None if text is None else canonical_json(json.loads(text))
