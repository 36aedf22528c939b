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
from mailer.settings import Settings

Task = Callable[[threading.Event], None]
"""Work beside the mail, such as the sync: runs until the event is set, and is to have a thread of its own."""


@dataclass(frozen=True, slots=True)
class EngineParts:
    """What an engine is made from. All parts may be used by several threads, and by many processes at once.

    `planner.plan_next()` plans one campaign, `deliverer.run_next(stopping)` delivers one batch. Each returns False when
    there is nothing to do. Both take what they work on under a lease of `settings.lease_seconds`, so while they run
    somebody must call the `heartbeat()` of both, in the same process and several times a lease. `tasks` are by name.
    """

    deliverer: Deliverer
    planner: Planner
    settings: Settings
    tasks: Mapping[str, Task] = field(default_factory=dict)


class Engine(ABC):
    """Runs planning and batches for as long as there are any.

    It may be made before a process forks, and is started after it. So making it makes no threads and connects to
    nothing: Python holds a thread that was made before a fork for one that has ended.
    """

    @abstractmethod
    def __init__(self, parts: EngineParts) -> None:
        """Keep the parts. Raises `ConfigError` for settings that it cannot work with."""

    @abstractmethod
    def start(self) -> None:
        """Begin to run what is due, in this process or by telling others. Called once, after the fork."""

    @abstractmethod
    def wake(self) -> None:
        """There is new work. Only a hint: work that nobody announces must be found soon all the same."""

    @abstractmethod
    def stop(self, timeout: float) -> bool:
        """End after the checkpoints in hand, waiting up to `timeout` seconds; False if some had not ended by then."""

    @abstractmethod
    def trouble(self) -> str | None:
        """Why nothing would run now, for people to read; None when all is well. `/readyz` shows it."""
