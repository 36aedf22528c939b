"""What is on record tells why somebody did not get a campaign, or what became of it: outcomes, reports and wishes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from mailer.audience import eligibility
from mailer.campaigns.deliveries import Reported
from mailer.suppression.history import Event, PastEvent
from mailer.times import to_iso


class Code(StrEnum):
    """What kind of answer it is: the status of the outcome, or why there is none."""

    SENT = "sent"
    FAILED = "failed"
    DEFERRED = "deferred"
    UNCERTAIN = "uncertain"
    SKIPPED = "skipped"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    DRY_RUN = "dry-run"
    NO_MATCH = "no-match"
    UNSUBSCRIBED = "unsubscribed"
    SUPPRESSED = "suppressed"
    INACTIVE = "inactive"
    NO_ADDRESS = "no-address"
    MERGED = "merged"
    CANCELLED = "cancelled"
    NOT_SENT = "not-sent"
    WAITING = "waiting"
    TOO_LATE = "too-late"
    NOT_KNOWN = "not-known"
    PURGED = "purged"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Reason:
    """An answer: its kind, and a sentence for people to read."""

    code: Code
    text: str


BOUNCE_ABOUT = {  # by `transports.base.About`
    "address": "the address",
    "mailbox": "the mailbox",
    "message": "the message",
    "sender": "the sender",
    "rate": "too much at once",
    "transport": "the way there",
}
_SKIPPED = (
    (eligibility.UNSUBSCRIBED, Code.UNSUBSCRIBED),
    (eligibility.DEACTIVATED, Code.INACTIVE),
    (eligibility.NO_ADDRESS, Code.NO_ADDRESS),
    ("The address is suppressed", Code.SUPPRESSED),
    ("Another user with the address", Code.MERGED),
    ("Somebody at the address", Code.MERGED),
)


class OnRecord(Protocol):
    """An outcome on record."""

    @property
    def status(self) -> str:
        """The status of the delivery."""

    @property
    def reply(self) -> str:
        """The mail server's own words, or why nothing was sent."""

    @property
    def updated_at(self) -> int:
        """When it was recorded, in ms since 1970."""

    @property
    def reported(self) -> Reported:
        """What was reported of the message later."""


def of_outcome(one: OnRecord, past: Sequence[PastEvent]) -> Reason:
    """What an outcome on record says, and what was reported later. `past` are the user's events, the latest first."""
    if (later := _of_reports(one.reported)) is not None:
        return later
    reply = one.reply
    if one.status != Code.SKIPPED:
        return Reason(Code(one.status), reply)
    code = next((code for words, code in _SKIPPED if reply.startswith(words)), Code.SKIPPED)
    if code is Code.UNSUBSCRIBED:
        return Reason(code, unsubscribed_by(one.updated_at, past) or reply)
    return Reason(code, reply)


def _of_reports(reported: Reported) -> Reason | None:
    """That a message was sent, and what became of it then; None: nothing is known."""
    if reported.complained_at is not None:
        return Reason(Code.COMPLAINED, f"It was sent, and they marked it as spam {when(reported.complained_at)}.")
    if reported.bounced_at is None:
        return None
    how = "for good" if reported.bounce_permanent else "for now"
    about = BOUNCE_ABOUT.get(reported.bounce_about or "", BOUNCE_ABOUT["message"])
    code = f" ({reported.bounce_status})" if reported.bounce_status else ""
    sentence = f"It was sent, and bounced {when(reported.bounced_at)}, {how}, because of {about}{code}"
    return Reason(Code.BOUNCED, f"{sentence}: {reported.bounce_reply}" if reported.bounce_reply else f"{sentence}.")


def unsubscribed_by(then: int, past: Sequence[PastEvent]) -> str | None:
    """Since when, and by what, they were unsubscribed at `then` (ms since 1970); None: they were not."""
    last = next((event for event in past if event.at is not None and event.at <= then), None)
    if last is None or last.event != Event.UNSUBSCRIBED or last.at is None:
        return None
    by = last.means if last.who is None else f"{last.means} ({last.who})"
    of = f", in a message of the campaign {last.campaign_id}" if last.campaign_id else ""
    return f"They had unsubscribed: {when(last.at)}, by {by}{of}."


def when(milliseconds: int | None) -> str:
    """A time (ms since 1970) to the second, in UTC."""
    return "at an unknown time" if milliseconds is None else to_iso(milliseconds, precision="seconds")
