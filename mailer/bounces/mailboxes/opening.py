"""The mailbox that a setting names, or the one message on standard input."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from typing_extensions import override

from mailer.bounces.formats.mime import is_mail
from mailer.bounces.mailboxes.base import LARGEST, Mailbox, MailboxUnavailable, Waiting
from mailer.bounces.mailboxes.imap import ImapFolder
from mailer.bounces.mailboxes.maildir import Maildir
from mailer.settings.bounces.mailbox import BounceMailbox


def open_mailbox(place: BounceMailbox, password: str) -> Mailbox:
    """Open it. Raises `MailboxUnavailable`."""
    return ImapFolder(place, password) if place.host else Maildir(place.folder, delete=place.delete)


def trouble_with(place: BounceMailbox, password: str) -> str | None:
    """Why the mailbox cannot be opened; None: it can. Nothing in it is read or changed."""
    try:
        open_mailbox(place, password).close()
    except MailboxUnavailable as error:
        return str(error)
    return None


class OneMessage(Mailbox):
    """A message that somebody pipes in, as Postfix does. There is no place to keep it: whoever pipes has it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.is_no_mail = False  # known once it was read

    @override
    def waiting(self) -> Iterator[Waiting]:
        """The one message."""
        raw = self._stream.read(LARGEST + 1)
        self.is_no_mail = not is_mail(raw)
        yield Waiting("stdin", raw if len(raw) <= LARGEST else None)

    @override
    def done(self, mail: Waiting) -> None:
        """Nothing: it is whoever's who pipes."""

    @override
    def set_aside(self, mail: Waiting) -> None:
        """Nothing, as above."""

    @override
    def wait(self, seconds: float) -> None:
        """Nothing more comes."""
