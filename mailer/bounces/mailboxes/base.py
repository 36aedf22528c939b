"""What every mailbox is: it has mails that wait, and each is marked once it is known what has become of it.

Nothing is marked before its reports are committed. A process that is killed in between leaves the mail waiting. It is
then read again, and the recorder knows its reports already.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

LARGEST = 25 * 1024 * 1024  # bytes; a report with a whole newsletter in it has a tenth of that


class MailboxUnavailable(Exception):
    """The mailbox cannot be read now; the text says which, and why, in one line."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A mail that waits. `key` is the mailbox's own; `raw` None: it is larger than any report, and was not read."""

    key: str
    raw: bytes | None


class Mailbox(ABC):
    """A mailbox that is open. Every method raises `MailboxUnavailable`."""

    @abstractmethod
    def waiting(self) -> Iterator[Waiting]:
        """The mails that are neither done nor set aside, the oldest first. What arrives meanwhile waits on."""

    @abstractmethod
    def done(self, mail: Waiting) -> None:
        """Keep the mail as read, or delete it, as the mailbox is set up."""

    @abstractmethod
    def set_aside(self, mail: Waiting) -> None:
        """Leave the mail, flagged, for a person to look at. It is not read again while the flag is there."""

    @abstractmethod
    def wait(self, seconds: float) -> None:
        """Return when something may have arrived, or after so many seconds."""

    def close(self) -> None:  # noqa: B027 - a mailbox that holds nothing has nothing to give back
        """Give back the connection."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
