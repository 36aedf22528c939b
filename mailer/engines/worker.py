"""What every thread of an engine does: plan, deliver and keep leases alive, whatever happens."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from mailer.delivery.trouble import describe, full_traceback
from mailer.engines.base import EngineParts
from mailer.logs.context import bound_as
from mailer.logs.masking import without_addresses
from mailer.storage.database_errors import own_words

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5  # how late work that another process accepted is noticed, where nobody announces it
LONGEST_POLL_SECONDS = 5.0  # and how late what becomes due by itself is, where new work is announced
PAUSE_AFTER_TROUBLE = 2.0  # seconds
STOP_POLL_SECONDS = 0.1  # how late a pause notices that it must end
HEARTBEATS_PER_LEASE = 3


class Worker:
    """The two loops of an engine, which end only when they are told to.

    Several threads of a process may run `run`; one runs `keep_leases`.
    """

    def __init__(self, parts: EngineParts) -> None:
        self._deliverer = parts.deliverer
        self._planner = parts.planner
        self._observer = parts.observer
        self._heartbeat_seconds = parts.settings.lease_seconds / HEARTBEATS_PER_LEASE
        self._announced = parts.announced
        self._logged: set[str] = set()

    def run(self, stopping: threading.Event, work: threading.Event) -> None:
        """Plan and deliver what is due, until `stopping` is set. When nothing is due, wait for `work` or a moment.

        One campaign is planned, then one turn delivered, so that those who are planned need not wait for many who are
        not. Each thread needs a `work` of its own, since it clears it before it looks.
        """
        looks = 0  # that found nothing, one after the other
        while not stopping.is_set():
            work.clear()
            if self._step(stopping.is_set, lambda: False):
                looks = 0
                continue
            looks += 1
            if not stopping.is_set() and work.wait(self._pause(looks)):
                looks = 0

    def _pause(self, looks: int) -> float:
        """How many seconds to wait after so many looks that found nothing."""
        if not self._announced():
            return POLL_SECONDS
        return min(POLL_SECONDS * 2.0 ** min(looks - 1, 10), LONGEST_POLL_SECONDS)

    def run_for(self, seconds: float, stopping: Callable[[], bool]) -> bool:
        """Plan and deliver what is due for so many seconds; return whether more may be due.

        It ends early when nothing is due, and at the next checkpoint when `stopping()`.
        """
        ends = time.monotonic() + seconds

        def enough() -> bool:
            return time.monotonic() >= ends

        while not (stopping() or enough()):
            if not self._step(stopping, enough):
                return False
        return True

    def _step(self, stopping: Callable[[], bool], enough: Callable[[], bool]) -> bool:
        """Plan one campaign, then deliver one turn; return False if neither was due.

        After an error that is no campaign's it is logged, and the next step waits for a moment.
        """
        try:
            planned = self._planner.plan_next()
            return self._deliverer.run_next(stopping, enough) or planned
        except SQLAlchemyError as error:
            with bound_as(error):
                log.error("database trouble, trying again: %s", own_words(error))
            self._observer.database_retried()
        except Exception as error:  # noqa: BLE001 - no campaign is at fault, so the thread must go on
            with bound_as(error):
                self._log_error("delivery thread, trying again", error)
        _wait(PAUSE_AFTER_TROUBLE, stopping)
        return True

    def keep_leases(self, stopping: threading.Event) -> None:
        """Extend the leases of all that this process plans and delivers, again and again until `stopping` is set."""
        while not stopping.wait(self._heartbeat_seconds):
            try:
                self._deliverer.heartbeat()
                self._planner.heartbeat()
            except SQLAlchemyError as error:
                log.error("heartbeat: %s", own_words(error))
                self._observer.database_retried()
            except Exception as error:  # noqa: BLE001 - all leases of the process depend on this thread
                self._log_error("heartbeat, trying again", error)

    def _log_error(self, where: str, error: Exception) -> None:
        """Log the error in one line; the first time it occurs, also with its traceback."""
        words = describe(error)
        log.error("%s: %s", where, without_addresses(words))
        if words not in self._logged:
            self._logged.add(words)
            log.error("%s", full_traceback(error))


def _wait(seconds: float, stopping: Callable[[], bool]) -> None:
    ends = time.monotonic() + seconds
    while not stopping() and (left := ends - time.monotonic()) > 0:
        time.sleep(min(left, STOP_POLL_SECONDS))
