"""Rows that one worker at a time holds: for as long as a lease lasts, and by a fence that tells the holders apart.

Whoever takes a row writes into it when the lease ends, and a fence one higher than before. Renewing moves the end. Who
stands still for longer than the lease (a stopped process, a long disk write) may find the row taken by another, who
has a higher fence. So everything that a holder writes names its own fence, and finds no row when that is not the
row's any more: two holders never write over one another, whatever their clocks say.

The end of a lease is a time by the database's clock, in ms since 1970. Which rows are free, and who is next, differs
from table to table; that is decided by the statement that finds the row, which also locks it until it is taken.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, true, update
from sqlalchemy.orm import InstrumentedAttribute

from mailer.storage.base import Base


def boot_time() -> float:
    """Seconds by this machine's clock, which goes on while the process is stopped or the machine sleeps.

    By it a holder knows, without asking the database, until when a row is surely its own.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Leases:
    """The leases on rows of `table`, each named by its `key`; `ends` is the column that has the end of the lease.

    `held` is a condition that is true of a row in somebody's hands; without it, any row may be.
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
        """Take the row, which the caller has locked and whose fence is `fence`, until `until` (ms); its new fence.

        `more` are columns to be written with it.
        """
        values = {**more, self._fence.key: fence + 1, self._ends: until}
        connection.execute(update(self._table).where(self._row(key, fence)).values(values))
        return fence + 1

    def mine(self, key: tuple[Any, ...], fence: Any) -> ColumnElement[bool]:
        """A condition: the row is still in the hands of whoever has `fence`. Values, or places for them."""
        return and_(self._row(key, fence), self._held)

    def write(self, connection: Connection, key: tuple[Any, ...], fence: int, values: Mapping[str, Any]) -> bool:
        """Write into a row in hand; False: it is another's, and nothing was written."""
        return connection.execute(update(self._table).where(self.mine(key, fence)).values(values)).rowcount == 1

    def renew(self, connection: Connection, key: tuple[Any, ...], fence: int, until: int) -> bool:
        """Hold it until `until` (ms); False: it is another's."""
        return self.write(connection, key, fence, {self._ends: until})

    def _row(self, key: tuple[Any, ...], fence: Any) -> ColumnElement[bool]:
        columns = zip((*self._key, self._fence), (*key, fence), strict=True)
        return and_(*(column == value for column, value in columns))
