"""Reads a pattern into a list of tokens, or refuses it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn, TypeAlias

from mailer.errors import InvalidQuery
from mailer.selector.regex.charsets import CLASSES, DOT, EVERYTHING, Ranges, complement, fold, merge

MAX_REPEAT = 255  # PostgreSQL's
QUANTIFIER = re.compile(r"(?:[*+?]|\{(\d{1,3})(?:(,)(\d{0,3}))?\})", re.ASCII)
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f"}
_HEX = re.compile(r"x(?:([0-9a-fA-F]{2})|\{([0-9a-fA-F]{1,6})\})", re.ASCII)
_POSIX = re.compile(r"\[[:.=]")

Token: TypeAlias = str | Ranges
"""`(`, `)`, `|`, a quantifier or an assertion as PCRE writes it; or a set, of which one character matches."""


def _refuse(what: str) -> NoReturn:
    raise InvalidQuery(f"$regex cannot take {what}.", operator="$regex")


@dataclass
class PatternReader:
    """Reads a pattern once from left to right; `at` is the place of the next character."""

    pattern: str
    at: int
    flags: frozenset[str]

    def read(self) -> list[Token]:
        """The tokens of the whole pattern. Raises InvalidQuery where they are no expression, or not a supported one."""
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
        return tokens

    def _more(self) -> bool:
        if "x" in self.flags:
            blank = re.compile(r"(?:[ \t\n\v\f\r]|#[^\n]*(?:\n|\Z))*").match(self.pattern, self.at)
            self.at = blank.end() if blank else self.at
        return self.at < len(self.pattern)

    def _next(self) -> Token:
        quantifier = QUANTIFIER.match(self.pattern, self.at)
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
                return self._assertion() or self._escaped_set()
            case _:
                return self._characters(character)

    def _characters(self, first: str) -> Ranges:
        match first:
            case ".":
                return EVERYTHING if "s" in self.flags else DOT
            case "[":
                return self._set()
            case "{":
                _refuse("a { that is no repetition")
            case _:
                return self._fold(((ord(first), ord(first)),))

    def _quantifier(self, found: re.Match[str]) -> str:
        """The quantifier without a `?` that makes it lazy: whether there is a match does not depend on that."""
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
        """After a backslash: a class, which is not case-folded, or a character."""
        letter = self.pattern[self.at : self.at + 1]
        if letter not in CLASSES or not letter:
            return self._fold(self._escaped_character())
        self.at += 1
        return CLASSES[letter]

    def _escaped_character(self) -> Ranges:
        hexadecimal = _HEX.match(self.pattern, self.at)
        if hexadecimal:
            self.at = hexadecimal.end()
            return _single(int(hexadecimal[1] or hexadecimal[2], 16))
        letter = self.pattern[self.at : self.at + 1]
        self.at += 1
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
        return (complement(merged) if negated else merged) or _refuse("a set of no characters")

    def _set_member(self) -> Ranges:
        if self._at_class():
            self.at += 2
            return self._no_range_follows(CLASSES[self.pattern[self.at - 1]])
        low = self._set_character()
        if not self.pattern.startswith("-", self.at) or self.pattern.startswith("-]", self.at):
            return self._fold(low)
        self.at += 1
        if self._at_class():
            _refuse("such a range in [ ]")
        high = self._set_character()
        if low > high:
            _refuse("such a range in [ ]")
        return self._fold(((low[0][0], high[0][0]),))

    def _no_range_follows(self, ranges: Ranges) -> Ranges:
        if self.pattern.startswith("-", self.at) and not self.pattern.startswith("-]", self.at):
            _refuse("a range that starts with a class")
        return ranges

    def _at_class(self) -> bool:
        return self.pattern.startswith("\\", self.at) and self.pattern[self.at + 1 : self.at + 2] in (*CLASSES,)

    def _set_character(self) -> Ranges:
        if _POSIX.match(self.pattern, self.at):
            _refuse("a class by name in [ ]")
        character = self.pattern[self.at : self.at + 1]
        self.at += 1
        if character == "\\":
            return self._escaped_character()
        return _single(ord(character)) if character else _refuse("a [ without its ]")

    @staticmethod
    def _check_order(before: list[Token], token: Token) -> None:
        if isinstance(token, str) and QUANTIFIER.match(token):
            last = before[-1] if before else "("
            if isinstance(last, str) and (last != ")" or _empty_group(before)):
                _refuse(f"a {token} with nothing to repeat")


def _single(code: int) -> Ranges:
    if code == 0 or code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        _refuse("a character that no text holds")
    return ((code, code),)


def _empty_group(tokens: list[Token]) -> bool:
    return tokens[-2:] == ["(", ")"]
