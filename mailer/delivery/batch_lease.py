"""A batch in hand, and until when it is surely ours."""

from __future__ import annotations

from collections.abc import Iterator

from typing_extensions import override

from mailer.delivery.ledger import LeaseLost
from mailer.delivery.worklist import Claim
from mailer.storage.machine_clock import boot_time
from transports.base import Message


class BatchLease:
    """A claim and until when it is surely ours, by this machine's clock, which goes on while a process is stopped."""

    def __init__(self, claim: Claim, lease: int, since: float) -> None:
        self.claim = claim
        self._lease = lease / 1000
        self.renew(since)

    def renew(self, since: float) -> None:
        """The database gave another lease, which began at `since` or later."""
        self._ends = since + self._lease

    def verify(self) -> None:
        """Raise `LeaseLost` when the lease may be over."""
        if boot_time() >= self._ends:
            raise LeaseLost


class LeasedMessages(Iterator[Message]):
    """Messages, given out only while the batch is surely ours. Raises `LeaseLost`.

    Also at their end: a transport asks for more while the last ones it has drawn are still to be written.
    """

    def __init__(self, lease: BatchLease, messages: Iterator[Message]) -> None:
        self._lease = lease
        self._messages = messages

    @override
    def __next__(self) -> Message:
        self._lease.verify()
        return next(self._messages)
