"""A selector as a tree, once it has been read and accepted. Frozen and hashable; it knows no SQL."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from mailer.selector.regex.compiled import Regex


class Kind(Enum):
    """The BSON types that a JSON user document can hold.

    Values of different kinds are never equal, greater or less (MongoDB's type bracketing).
    """

    NULL = "null"
    BOOL = "bool"
    NUMBER = "number"
    STRING = "string"
    DATE = "date"  # milliseconds since 1970
    OBJECT_ID = "objectId"  # 24 lower-case hexadecimal digits
    ARRAY = "array"
    OBJECT = "object"
    INSTANT = "instant"  # of operands only: compared with dates and with numbers of milliseconds


class Comparison(Enum):
    """The comparison operators, by MongoDB's names."""

    EQ = "$eq"
    GT = "$gt"
    GTE = "$gte"
    LT = "$lt"
    LTE = "$lte"


@dataclass(frozen=True)
class Literal:
    """An operand. The value of an array or object is its canonical JSON text, see `literals.canonical_json`."""

    kind: Kind
    value: bool | int | float | str | None


@dataclass(frozen=True)
class Compare:
    """$eq, $gt, $gte, $lt, $lte."""

    comparison: Comparison
    literal: Literal


@dataclass(frozen=True)
class OneOf:
    """$in."""

    literals: tuple[Literal, ...]


@dataclass(frozen=True)
class Exists:
    """$exists: true."""


@dataclass(frozen=True)
class OfType:
    """$type, with the numbers already turned into MongoDB's names."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Mod:
    """$mod; the remainder has the sign of the dividend, as in C."""

    divisor: int
    remainder: int


@dataclass(frozen=True)
class Size:
    """$size."""

    length: int


@dataclass(frozen=True)
class ElemMatch:
    """$elemMatch. With `embedded`, the condition names fields of the element; otherwise it is about the element."""

    condition: Node
    embedded: bool


Test: TypeAlias = Compare | OneOf | Exists | OfType | Regex | Mod | Size | ElemMatch


@dataclass(frozen=True)
class Field:
    """Holds when some value that the path reaches passes the test.

    Under $elemMatch the empty path is the array's element itself.
    """

    path: tuple[str, ...]
    test: Test


@dataclass(frozen=True)
class And:
    """Holds when all parts hold, and when there are none."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Or:
    """Holds when some part holds; never when there are none."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Not:
    """Holds when the part does not."""

    part: Node


Node: TypeAlias = Field | And | Or | Not
