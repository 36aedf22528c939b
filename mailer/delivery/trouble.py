"""What ended an attempt early, and how an unexpected error is told: on record in a line, in the log once whole."""

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
    """In words for people: the transport's, the refusal of the sender, or an unexpected error; None where it is not."""

    transport: str | None = None
    sender: str | None = None
    error: str | None = None


class BrokenContract(Exception):
    """A transport that answered for a message twice, not at all, or with what is no outcome."""


def describe(error: BaseException) -> str:
    """One line for people, fit to be kept. What is not ours to say in better words is named as Python names it."""
    if isinstance(error, (MailerError, UnusableText, BrokenContract)):
        return one_line(str(error))
    name = type(error).__name__
    try:
        words = str(error)
    except Exception:  # noqa: BLE001 - the class may be anybody's
        words = "(it has no words)"
    return one_line(f"an unexpected error, whose traceback is in the log: {name}: {words}")


def one_line(text: str) -> str:
    """`text` without control characters and lone surrogates, cut to a length that is fit to be kept."""
    return text_rules.one_line(text).strip()[:LONGEST]


def without_addresses(text: str) -> str:
    """`text` with every word that has an `@` replaced."""
    return _ADDRESS.sub("<address>", text)


def full_traceback(error: BaseException) -> str:
    """The traceback, fit for the log."""
    return without_addresses("".join(traceback.format_exception(error)))
