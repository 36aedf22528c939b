"""Regular expressions: the part of PCRE that RE2 and PostgreSQL can both be made to read as MongoDB does.

Every character, class and case variant is spelled out for the engine, so that nothing hangs on its options, its locale
or its idea of what a word is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NoReturn

import re2

from mailer.errors import InvalidQuery
from mailer.selector.charsets import CLASSES, DOT, EVERYTHING, Ranges, complement, fold, merge, postgresql_set, re2_set
from mailer.selector.limits import MAX_PATTERN
from mailer.selector.paths import check_text
from mailer.selector.tree import Regex

_WORD = "[A-Za-z0-9_]"
_ASSERTIONS = {  # what to write for it in RE2 and in PostgreSQL
    "^": (r"\A", r"\A"),
    "$": (r"(?:\n?\z)", r"(?:\n?\Z)"),  # also before a line end that is the last character, as in PCRE
    r"\A": (r"\A", r"\A"),
    r"\z": (r"\z", r"\Z"),
    r"\b": (r"\b", f"(?:(?<!{_WORD})(?={_WORD})|(?<={_WORD})(?!{_WORD}))"),
    r"\B": (r"\B", f"(?:(?<!{_WORD})(?!{_WORD})|(?<={_WORD})(?={_WORD}))"),
}
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f"}
_QUANTIFIER = re.compile(r"(?:[*+?]|\{(\d{1,3})(?:(,)(\d{0,3}))?\})", re.ASCII)
_FLAGS = re.compile(r"\(\?([imsx]+)\)")
_HEX = re.compile(r"x(?:([0-9a-fA-F]{2})|\{([0-9a-fA-F]{1,6})\})", re.ASCII)
_POSIX = re.compile(r"\[[:.=]")
MAX_REPEAT = 255  # PostgreSQL's

Token = str | Ranges
"""`(`, `)`, `|`, a quantifier or a key of `_ASSERTIONS`; or the set of characters that one may be."""


def parse_regex(pattern: Any, options: Any) -> Regex:
    """Read $regex and $options. Raises InvalidQuery where one engine cannot read the pattern as MongoDB does."""
    if not isinstance(pattern, str) or not isinstance(options, str):
        raise InvalidQuery("$regex and $options need texts.", operator="$regex")
    if len(pattern) > MAX_PATTERN:
        raise InvalidQuery(f"$regex takes at most {MAX_PATTERN} characters.", operator="$regex")
    if set(options) - set("imsx"):
        raise InvalidQuery("$options knows only i, m, s and x.", operator="$options")
    check_text(pattern)
    flags = _FLAGS.match(pattern)
    reader = _Reader(pattern, flags.end() if flags else 0, frozenset(options + (flags[1] if flags else "")))
    tokens = reader.read()
    regex = Regex(_spell(tokens, 0), _spell(tokens, 1))
    _check_compiles(regex.re2)
    return regex


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


def _check_compiles(pattern: str) -> None:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    try:
        re2.compile(pattern, options)
    except re2.error as error:
        raise InvalidQuery("$regex is too large.", operator="$regex") from error


def _refuse(what: str) -> NoReturn:
    raise InvalidQuery(f"$regex cannot take {what}.", operator="$regex")


@dataclass
class _Reader:
    """One pass over a pattern."""

    pattern: str
    at: int
    flags: frozenset[str]

    def read(self) -> list[Token]:
        """The tokens of the whole pattern, checked to be in an order that is an expression."""
        tokens: list[Token] = []
        depth = 0
        while self._more():
            item = self._next()
            depth += (item == "(") - (item == ")")
            if depth < 0:
                _refuse("a ) without its (")
            self._check_order(tokens, item)
            tokens.append(item)
        if depth:
            _refuse("a ( without its )")
        _check_ends(tokens)
        return tokens

    def _more(self) -> bool:
        if "x" in self.flags:
            blank = re.compile(r"(?:[ \t\n\v\f\r]|#[^\n]*(?:\n|\Z))*").match(self.pattern, self.at)
            self.at = blank.end() if blank else self.at
        return self.at < len(self.pattern)

    def _next(self) -> Token:
        quantifier = _QUANTIFIER.match(self.pattern, self.at)
        if quantifier:
            return self._quantifier(quantifier)
        character = self.pattern[self.at]
        self.at += 1
        match character:
            case "(":
                return self._group()
            case ")" | "|":
                return character
            case "^" | "$":
                return self._line_anchor(character)
            case "\\":
                return self._assertion() or self._fold(self._escaped_set())
            case _:
                return self._characters(character)

    def _characters(self, first: str) -> Ranges:
        match first:
            case ".":
                return EVERYTHING if "s" in self.flags else DOT
            case "[":
                return self._fold(self._set())
            case "{":
                _refuse("a { that is no repetition")
            case _:
                return self._fold(((ord(first), ord(first)),))

    def _quantifier(self, found: re.Match[str]) -> str:
        """The quantifier without its laziness: whether there is a match does not depend on it."""
        low, _, high = found.groups()
        numbers = [int(number) for number in (low, high) if number]
        if any(number > MAX_REPEAT for number in numbers) or numbers != sorted(numbers):
            _refuse(f"the repetition {found[0]}")
        self.at = found.end()
        if self.pattern.startswith("?", self.at):
            self.at += 1
        elif self.pattern.startswith("+", self.at):
            _refuse("a possessive repetition")
        return found[0]

    def _group(self) -> str:
        if self.pattern.startswith("?:", self.at):
            self.at += 2
        elif self.pattern.startswith(("?", "*"), self.at):
            _refuse("a group that starts with (" + self.pattern[self.at : self.at + 2])
        return "("

    def _line_anchor(self, character: str) -> str:
        if "m" in self.flags:
            _refuse(f"{character} together with the option m")
        return character

    def _fold(self, ranges: Ranges) -> Ranges:
        return fold(ranges) if "i" in self.flags else ranges

    def _assertion(self) -> str | None:
        letter = self.pattern[self.at : self.at + 1]
        if not letter or letter not in "AzZbB":
            return None
        self.at += 1
        return "$" if letter == "Z" else "\\" + letter

    def _escaped_set(self) -> Ranges:
        hexadecimal = _HEX.match(self.pattern, self.at)
        if hexadecimal:
            self.at = hexadecimal.end()
            return _single(int(hexadecimal[1] or hexadecimal[2], 16))
        letter = self.pattern[self.at : self.at + 1]
        self.at += 1
        if letter in CLASSES:
            return CLASSES[letter]
        if letter in _CONTROLS:
            return _single(ord(_CONTROLS[letter]))
        if not letter or not letter.isascii() or letter.isalnum():
            _refuse("\\" + letter)
        return _single(ord(letter))

    def _set(self) -> Ranges:
        """A bracket expression, after its [."""
        negated = self.pattern.startswith("^", self.at)
        self.at += negated
        ranges: list[tuple[int, int]] = []
        first = True
        while first or not self.pattern.startswith("]", self.at):
            if self.at >= len(self.pattern):
                _refuse("a [ without its ]")
            ranges += self._set_member()
            first = False
        self.at += 1
        merged = merge(ranges)
        if negated:
            merged = complement(fold(merged) if "i" in self.flags else merged)
        return merged or _refuse("a set of no characters")

    def _set_member(self) -> Ranges:
        low = self._set_atom()
        dash = self.pattern.startswith("-", self.at) and not self.pattern.startswith("-]", self.at)
        if not dash:
            return low
        self.at += 1
        high = self._set_atom()
        if any(len(atom) != 1 or atom[0][0] != atom[0][1] for atom in (low, high)) or low > high:
            _refuse("such a range in [ ]")
        return ((low[0][0], high[0][0]),)

    def _set_atom(self) -> Ranges:
        if _POSIX.match(self.pattern, self.at):
            _refuse("a class by name in [ ]")
        character = self.pattern[self.at : self.at + 1]
        self.at += 1
        if character == "\\":
            return self._escaped_set()
        return _single(ord(character)) if character else _refuse("a [ without its ]")

    @staticmethod
    def _check_order(before: list[Token], token: Token) -> None:
        if isinstance(token, str) and _QUANTIFIER.match(token):
            last = before[-1] if before else "("
            if isinstance(last, str) and (last != ")" or _empty_group(before)):
                _refuse(f"a {token} with nothing to repeat")


def _single(code: int) -> Ranges:
    if code == 0 or code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        _refuse("a character that no text holds")
    return ((code, code),)


def _empty_group(tokens: list[Token]) -> bool:
    return tokens[-2:] == ["(", ")"]


def _check_ends(tokens: list[Token]) -> None:
    """Neither engine can look ahead to a last line end, so nothing may follow a $ in its branch."""
    for place, item in enumerate(tokens):
        if item == "$" and not _ends(tokens[place + 1 :]):
            _refuse("anything after $")


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
            if place + 1 < len(rest) and isinstance(rest[place + 1], str) and _QUANTIFIER.match(str(rest[place + 1])):
                return False
        elif item == "|" and not depth:
            skipping = True
        elif not skipping:
            return False
    return True
