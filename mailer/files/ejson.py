"""MongoDB Extended JSON as user documents have it: dates and 64-bit numbers, brought into one form. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from math import isfinite
from typing import Any

from mailer.times import from_iso

MAX_INTEGER = 2**63 - 1
MIN_TIME = -62_135_596_800_000  # milliseconds: the years 1 to 9999, which every program can show
MAX_TIME = 253_402_300_799_999

NOT_A_DATE = "is no date: neither ISO 8601 nor milliseconds, within the years 1 to 9999"
NOT_A_NUMBER = "is no number of 64 bits"


def from_extended(value: dict[str, Any]) -> Any:
    """The value that `{"$date": …}` or `{"$number…": …}` stands for; any other object is given back as it is.

    A date becomes `{"$date": <int milliseconds>}`, and a number an int or a float. Raises ValueError.
    """
    if len(value) != 1:
        return value
    ((key, inner),) = value.items()
    convert = _CONVERT.get(key)
    return convert(inner) if convert else value


def canonical_date(value: object) -> dict[str, int]:
    """`{"$date": ms}` for an ISO 8601 string (UTC unless it says otherwise) or milliseconds; raises `ValueError`."""
    moment = _iso(value) if isinstance(value, str) else value
    if isinstance(moment, float) and moment.is_integer():
        moment = int(moment)
    if isinstance(moment, bool) or not isinstance(moment, int) or not MIN_TIME <= moment <= MAX_TIME:
        raise ValueError(NOT_A_DATE)
    return {"$date": moment}


def _iso(text: str) -> int:
    try:
        return from_iso(text)
    except ValueError:
        raise ValueError(NOT_A_DATE) from None


def _integer(value: object) -> int:
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,19}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not -MAX_INTEGER - 1 <= value <= MAX_INTEGER:
        raise ValueError(NOT_A_NUMBER)
    return value


def _double(value: object) -> float:
    try:
        number = float(value) if isinstance(value, str | int | float) else float("nan")
    except (ValueError, OverflowError):
        raise ValueError(NOT_A_NUMBER) from None
    if not isfinite(number):
        raise ValueError(NOT_A_NUMBER)
    return number


_CONVERT: dict[str, Callable[[object], Any]] = {
    "$date": canonical_date,
    "$numberLong": _integer,
    "$numberInt": _integer,
    "$numberDouble": _double,
}
