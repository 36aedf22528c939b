"""What an engine is: it decides where and when batches run, and holds no state that the database lacks."""

from __future__ import annotations

from abc import ABC, abstractmethod


class Engine(ABC):
    """Runs planning and batches until the outbox is empty. Losing it loses nothing but time."""

    @abstractmethod
    def start(self) -> None:
        """Begin to run what is due, in this process or by telling others."""

    @abstractmethod
    def wake(self) -> None:
        """Say that there is new work; without it the work is found a little later."""

    @abstractmethod
    def stop(self, timeout: float) -> bool:
        """End after the checkpoints in hand, waiting up to `timeout` seconds; False if some had not ended by then."""

    @abstractmethod
    def trouble(self) -> str | None:
        """Why nothing would run now, for people to read; None when all is well."""
