"""The counts of rates, quotas and warm-ups in the database, so that all processes keep them together.

A process takes the slots of a tenth of a second at a time, at most 50. So a rate costs all processes together about ten
short writes a second, or one for 50 messages. A process that dies loses what is left of its last block.
"""

from __future__ import annotations

from datetime import date

from sqlalchemy import Connection, select, update
from typing_extensions import override

from mailer.storage.database import AnyRow, Database
from mailer.storage.database_errors import DATABASE_ERRORS, in_public
from mailer.storage.dialects import Upsert
from mailer.storage.models import SlotCount
from transports.base import Transport
from transports.rate import rates_of
from transports.slots import Block, Count, CounterAway, Limits, SlotCounter, hand_out

_DAYS = (SlotCount.day, SlotCount.used, SlotCount.first_day, SlotCount.days)
_COUNT = select(SlotCount.next_at_us, *_DAYS)
_ADD = Upsert(SlotCount, lambda new: new.on_conflict_do_nothing())


class SharedSlots(SlotCounter):
    """Keeps the counts in the database, by its clock. After a power cut the last counts may be lost."""

    def __init__(self, db: Database) -> None:
        self._db = db

    @override
    def take(self, limits: Limits, wanted: int, unused: Block) -> Block:
        try:
            with self._db.write(durable=False) as connection:
                count = lock(connection, limits.key)
                count, block = hand_out(limits, count, self._db.clock(connection), wanted, unused)
                write(connection, limits.key, count)
        except DATABASE_ERRORS as error:
            raise _away(error) from error
        return block

    @override
    def read(self, limits: Limits) -> tuple[Count, float]:
        try:
            with self._db.read() as connection:
                row = connection.execute(_COUNT.where(SlotCount.key == limits.key)).one_or_none()
                now = self._db.clock(connection)
        except DATABASE_ERRORS as error:
            raise _away(error) from error
        return (_count(row) if row else Count()).on(limits.day_of(now)), now


def lock(connection: Connection, key: str) -> Count:
    """The count of `key`, which nobody else changes until the transaction ends."""
    mine = _COUNT.where(SlotCount.key == key).with_for_update()
    row = connection.execute(mine).one_or_none()
    if row is None:
        add(connection, key)
        row = connection.execute(mine).one()
    return _count(row)


def _count(row: AnyRow) -> Count:
    next_at_us, *days = row
    return Count(next_at_us / 1000, *days)


def add(connection: Connection, key: str) -> None:
    """Begin the count of `key`, unless it is there."""
    _ADD.run(connection, {"key": key, "next_at_us": 0, "day": 0, "used": 0, "first_day": 0, "days": 0})


def write(connection: Connection, key: str, count: Count) -> None:
    """Write the count of `key`, whose row the caller has locked."""
    values = {column.key: getattr(count, column.key) for column in _DAYS}
    values["next_at_us"] = round(count.next_at * 1000)
    connection.execute(update(SlotCount).where(SlotCount.key == key).values(values))


def _away(error: Exception) -> CounterAway:
    return CounterAway(f"the database, in which the rate is counted: {in_public(error)}")


def in_words(db: Database, transport: Transport) -> list[str]:
    """The limits of a transport and its members, a sentence each, with how far the day's are used up.

    Raises `CounterAway`.
    """
    counter = SharedSlots(db)
    return [_in_words(rate.limits, counter.read(rate.limits)[0]) for rate in rates_of(transport)]


def _in_words(limits: Limits, count: Count) -> str:
    words = f"{limits.key}: {limits.text}"
    allowed = limits.allowance(count.days)
    if limits.warmup is not None:
        since = date.fromordinal(count.first_day).isoformat() if count.first_day else "the first message"
        state = f"day {count.days + 1} with mail" if limits.warms_up(count.days) else "over"
        words += f"; warm-up since {since}: {state}"
    return words if allowed is None else f"{words}; {count.used} of {allowed} used today"
