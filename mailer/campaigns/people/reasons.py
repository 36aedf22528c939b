"""Why somebody did not get a campaign, for one campaign and one user: the first reason that holds.

Whom a campaign selected is not on record, but for those with an outcome. So the reason is found again, from the user as
they are now, the history of their wishes, and when the campaign began. Where that cannot tell, the answer says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from sqlalchemy import Connection, exists, select
from sqlalchemy.orm import aliased

from mailer.audience import eligibility
from mailer.audience.earlier import selected
from mailer.audience.shared_addresses import address_unsubscribed
from mailer.audience.user_states import UserState
from mailer.campaigns.deliveries import Reported
from mailer.campaigns.people.person import Person
from mailer.campaigns.stops import Stops
from mailer.errors import InvalidQuery
from mailer.storage.database import AnyRow
from mailer.storage.models import Batch, BatchState, CampaignState, Delivery, User, comparable_address
from mailer.suppression.history import Event, PastEvent
from mailer.suppression.suppressed_addresses import Refusal
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
        return Reason(code, _unsubscribed_by(one.updated_at, past) or reply)
    return Reason(code, reply)


def _of_reports(reported: Reported) -> Reason | None:
    """That a message was sent, and what became of it then; None: nothing is known."""
    if reported.complained_at is not None:
        return Reason(Code.COMPLAINED, f"It was sent, and they marked it as spam {_when(reported.complained_at)}.")
    if reported.bounced_at is None:
        return None
    how = "for good" if reported.bounce_permanent else "for now"
    about = BOUNCE_ABOUT.get(reported.bounce_about or "", BOUNCE_ABOUT["message"])
    code = f" ({reported.bounce_status})" if reported.bounce_status else ""
    sentence = f"It was sent, and bounced {_when(reported.bounced_at)}, {how}, because of {about}{code}"
    return Reason(Code.BOUNCED, f"{sentence}: {reported.bounce_reply}" if reported.bounce_reply else f"{sentence}.")


def of_nothing(connection: Connection, campaign: AnyRow, one: Person | None, stopped: Stops) -> Reason:
    """Why there is no outcome. `campaign` is a row with the columns of `explain.CAMPAIGN`."""
    early = _before_planning(campaign, stopped)
    if early is not None:
        return early
    if one is None:
        return Reason(Code.GONE, "They are not in the directory any more, and got nothing of this campaign.")
    if campaign.body == "":
        return Reason(Code.PURGED, "What it said was purged, so nobody knows any more whom it selected.")
    return _not_in_audience(connection, campaign, one) or _not_reached(connection, campaign, one, stopped)


def _before_planning(campaign: AnyRow, stopped: Stops) -> Reason | None:
    if campaign.dry_run:
        return Reason(Code.DRY_RUN, "A dry run goes to the address in From alone.")
    if campaign.state == CampaignState.FAILED and campaign.started_at is None:
        return Reason(Code.NOT_SENT, f"It could not be sent at all: {campaign.reason}")
    if campaign.state == CampaignState.CANCELLED and campaign.started_at is None:
        return Reason(Code.CANCELLED, "It was cancelled before it was planned.")
    if campaign.started_at is None:
        return Reason(Code.WAITING, f"It is not planned yet.{_state(campaign, stopped)}")
    return None


def _not_in_audience(connection: Connection, campaign: AnyRow, one: Person) -> Reason | None:
    """What kept them out when the campaign was planned, in the order in which an audience is narrowed."""
    user, then = one.user, campaign.started_at
    try:
        matches = connection.scalar(select(User.id).where(User.id == user.id, selected(campaign.query)))
    except InvalidQuery:
        return Reason(Code.NO_MATCH, "Its query is of another version, and cannot be asked any more.")
    if matches is None:
        return Reason(Code.NO_MATCH, "Its query does not select them, as they stand in the directory now.")
    if left := _unsubscribed_by(then - 1, one.history):
        return Reason(Code.UNSUBSCRIBED, left)
    if user.email is None:
        return Reason(Code.NO_ADDRESS, "The directory has no valid address for them.")
    refusal = one.refusal
    if refusal is not None and refusal.suppressed_at is not None and refusal.suppressed_at < then:
        why = f"Their address was suppressed since {_when(refusal.suppressed_at)}, {_why(refusal)}"
        return Reason(Code.SUPPRESSED, why)
    return _merged(connection, campaign, one) if campaign.merge_addresses else None


def _why(refusal: Refusal) -> str:
    if refusal.blocked_by is not None:
        return f"blocked by {refusal.blocked_by}: {refusal.reason}"
    if refusal.complained_at is not None:
        return f"as somebody there marked a message as spam {_when(refusal.complained_at)}."
    how = "refused" if refusal.bounced_at is None else "refused or bounced"
    return f"{how} in {refusal.campaigns} campaigns: {refusal.reply}"


def _merged(connection: Connection, campaign: AnyRow, one: Person) -> Reason | None:
    twin = aliased(User)
    theirs = (comparable_address(twin) == comparable_address(), twin.id != User.id, User.id == one.user.id)
    outcome = exists().where(Delivery.campaign_id == campaign.id, Delivery.user_id == twin.id)
    other = connection.scalar(select(twin.id).join(User, User.id == one.user.id).where(*theirs, outcome).limit(1))
    if other is not None:
        return Reason(Code.MERGED, f"The user {other} has the same address and got the one message for it.")
    wished = select(User.id).where(User.id == one.user.id, address_unsubscribed(before=campaign.started_at))
    if connection.scalar(wished) is not None:
        return Reason(Code.MERGED, "Somebody else at their address had unsubscribed, which counts for all there.")
    return None


def _not_reached(connection: Connection, campaign: AnyRow, one: Person, stopped: Stops) -> Reason:
    """They would be in the audience, and there is no outcome."""
    if one.user.state is UserState.DEACTIVATED:
        return Reason(Code.INACTIVE, "They are inactive in the directory, so nobody writes to them.")
    if campaign.state == CampaignState.CANCELLED:
        return Reason(Code.CANCELLED, f"It was cancelled before their turn, {_when(campaign.finished_at)}.")
    if campaign.state == CampaignState.FAILED:
        return Reason(Code.NOT_SENT, f"It failed before their turn: {campaign.reason}")
    within = (Batch.first_id <= one.user.id, Batch.last_id >= one.user.id, Batch.state != BatchState.DONE)
    if connection.scalar(select(Batch.number).where(Batch.campaign_id == campaign.id, *within).limit(1)) is not None:
        return Reason(Code.WAITING, f"Their turn has not come yet.{_state(campaign, stopped)}")
    began = _when(campaign.started_at)
    return Reason(Code.TOO_LATE, f"They came to the directory, or to match its query, after it was planned, {began}.")


def _unsubscribed_by(then: int, past: Sequence[PastEvent]) -> str | None:
    """Since when, and by what, they were unsubscribed at `then` (ms since 1970); None: they were not."""
    last = next((event for event in past if event.at is not None and event.at <= then), None)
    if last is None or last.event != Event.UNSUBSCRIBED or last.at is None:
        return None
    by = last.means if last.who is None else f"{last.means} ({last.who})"
    of = f", in a message of the campaign {last.campaign_id}" if last.campaign_id else ""
    return f"They had unsubscribed: {_when(last.at)}, by {by}{of}."


def _state(campaign: AnyRow, stopped: Stops) -> str:
    state, reason = stopped.shown(campaign.state, campaign.reason, campaign.priority)
    return f" The campaign is {state}{f': {reason}' if reason else ''}."


def _when(milliseconds: int | None) -> str:
    return "at an unknown time" if milliseconds is None else to_iso(milliseconds, precision="seconds")
