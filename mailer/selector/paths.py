"""Field names in a selector: how they are taken apart, and which ones nobody may select by."""

from __future__ import annotations

import json
import re

from mailer.errors import InvalidQuery
from mailer.selector.limits import MAX_INDEXES, MAX_SEGMENTS
from mailer.text import NUL, is_storable

FORBIDDEN_ROOTS = frozenset({"services", "mailer", "e2e"})
"""Credentials, the workspace's own unsubscribe mark and end-to-end keys: nothing below them can be named either."""

FORBIDDEN_WORDS = ("password", "passwd", "token", "secret", "bcrypt", "totp", "2fa", "twofactor", "privatekey")
"""A name in a path that contains one of these, in any case and with any punctuation, is taken for a credential's."""

DATE_FIELDS = frozenset({("createdAt",), ("lastLogin",), ("_updatedAt",)})
"""Fields whose dates are also given as milliseconds; in every other field numbers and dates are different types."""

_PLAIN = re.compile(r"[ !#-\[\]-~]+", re.ASCII)
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)


def split_path(name: str, *, root: bool) -> tuple[str, ...]:
    """The segments of a dotted field name; `root`: it starts at the user document, not at an array's element.

    Raises InvalidQuery where it is empty, too deep or forbidden.
    """
    segments = tuple(name.split("."))
    if len(segments) > MAX_SEGMENTS or sum(map(is_index, segments[1:])) > MAX_INDEXES:
        raise InvalidQuery(f"The field {quoted(name)} is too deep.", field=name)
    if root and (segments[0] in FORBIDDEN_ROOTS or segments[0].startswith("__")):
        raise InvalidQuery(f"The field {quoted(name)} cannot be selected by.", field=name)
    for segment in segments:
        check_name(segment, name)
    return segments


def check_name(segment: str, name: str) -> None:
    """Raise InvalidQuery, naming the whole `name`, where one segment of it cannot be selected by."""
    if not segment:
        raise InvalidQuery(f"The field {quoted(name)} has an empty name in it.", field=name)
    if segment.startswith("$"):
        raise InvalidQuery(f"The operator {quoted(name)} is not supported here.", operator=name)
    check_text(segment)
    folded = "".join(filter(str.isalnum, segment.casefold()))
    if any(word in folded for word in FORBIDDEN_WORDS):
        raise InvalidQuery(f"The field {quoted(name)} cannot be selected by.", field=name)


def check_text(text: str) -> None:
    """Raise InvalidQuery where no document can hold the text: it has a NUL or half a surrogate pair."""
    if not is_storable(text):
        found = "a NUL character" if NUL in text else "half a surrogate pair"
        raise InvalidQuery(f"The query holds {found}, in {quoted(text)}.")


def is_index(segment: str) -> bool:
    """Whether the segment may also be a position in an array."""
    return _INDEX.fullmatch(segment) is not None


def is_plain(segment: str) -> bool:
    """Whether the name is written the same in JSON and in SQLite's paths: it needs no escapes and no quotes."""
    return _PLAIN.fullmatch(segment) is not None


def quoted(name: str) -> str:
    """The name for an error message: escaped, and cut to 80 characters."""
    shown = json.dumps(name)
    return shown if len(shown) <= 80 else shown[:76] + '..."'
