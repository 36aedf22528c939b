"""A folder of an IMAP server, over TLS: a mail waits while it is neither seen nor flagged.

No state is kept on this side. Two readers at once do no harm: the recorder knows the reports.
"""

from __future__ import annotations

import imaplib
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from imap_tools import ImapToolsError, MailBox
from typing_extensions import override

from mailer.bounces.mailboxes.base import LARGEST, Mailbox, MailboxUnavailable, Waiting
from mailer.settings.bounces.mailbox import BounceMailbox

TIMEOUT = 30  # seconds for each command
LONGEST_IDLE = 300.0  # seconds; servers end a session that idles for 30 minutes (RFC 2177)
WAITING = f"UNSEEN UNFLAGGED UNDELETED SMALLER {LARGEST}"
TOO_LARGE = f"UNSEEN UNFLAGGED UNDELETED NOT SMALLER {LARGEST}"

FAILURES = (ImapToolsError, imaplib.IMAP4.error, OSError, ValueError)  # ValueError: a folder that no server has


class ImapFolder(Mailbox):
    """The folder that `place` names, opened with its user's `password`. The server's certificate is verified."""

    def __init__(self, place: BounceMailbox, password: str) -> None:
        self._place = place
        with self._told():
            self._box = _connected(place)
        try:
            with self._told():
                self._log_in(password)
                self._abilities = self._box.client.capability()[1][0].upper().split()  # there are more after the login
        except MailboxUnavailable:
            self.close()
            raise

    @override
    def waiting(self) -> Iterator[Waiting]:
        """Those that are neither seen nor flagged."""
        with self._told():
            found, large = (self._box.uids(wanted, charset=None) for wanted in (WAITING, TOO_LARGE))
        for uid in large:
            yield Waiting(uid, None)
        for uid in found:
            raw = self._raw(uid)
            if raw is not None:
                yield Waiting(uid, raw)

    @override
    def done(self, mail: Waiting) -> None:
        """Mark it as seen, or delete it and nothing else."""
        self._mark(mail.key, "(\\Seen \\Deleted)" if self._place.delete else "(\\Seen)")
        if self._place.delete:
            with self._told():
                plus = b"UIDPLUS" in self._abilities  # RFC 4315
                self._box.client.uid("EXPUNGE", mail.key) if plus else self._box.client.expunge()

    @override
    def set_aside(self, mail: Waiting) -> None:
        """Mark it as flagged, and leave it unseen."""
        self._mark(mail.key, "(\\Flagged)")

    @override
    def wait(self, seconds: float) -> None:
        """Have the server tell (IDLE, RFC 2177); where it cannot, wait."""
        seconds = min(seconds, LONGEST_IDLE)
        if b"IDLE" not in self._abilities:
            time.sleep(seconds)
            return
        with self._told():
            self._box.idle.wait(timeout=seconds)

    @override
    def close(self) -> None:
        """Log out."""
        with suppress(*FAILURES):
            self._box.logout()

    def _log_in(self, password: str) -> None:
        plain = self._place.user.isascii() and password.isascii()
        log_in = self._box.login if plain else self._box.login_utf8
        log_in(self._place.user, password, initial_folder=self._place.folder)

    def _raw(self, uid: str) -> bytes | None:
        """The mail's bytes, which stays unseen; None: it is gone meanwhile."""
        with self._told():
            _, found = self._box.client.uid("FETCH", uid, "(BODY.PEEK[])")
        return next((bytes(part[1]) for part in found if isinstance(part, tuple)), None)

    def _mark(self, uid: str, flags: str) -> None:
        with self._told():
            status, _ = self._box.client.uid("STORE", uid, "+FLAGS.SILENT", flags)
        if status != "OK":
            raise MailboxUnavailable(f"{self._place}: the server does not keep flags")

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Say every failure in one line that names the mailbox."""
        try:
            yield
        except FAILURES as error:
            words = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise MailboxUnavailable(f"{self._place}: {' '.join(str(words).split())[:300]}") from error


def _connected(place: BounceMailbox) -> MailBox:
    context = ssl.create_default_context(cafile=place.ca_file or None)
    return MailBox(place.host, place.port, timeout=TIMEOUT, ssl_context=context)
