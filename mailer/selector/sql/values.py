"""The interface to a database's JSON that conditions are built from; there is one class for each database."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, FromClause

from mailer.selector.tree import Comparison, Kind

Condition: TypeAlias = ColumnElement[bool]

COMPARE: Mapping[Comparison, Callable[[Any, Any], Condition]] = {
    Comparison.EQ: operator.eq,
    Comparison.GT: operator.gt,
    Comparison.GTE: operator.ge,
    Comparison.LT: operator.lt,
    Comparison.LTE: operator.le,
}


class Value(ABC):
    """A JSON value in the database, which may be missing. Conditions on it may be NULL, which counts as false."""

    @abstractmethod
    def member(self, key: str) -> Value:
        """The member of an object; a missing value for anything else."""

    @abstractmethod
    def entry(self, key: str) -> Value:
        """The member `key` of an object, or the element at the position `key` of an array."""

    @abstractmethod
    def items(self) -> Items:
        """The elements of an array, none of anything else."""

    @abstractmethod
    def items_or_itself(self) -> Items:
        """The elements of an array; anything else, also a missing value, counts as an array of that one element.

        Of a scalar only the fact that it is no document is kept.
        """

    def contains(self, _kind: Kind, _value: Any) -> Condition | None:
        """Whether it is this scalar, or an array with it, where the database can tell in one step; else None."""
        return None

    @abstractmethod
    def is_array(self) -> Condition:
        """Whether it is an array."""

    @abstractmethod
    def is_document(self) -> Condition:
        """Whether it is an object that is no date and no object id."""

    @abstractmethod
    def is_present(self) -> Condition:
        """Whether it is not missing."""

    @abstractmethod
    def is_null(self) -> Condition:
        """Whether it is null or missing."""

    @abstractmethod
    def is_literal_null(self) -> Condition:
        """Whether it is null and not missing."""

    @abstractmethod
    def scalar(self, kind: Kind) -> ColumnElement[Any]:
        """The SQL value to compare with `operand`, NULL if it is not of this kind. Not for nulls and instants.

        Arrays and objects can only be compared for equality.
        """

    @abstractmethod
    def operand(self, kind: Kind, value: Any) -> ColumnElement[Any]:
        """A bind parameter that compares with `scalar(kind)`."""

    @abstractmethod
    def is_among(self, kind: Kind, values: Sequence[Any]) -> Condition:
        """Whether it is one of many values of this kind; not for nulls, booleans and instants."""

    @abstractmethod
    def has_number_type(self, name: str) -> Condition:
        """Whether it is an "int" (32 bits), "long" (64 bits) or "double", by how the number is written."""

    @abstractmethod
    def matches(self, re2: str, postgresql: str) -> Condition:
        """Whether it is a string in which the regular expression matches, given in the form for each engine."""

    @abstractmethod
    def has_remainder(self, divisor: int, remainder: int) -> Condition:
        """Whether it is a number whose whole part, divided by `divisor`, leaves `remainder`."""

    @abstractmethod
    def has_length(self, length: int) -> Condition:
        """Whether it is an array of `length` elements."""


@dataclass(frozen=True)
class Items:
    """The elements of an array as rows: a lateral table, and the value and position (from 0) in a row of it."""

    source: FromClause
    value: Value
    position: ColumnElement[int]
