"""Mails read one by one: what each reports is recorded, and only then is the mail marked."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from mailer.bounces.formats.mime import is_mail
from mailer.bounces.mailboxes.base import Mailbox
from mailer.bounces.reading import Mail, read
from mailer.bounces.report import Kind, Record, Recorded, Report

# What a reader of mail may trip over in what strangers send. Such a mail must not keep the others from being read.
UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, RecursionError)


class Collected(NamedTuple):
    """What became of some mails. The fields from `bounced` on are those of `Recorded`, and count reports."""

    mails: int = 0
    automatic: int = 0  # answers of machines, from which nothing follows
    set_aside: int = 0  # not understood, and left for a person
    bounced: int = 0
    complained: int = 0
    unsubscribed: int = 0
    delayed: int = 0
    repeated: int = 0
    unknown: int = 0

    def words(self) -> str:
        """Those that are not zero, for a log or a terminal."""
        told = {name.replace("_", " "): count for name, count in self._asdict().items() if count}
        return ", ".join(f"{name}: {count}" for name, count in told.items()) or "mails: 0"


def collect(mailbox: Mailbox, record: Record, pause: Callable[[], object] = bool) -> Collected:
    """Read every mail that waits. `pause` is called before each, and may raise to end it there.

    Raises `MailboxUnavailable`, and what `record` raises: the mail in hand then still waits.
    """
    sums = Collected()
    for mail in mailbox.waiting():
        pause()
        taken = take(mail.raw, record)
        (mailbox.set_aside if taken.set_aside else mailbox.done)(mail)
        sums = Collected(*map(sum, zip(sums, taken, strict=True)))
    return sums


def take(raw: bytes | None, record: Record) -> Collected:
    """Record what one mail reports. A mail that a person has written unsubscribes, if it went to such an address.

    `raw` None is a mail that is too large to be read.
    """
    mail = _read(raw)
    if mail is not None and mail.reports:
        return _counted(record(mail.reports))
    if mail is not None and mail.automatic:
        return Collected(mails=1, automatic=1)
    wish = Report(kind=Kind.UNSUBSCRIBED, sent_to=mail.sent_to) if mail is not None and mail.sent_to else None
    recorded = record((wish,)) if wish else Recorded(unknown=1)
    return Collected(mails=1, set_aside=1) if recorded.unknown else _counted(recorded)


def _read(raw: bytes | None) -> Mail | None:
    try:
        return None if raw is None or not is_mail(raw) else read(raw)
    except UNREADABLE:
        return None


def _counted(recorded: Recorded) -> Collected:
    return Collected(mails=1, **recorded._asdict())
