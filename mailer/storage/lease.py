"""Rows that one worker at a time holds, for as long as its lease lasts. A number, the fence, tells the holders apart.

Whoever takes a row writes the end of the lease into it, and a fence one higher than before. Renewing moves the end. A
worker that stands still for longer than its lease (a stopped process, a long disk write) may find the row taken by
another, with a higher fence. So every write of a holder names its own fence, and finds no row if the row has another by
now: two holders never write over one another, whatever their clocks say.

The end of a lease is a time by the database's clock, in ms since 1970. Which rows are free, and who is next, differs
from table to table; that is decided by the statement that finds the row, which also locks it until it is taken.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, true, update
from sqlalchemy.orm import InstrumentedAttribute

from mailer.storage.models.base import Base


def boot_time() -> float:
    """Return the seconds since this machine booted, which also pass while the process is stopped or the machine sleeps.

    Nobody can set this clock. By it a holder knows, without asking the database, until when a row is certainly its own.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Leases:
    """The leases on rows of `table`. The columns `key` identify a row, and `ends` has the end of its lease.

    `held` is a condition that only a row which somebody holds meets. Without it, any row may be held.
    """

    def __init__(
        self,
        table: type[Base],
        *key: InstrumentedAttribute[Any],
        ends: InstrumentedAttribute[Any],
        held: ColumnElement[bool] | None = None,
    ) -> None:
        self._table = table
        self._key = key
        self._fence: InstrumentedAttribute[int] = table.fence  # type: ignore[attr-defined]
        self._ends = ends.key
        self._held = true() if held is None else held

    def take(self, connection: Connection, key: tuple[Any, ...], fence: int, until: int, **more: Any) -> int:
        """Take a row until `until` (ms since 1970), and return its new fence.

        The caller has locked the row and read its `fence`. `more` are the values of other columns to write.
        """
        values = {**more, self._fence.key: fence + 1, self._ends: until}
        connection.execute(update(self._table).where(self._row(key, fence)).values(values))
        return fence + 1

    def mine(self, key: tuple[Any, ...], fence: Any) -> ColumnElement[bool]:
        """A condition: whoever has `fence` still holds the row. The arguments are values or bind parameters."""
        return and_(self._row(key, fence), self._held)

    def write(self, connection: Connection, key: tuple[Any, ...], fence: int, values: Mapping[str, Any]) -> bool:
        """Write into a row that is held; return False if it is another's, and then nothing was written."""
        return connection.execute(update(self._table).where(self.mine(key, fence)).values(values)).rowcount == 1

    def renew(self, connection: Connection, key: tuple[Any, ...], fence: int, until: int) -> bool:
        """Move the end of the lease to `until` (ms since 1970); return False if the row is another's."""
        return self.write(connection, key, fence, {self._ends: until})

    def _row(self, key: tuple[Any, ...], fence: Any) -> ColumnElement[bool]:
        columns = zip((*self._key, self._fence), (*key, fence), strict=True)
        return and_(*(column == value for column, value in columns))
