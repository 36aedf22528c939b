"""What an engine is: it decides where and when planning and batches run.

docs/writing-an-engine.md shows how to add another. The database is the queue and the record, so an engine keeps nothing
that would be missed: losing it loses time and no message.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mailer.campaigns.planning import Planner
from mailer.delivery.deliverer import Deliverer
from mailer.observer import UNOBSERVED, Observer
from mailer.settings import Settings

Task = Callable[[threading.Event], None]
"""Work besides sending mail, such as the sync. It runs until the event is set, so it needs a thread of its own."""


@dataclass(frozen=True, slots=True)
class EngineParts:
    """What an engine is made from. All parts may be used by several threads, and by many processes at once.

    `planner.plan_next()` plans one campaign, `deliverer.run_next(stopping)` delivers one batch. Each returns False when
    there is nothing to do. Both hold what they work on by a lease of `settings.lease_seconds`. So while they run, the
    engine must call the `heartbeat()` of both, in the same process and several times a lease. `tasks` maps names to
    tasks. `observer` is told of a database that failed. `announced()` says whether `wake` is called now for work that
    any process brings: then idle workers need not look for it often. One of the tasks sees to that.
    """

    deliverer: Deliverer
    planner: Planner
    settings: Settings
    tasks: Mapping[str, Task] = field(default_factory=dict)
    observer: Observer = UNOBSERVED
    announced: Callable[[], bool] = bool  # which is False


class Engine(ABC):
    """Runs planning and batches for as long as there are any.

    An engine may be made before its process forks, and is started after that. So its constructor makes no threads and
    connects to nothing: after a fork, Python takes a thread that was made before it for one that has ended.
    """

    @abstractmethod
    def __init__(self, parts: EngineParts) -> None:
        """Keep the parts. Raises `ConfigError` for settings that the engine cannot work with."""

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
        """Return in words for people why nothing would run now; None when all is well. `/readyz` shows it."""
