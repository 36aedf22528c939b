"""$regex: the part of PCRE for which RE2 and PostgreSQL can both be made to match as MongoDB does.

Every character, class and case variant is written out for each engine, so that nothing depends on its options, its
locale or its own meaning of a word.
"""

from __future__ import annotations

import re
from typing import Any

import re2

from mailer.errors import InvalidQuery
from mailer.selector.limits import MAX_PATTERN
from mailer.selector.paths import check_text
from mailer.selector.regex import cost
from mailer.selector.regex.charsets import postgresql_set, re2_set
from mailer.selector.regex.compiled import Pattern, Regex, compiled
from mailer.selector.regex.pattern import QUANTIFIER, PatternReader, Token

_WORD = "[A-Za-z0-9_]"
_ASSERTIONS = {  # as PCRE writes it: for RE2, for PostgreSQL
    "^": (r"\A", r"\A"),
    "$": (r"(?:\n?\z)", r"(?:\n?\Z)"),  # also before a line end that is the last character, as in PCRE
    r"\A": (r"\A", r"\A"),
    r"\z": (r"\z", r"\Z"),
    r"\b": (r"\b", f"(?:(?<!{_WORD})(?={_WORD})|(?<={_WORD})(?!{_WORD}))"),
    r"\B": (r"\B", f"(?:(?<!{_WORD})(?!{_WORD})|(?<={_WORD})(?={_WORD}))"),
}
_FLAGS = re.compile(r"\(\?([imsx]+)\)")


def parse_regex(pattern: Any, options: Any) -> Regex:
    """Read $regex and $options. Raises InvalidQuery where an engine could not match the pattern as MongoDB does."""
    if not isinstance(pattern, str) or not isinstance(options, str):
        raise InvalidQuery("$regex and $options need texts.", operator="$regex")
    if len(pattern) > MAX_PATTERN:
        raise InvalidQuery(f"$regex takes at most {MAX_PATTERN} characters.", operator="$regex")
    if set(options) - set("imsx"):
        raise InvalidQuery("$options knows only i, m, s and x.", operator="$options")
    check_text(pattern)
    flags = _FLAGS.match(pattern)
    reader = PatternReader(pattern, flags.end() if flags else 0, frozenset(options + (flags[1] if flags else "")))
    tokens = reader.read()
    _check_ends(tokens)
    spelled = _spell(tokens, 0)
    for_postgresql = _spell(tokens, 1)
    length = max(len(spelled), len(for_postgresql))
    return Regex(spelled, for_postgresql, cost.seconds(tokens, length), _compiled(spelled))


def _spell(tokens: list[Token], engine: int) -> str:
    spell_set = (re2_set, postgresql_set)[engine]
    return "".join(
        spell_set(token)
        if isinstance(token, tuple)
        else _ASSERTIONS[token][engine]
        if token in _ASSERTIONS
        else token.replace("(", "(?:")
        for token in tokens
    )


def _compiled(pattern: str) -> Pattern:
    try:
        return compiled(pattern)
    except re2.error as error:
        raise InvalidQuery("$regex is too large.", operator="$regex") from error


def _check_ends(tokens: list[Token]) -> None:
    """Refuse a $ that something follows in its branch: neither engine can look ahead to a last line end."""
    for place, item in enumerate(tokens):
        if item == "$" and not _ends(tokens[place + 1 :]):
            raise InvalidQuery("$regex cannot take anything after $.", operator="$regex")


def _ends(rest: list[Token]) -> bool:
    depth = 0
    skipping = False
    for place, item in enumerate(rest):
        if item == "(" and skipping:
            depth += 1
        elif item == ")" and depth:
            depth -= 1
        elif item == ")":
            skipping = False
            if place + 1 < len(rest) and isinstance(rest[place + 1], str) and QUANTIFIER.match(str(rest[place + 1])):
                return False
        elif item == "|" and not depth:
            skipping = True
        elif not skipping:
            return False
    return True
