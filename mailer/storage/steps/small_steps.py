"""Long work on many rows as a row of small steps, each a short transaction, so that nobody waits long for a lock.

Such work is an iterator: it does one step for each value that it yields, and the value says how many rows were changed,
by a name for them. It may be left after any step, since a run that is killed leaves it so as well; the rows tell the
next run what is still to be done. `run_steps` does the steps at once, for a command. `StepwiseTask`, in the module
beside this one, does them whenever they are due, in one process of all, with pauses.

Whoever adds a table whose rows are to be deleted at an age needs three lines: a function that yields from
`delete_in_steps`, a `StepwiseTask` of that function under a name of its own, and its `run_periodically` among the
engine's tasks.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import ColumnElement, delete, inspect, select, tuple_

from mailer.storage.database import Database
from mailer.storage.models import Base

STEP = 500  # rows: some 20 ms, on a busy machine 100

Counts = Mapping[str, int]
Steps = Iterator[Counts]


def run_steps(steps: Iterable[Counts], after_each: Callable[[float], object] = lambda _seconds: None) -> Counter[str]:
    """Do all `steps` and return the sums of what they changed.

    `after_each` is given the seconds that a step took. It may wait, and what it raises ends the work there.
    """
    done: Counter[str] = Counter()
    following = iter(steps)
    while True:
        begun = time.monotonic()
        step = next(following, None)
        if step is None:
            return done
        done.update(step)
        after_each(time.monotonic() - begun)


def delete_in_steps(db: Database, table: type[Base], condition: ColumnElement[bool]) -> Steps:
    """Delete the rows of `table` that meet `condition`, some at a time, in the order of their primary key.

    The counts that it yields are named after the table. A row that meets the condition only later may be left.
    """
    key = inspect(table).primary_key
    last: tuple[Any, ...] | None = None
    while True:
        beyond = [] if last is None else [tuple_(*key) > tuple_(*last)]
        with db.read() as connection:
            found = connection.execute(select(*key).where(condition, *beyond).order_by(*key).limit(STEP)).all()
        if not found:
            return
        rows = [tuple(row) for row in found]
        with db.write(durable=False) as connection:  # what a loss of power brings back, the next run deletes again
            gone = connection.execute(delete(table).where(tuple_(*key).in_(rows), condition)).rowcount
        yield {table.__tablename__: gone}
        last = rows[-1]
