"""The lease of a batch as its holder sees it: until when nobody else can have taken the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from typing_extensions import override

from mailer.delivery.ledger import LeaseLost
from mailer.delivery.worklist import Claim
from mailer.storage.lease import boot_time
from transports.base import Message


class BatchLease:
    """A claim, and until when its lease lasts by `boot_time`, a clock that goes on while the process is stopped.

    `lease` is in ms; `since`, here and below, is a time in seconds of `boot_time`.
    """

    def __init__(self, claim: Claim, lease: int, since: float) -> None:
        self.claim = claim
        self._lease = lease / 1000
        self.renew(since)

    def renew(self, since: float) -> None:
        """Note that the database has extended the lease, at `since` or later."""
        self._ends = since + self._lease

    def keep(self, since: float) -> None:
        """Note that a checkpoint was recorded, at `since` or later: it leaves half of the lease or more."""
        self._ends = max(self._ends, since + self._lease / 2)

    def verify(self) -> None:
        """Raise `LeaseLost` if the lease may have ended, so that another worker may have the batch."""
        if boot_time() >= self._ends:
            raise LeaseLost


class LeasedMessages(Iterator[Message]):
    """Messages that are given out only while the lease lasts. After that `LeaseLost` is raised.

    `left` tells how many are still to come, at most; 0 once the checkpoint is over. A transport that has to wait before
    it may draw a message asks for it meanwhile, by `operator.length_hint`.

    The lease is checked once more when there are no more messages: a transport asks for the next before it has sent
    those that it was given.
    """

    def __init__(self, lease: BatchLease, messages: Iterator[Message], left: Callable[[], int]) -> None:
        self._lease = lease
        self._messages = messages
        self._left = left

    @override
    def __next__(self) -> Message:
        self._lease.verify()
        return next(self._messages)

    def __length_hint__(self) -> int:
        self._lease.verify()
        return self._left()
