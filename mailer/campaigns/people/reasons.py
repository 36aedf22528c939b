"""Why somebody did not get a campaign, for one campaign and one user: the first reason that holds.

Whom a campaign selected is not on record, but for those with an outcome. So the reason is found again, from the user as
they are now, the history of their wishes, the audit log, and when the campaign began. Where that cannot tell, the
answer says so.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, func, or_, select
from sqlalchemy.orm import aliased

from mailer.audience.earlier import selected
from mailer.audience.shared_addresses import address_unsubscribed
from mailer.audience.user_states import UserState
from mailer.campaigns.people import traces
from mailer.campaigns.people.person import Person
from mailer.campaigns.people.recorded_reasons import Code, Reason, unsubscribed_by, when
from mailer.campaigns.stops import Stops
from mailer.errors import InvalidQuery
from mailer.messages.addresses import comparable
from mailer.storage.database import AnyRow
from mailer.storage.models import Batch, CampaignState, Delivery, DeliveryStatus, User, comparable_address
from mailer.suppression.suppressed_addresses import Refusal

LATEST = 2**63 - 1  # ms since 1970, behind every time
FEW = 20  # users who share an address


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
    if left := unsubscribed_by(then - 1, one.history):
        return Reason(Code.UNSUBSCRIBED, left)
    refusal = one.refusal
    if refusal is not None and refusal.suppressed_at is not None and refusal.suppressed_at < then:
        why = f"Their address was suppressed since {when(refusal.suppressed_at)}, {_why(refusal)}"
        return Reason(Code.SUPPRESSED, why)
    return _merged(connection, campaign, one) if campaign.merge_addresses else None


def _why(refusal: Refusal) -> str:
    if refusal.blocked_by is not None:
        return f"blocked by {refusal.blocked_by}: {refusal.reason}"
    if refusal.complained_at is not None:
        return f"as somebody there marked a message as spam {when(refusal.complained_at)}."
    if not refusal.campaigns:  # it came on a list
        return ": ".join(part for part in (refusal.rule or "another service says so", refusal.reply) if part)
    how = "refused" if refusal.bounced_at is None else "refused or bounced"
    return f"{how} in {refusal.campaigns} campaigns: {refusal.reply}"


def _merged(connection: Connection, campaign: AnyRow, one: Person) -> Reason | None:
    if one.user.email is None:
        return None
    twin = aliased(User)
    theirs = (comparable_address(twin) == comparable(one.user.email), twin.id != one.user.id)
    at_it = or_(Delivery.address.is_(None), func.lower(Delivery.address) == comparable(one.user.email))
    had = select(Delivery.user_id, Delivery.status).join(twin, twin.id == Delivery.user_id)
    had = had.where(Delivery.campaign_id == campaign.id, *theirs, at_it).order_by(Delivery.status.desc())
    others = connection.execute(had.limit(FEW)).all()
    for other in sorted(others, key=lambda row: row.status != DeliveryStatus.SENT):
        if other.status == DeliveryStatus.SENT:
            return Reason(Code.MERGED, f"The user {other.user_id} has the same address and got the one message for it.")
        text = f"The user {other.user_id} has the same address, and the one message for it was theirs: {other.status}."
        return Reason(Code.MERGED, text)
    wished = select(User.id).where(User.id == one.user.id, address_unsubscribed(before=campaign.started_at))
    if connection.scalar(wished) is not None:
        return Reason(Code.MERGED, "Somebody else at their address had unsubscribed, which counts for all there.")
    return None


def _not_reached(connection: Connection, campaign: AnyRow, one: Person, stopped: Stops) -> Reason:
    """They would be in the audience, and there is no outcome."""
    pending = _is_pending(connection, campaign, one)
    reachable = one.user.state is not UserState.DEACTIVATED and one.user.email is not None
    if pending and reachable and campaign.state not in (CampaignState.CANCELLED, CampaignState.FAILED):
        return Reason(Code.WAITING, f"Their turn has not come yet.{_state(campaign, stopped)}")
    hints: list[str] = []
    if (known := _kept_out(connection, campaign, one, hints)) is not None:
        return known
    if pending and campaign.state == CampaignState.CANCELLED:
        return Reason(Code.CANCELLED, f"It was cancelled before their turn, {when(campaign.finished_at)}.")
    if pending and campaign.state == CampaignState.FAILED:
        return Reason(Code.NOT_SENT, f"It failed before their turn: {campaign.reason}")
    began = campaign.started_at
    if (one.user.created_at or 0) > began or traces.created_after(connection, one.user.id, began):
        return Reason(Code.TOO_LATE, f"They came to the directory after it was planned, {when(began)}.")
    return _unknown(campaign, hints)


def _is_pending(connection: Connection, campaign: AnyRow, one: Person) -> bool:
    """Whether somebody is not tried yet in a part of the audience in which they would be."""
    within = (Batch.first_id <= one.user.id, Batch.last_id >= one.user.id, Batch.campaign_id == campaign.id)
    tried = Batch.sent + Batch.failed + Batch.deferred + Batch.uncertain + Batch.skipped
    return connection.scalar(select(Batch.number).where(*within, Batch.planned > tried).limit(1)) is not None


def _kept_out(connection: Connection, campaign: AnyRow, one: Person, hints: list[str]) -> Reason | None:
    """What is on record to have kept them out by then. What is told besides, and is not certain, is added to `hints`.

    An audience is planned first and read part by part later: who is inactive by then has no outcome either.
    """
    user, began, ended = one.user, campaign.started_at, campaign.finished_at
    told = None if user.email is None else traces.suppressed(connection, user.email, began, one.notes)
    found = [] if told is None else [(Code.SUPPRESSED, told)]
    for then in (began, LATEST if ended is None else ended):
        if (lost := traces.unreachable(connection, user.id, then)) is not None:
            found.append((_LOST[lost[0]], lost[1]))
    for code, one_told in found:
        if one_told.certain:
            return Reason(code, one_told.text)
        hints += [one_told.text] if one_told.text not in hints else []
    lacking = {"active": user.state is UserState.DEACTIVATED, "address": user.email is None}
    for what, code, text in _NOW:
        if lacking[what] and not (ended is not None and traces.changed_after(connection, user.id, ended, what=what)):
            return Reason(code, text)
    return None


_LOST = {"active": Code.INACTIVE, "address": Code.NO_ADDRESS}
_NOW = (
    ("active", Code.INACTIVE, "They are inactive in the directory, so nobody writes to them."),
    ("address", Code.NO_ADDRESS, "The directory has no valid address for them."),
)


def _unknown(campaign: AnyRow, hints: Sequence[str]) -> Reason:
    """What is left where the record does not tell: no guess of it is told as if it were known."""
    began = when(campaign.started_at)
    text = (
        f"They were not in the audience when it was planned, {began}, or not any more when it was sent. They may have "
        "been suppressed, inactive or without an address then, or have come later; the record does not tell."
    )
    if campaign.left_out is not None and campaign.left_out.get("suppressed") == 0:
        text = (
            f"They were not in the audience when it was planned, {began}, or not any more when it was sent. They may "
            "have been inactive or without an address then, or have come later; the record does not tell."
        )
    return Reason(Code.NOT_KNOWN, " ".join([text, *hints[:1]]))


def _state(campaign: AnyRow, stopped: Stops) -> str:
    state, reason = stopped.shown(campaign.state, campaign.reason, campaign.priority)
    return f" The campaign is {state}{f': {reason}' if reason else ''}."
