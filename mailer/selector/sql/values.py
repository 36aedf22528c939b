"""What the walk along paths needs from a database's JSON; one class per database implements it."""

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
    """A JSON value in the database, or its absence. Conditions may be NULL, which means no."""

    @abstractmethod
    def member(self, key: str) -> Value:
        """The member of an object; missing in everything else."""

    @abstractmethod
    def entry(self, key: str) -> Value:
        """The member of an object or the element of an array, whose key is a position then."""

    @abstractmethod
    def items(self) -> Items:
        """The elements of an array, none of anything else."""

    @abstractmethod
    def items_or_itself(self) -> Items:
        """The elements of an array; anything else, missing included, counts as the one element.

        Of a scalar only that it is no document is kept.
        """

    def contains(self, _kind: Kind, _value: Any) -> Condition | None:
        """Whether it is this scalar or an array that holds it, where the database can tell that in one step."""
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
        """What compares with `operand`: the SQL value if it is of this kind, else NULL. Not for nulls and instants.

        For arrays and objects it is of use for equality only.
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
        """Whether it is a string in which the expression is found."""

    @abstractmethod
    def has_remainder(self, divisor: int, remainder: int) -> Condition:
        """Whether it is a number whose whole part leaves the remainder."""

    @abstractmethod
    def has_length(self, length: int) -> Condition:
        """Whether it is an array of so many elements."""


@dataclass(frozen=True)
class Items:
    """The elements of an array as rows: a lateral table, and the value and position (from 0) in a row of it."""

    source: FromClause
    value: Value
    position: ColumnElement[int]
