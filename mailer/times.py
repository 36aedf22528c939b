"""Times as everywhere in this service, whole milliseconds since 1970 in UTC, and their text in ISO 8601."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


def to_iso(milliseconds: int, *, precision: str = "milliseconds") -> str:
    """The time in UTC, `2015-01-01T00:00:00.000Z`; with the precision "seconds" `2015-01-01T00:00:00Z`.

    What is finer than the precision is cut. Raises OverflowError outside the years 1 to 9999.
    """
    moment = EPOCH + milliseconds * MILLISECOND
    return moment.isoformat(timespec=precision).removesuffix("+00:00") + "Z"


def from_iso(text: str) -> int:
    """The milliseconds of an ISO 8601 date or time, which is in UTC unless it names another offset.

    What is finer than milliseconds is cut. Raises ValueError for any other text.
    """
    moment = datetime.fromisoformat(text)
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - EPOCH) // MILLISECOND
