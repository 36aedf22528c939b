"""What ended an attempt early, in words: one line for the database, the traceback for the log."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from mailer import text as text_rules
from mailer.errors import MailerError
from mailer.logs.masking import without_addresses
from mailer.messages.template import UnusableText
from mailer.storage.database import is_database_trouble

LONGEST = 500  # characters


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why an attempt ended early, in words for people; each field is None unless it was a cause.

    `transport`: the transport failed. `sender`: the sender was refused. `error`: there was an unexpected error.
    `retry_after` is the seconds after which the transport can be tried again, where it said so.
    """

    transport: str | None = None
    sender: str | None = None
    error: str | None = None
    retry_after: float | None = None


class BrokenContract(Exception):
    """A transport gave no outcome for a message, gave two for it, or gave something that is no outcome."""


def describe(error: BaseException) -> str:
    """Describe an error in one line, for people and for the database. Foreign errors are named by their class."""
    if isinstance(error, (MailerError, UnusableText, BrokenContract)):
        return one_line(str(error))
    name = type(error).__name__
    try:
        words = str(error)
    except Exception:  # noqa: BLE001 - a third party's class may fail at this
        words = "(it has no words)"
    return one_line(f"an unexpected error, whose traceback is in the log: {name}: {words}")


def is_the_campaigns(error: BaseException) -> bool:
    """Whether an error is taken as the campaign's: trouble of the machine or the database would meet every campaign."""
    return not isinstance(error, (OSError, MemoryError, KeyboardInterrupt)) and not is_database_trouble(error)


def one_line(text: str) -> str:
    """Return `text` without control characters and lone surrogates, cut to `LONGEST` characters."""
    return text_rules.one_line(text).strip()[:LONGEST]


def full_traceback(error: BaseException) -> str:
    """Return the error's traceback, without addresses."""
    return without_addresses("".join(traceback.format_exception(error)))
