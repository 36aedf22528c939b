"""What an engine is: it decides where and when planning and batches run.

docs/writing-an-engine.md shows how to add another. The database is the queue and the record, so an engine keeps nothing
that would be missed: losing it loses time and no message.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from mailer.campaigns.planning import Planner
from mailer.delivery.deliverer import Deliverer
from mailer.engines.foreground import work_until_told
from mailer.observer import UNOBSERVED, Observer
from mailer.settings import Settings
from mailer.storage.database import Database

Task = Callable[[threading.Event], None]
"""Work besides sending mail, such as the sync. It runs until the event is set, so it needs a thread of its own."""


def _nothing() -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class EngineParts:
    """What an engine is made from. All parts may be used by several threads, and by many processes at once.

    `planner.plan_next()` plans one campaign, `deliverer.run_next(stopping)` delivers one batch. Each returns False when
    there is nothing to do. Both hold what they work on by a lease of `settings.lease_seconds`. So while they run, the
    engine must call the `heartbeat()` of both, in the same process and several times a lease. `tasks` maps names to
    tasks. `observer` is told of a database that failed. `announced()` says whether `wake` is called now for work that
    any process brings: then idle workers need not look for it often. One of the tasks sees to that.

    Those named in `of_each_process` are about the process that delivers, so an engine that forks runs them in each.

    An engine that forks calls `db.close()` before the first fork, `after_fork` at the beginning of each process that it
    made, and `before_exit` at its end.
    """

    deliverer: Deliverer
    planner: Planner
    settings: Settings
    db: Database
    tasks: Mapping[str, Task] = field(default_factory=dict)
    observer: Observer = UNOBSERVED
    announced: Callable[[], bool] = bool  # which is False
    of_each_process: Collection[str] = ()
    after_fork: Callable[[], None] = _nothing
    before_exit: Callable[[], None] = _nothing


class Engine(ABC):
    """Runs planning and batches for as long as there are any.

    An engine may be made before its process forks, and is started after that. So its constructor makes no threads and
    connects to nothing: after a fork, Python takes a thread that was made before it for one that has ended.
    """

    forks: ClassVar[bool] = False
    """Whether `work` forks, so that each of the processes needs `after_fork` and `before_exit`."""

    @classmethod  # noqa: B027 - most engines work with any settings
    def check(cls, settings: Settings) -> None:
        """Raise `ConfigError` for settings that the engine cannot work with, before there is a database."""

    @abstractmethod
    def __init__(self, parts: EngineParts) -> None:
        """Keep the parts."""

    @abstractmethod
    def start(self) -> None:
        """Begin to run what is due, in this process or by telling other processes. Called once, after the fork."""

    @abstractmethod
    def wake(self) -> None:
        """Notice that there is new work. This is only a hint: work that nobody announces must be found soon as well."""

    @abstractmethod
    def stop(self, timeout: float) -> bool:
        """End after the checkpoints in hand, waiting at most `timeout` seconds; return False if some still go on."""

    @abstractmethod
    def trouble(self) -> str | None:
        """Return in words why nothing would run until this process is started anew; None when all is well.

        `/readyz` then answers 503.
        """

    def concern(self) -> str | None:
        """Return in words why nothing would run although this process is well; None when all is well.

        For what is mended elsewhere, such as a broker that is away. `/readyz` shows it as a warning. May ask the
        database, and raise its errors.
        """
        return None

    def unreachable(self) -> Mapping[str, str | None]:
        """Try what the engine needs beside the database, before it is started; by name, why each does not answer.

        None: it does. For `mailer config check`.
        """
        return {}

    def work(self) -> str | None:
        """Run in the foreground as `mailer worker` does, until SIGTERM or SIGINT.

        Return in words what was wrong at the end; None: nothing.
        """
        return work_until_told(self)
