"""The lease of a batch as its holder sees it: until when nobody else can have taken the batch."""

from __future__ import annotations

from collections.abc import Iterator

from typing_extensions import override

from mailer.delivery.ledger import LeaseLost
from mailer.delivery.worklist import Claim
from mailer.storage.lease import boot_time
from transports.base import Message


class BatchLease:
    """A claim, and until when its lease lasts by this machine's clock, which goes on while the process is stopped."""

    def __init__(self, claim: Claim, lease: int, since: float) -> None:
        self.claim = claim
        self._lease = lease / 1000
        self.renew(since)

    def renew(self, since: float) -> None:
        """The database has extended the lease, at `since` (`boot_time`) or later."""
        self._ends = since + self._lease

    def verify(self) -> None:
        """Raise `LeaseLost` when the lease may be over."""
        if boot_time() >= self._ends:
            raise LeaseLost


class LeasedMessages(Iterator[Message]):
    """Messages that are given out only during the lease. Raises `LeaseLost` after it.

    It is checked at the end of the messages too: a transport asks for more before it has written the last ones.
    """

    def __init__(self, lease: BatchLease, messages: Iterator[Message]) -> None:
        self._lease = lease
        self._messages = messages

    @override
    def __next__(self) -> Message:
        self._lease.verify()
        return next(self._messages)
