"""What ended an attempt early, and the words for it: one line for the record, the traceback for the log."""

from __future__ import annotations

import re
import traceback
from dataclasses import dataclass

from mailer import text as text_rules
from mailer.errors import MailerError
from mailer.messages.template import UnusableText

LONGEST = 500  # characters
_ADDRESS = re.compile(r"\S+@\S+")


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why an attempt ended early, in words for people: the transport failed, the sender was refused, or an error."""

    transport: str | None = None
    sender: str | None = None
    error: str | None = None


class BrokenContract(Exception):
    """A transport gave no outcome for a message, two of them, or something that is no outcome."""


def describe(error: BaseException) -> str:
    """One line for people and for the database. An error that is not this service's own is named by its class."""
    if isinstance(error, (MailerError, UnusableText, BrokenContract)):
        return one_line(str(error))
    name = type(error).__name__
    try:
        words = str(error)
    except Exception:  # noqa: BLE001 - the class may be anybody's
        words = "(it has no words)"
    return one_line(f"an unexpected error, whose traceback is in the log: {name}: {words}")


def one_line(text: str) -> str:
    """`text` without control characters and lone surrogates, cut to `LONGEST` characters."""
    return text_rules.one_line(text).strip()[:LONGEST]


def without_addresses(text: str) -> str:
    """`text` with every word that has an `@` replaced."""
    return _ADDRESS.sub("<address>", text)


def full_traceback(error: BaseException) -> str:
    """The traceback, without addresses."""
    return without_addresses("".join(traceback.format_exception(error)))
