"""Sets of characters as ranges of code points: merged, complemented, case-folded, and written for an engine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import TypeAlias

from mailer.errors import InvalidQuery

Ranges: TypeAlias = tuple[tuple[int, int], ...]

LAST = 0x10FFFF
CASED_LAST = 0x1E943  # no character beyond has upper and lower case
MAX_FOLDED = 0x3000  # characters of a set whose case variants are looked up, one by one


def merge(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """The same set in order and without overlaps."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def complement(ranges: Ranges) -> Ranges:
    """Every other character, but for NUL, which no text holds."""
    gaps: list[tuple[int, int]] = []
    start = 1
    for low, high in ranges:
        if start < low:
            gaps.append((start, low - 1))
        start = high + 1
    if start <= LAST:
        gaps.append((start, LAST))
    return tuple(gaps)


def fold(ranges: Ranges) -> Ranges:
    """The set with every case variant of its characters, by Unicode's simple case folding."""
    if sum(min(high, CASED_LAST) - low + 1 for low, high in ranges if low <= CASED_LAST) > MAX_FOLDED:
        raise InvalidQuery("$regex takes no range as large as that with the option i.", operator="$regex")
    codes = (code for low, high in ranges for code in range(low, min(high, CASED_LAST) + 1))
    return merge([*ranges, *((each, each) for code in codes for each in _variants().get(code, ()))])


@cache
def _variants() -> Mapping[int, tuple[int, ...]]:
    """Code point -> all code points that fold to the same character, where there are several."""
    families: dict[str, list[int]] = defaultdict(list)
    for code in range(CASED_LAST + 1):
        families[_folded(chr(code))].append(code)
    return {code: tuple(family) for family in families.values() if len(family) > 1 for code in family}


def _folded(character: str) -> str:
    for candidate in (character.casefold(), character.lower()):
        if len(candidate) == 1:
            return candidate
    return character


def re2_set(ranges: Ranges) -> str:
    """The set as a regular expression for RE2."""
    return _spelled(ranges, lambda code: f"\\x{{{code:x}}}", "(?s:.)")


def postgresql_set(ranges: Ranges) -> str:
    """The set as a regular expression for PostgreSQL."""
    return _spelled(ranges, lambda code: f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}", ".")


def _spelled(ranges: Ranges, escape: Callable[[int], str], everything: str) -> str:
    def spell(code: int) -> str:
        return chr(code) if code < 0x80 and chr(code).isalnum() else escape(code)

    gaps = complement(ranges)
    if not gaps:
        return everything
    negated = ranges[-1][1] == LAST
    shown = gaps if negated else ranges
    if not negated and len(shown) == 1 and shown[0][0] == shown[0][1]:
        return spell(shown[0][0])
    spans = (spell(low) if low == high else f"{spell(low)}-{spell(high)}" for low, high in shown)
    return f"[{'^' if negated else ''}{''.join(spans)}]"


EVERYTHING: Ranges = ((1, LAST),)
DOT = complement(((0x0A, 0x0A),))
_DIGIT: Ranges = ((0x30, 0x39),)
_WORD: Ranges = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
_SPACE: Ranges = ((0x09, 0x0D), (0x20, 0x20))
CLASSES: Mapping[str, Ranges] = {
    "d": _DIGIT,
    "D": complement(_DIGIT),
    "w": _WORD,
    "W": complement(_WORD),
    "s": _SPACE,
    "S": complement(_SPACE),
}
