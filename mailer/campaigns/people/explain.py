"""What came of somebody in every campaign, the newest first, and where nothing did, why.

They are named by id, user name or address. At an address several users may be, or none: then the answer is what is
known of the address.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from mailer.campaigns.people.copies import Arrival, Copies, copies
from mailer.campaigns.people.person import Person, read_person
from mailer.campaigns.people.reasons import Reason, of_nothing, of_outcome
from mailer.campaigns.stops import stops
from mailer.directory.users import find_id
from mailer.errors import NotFound
from mailer.messages.addresses import comparable, envelope_address
from mailer.messages.template import message_id
from mailer.settings.send_window import SendWindow
from mailer.storage.database import AnyRow, Database
from mailer.storage.erased.people import erased_addresses, erased_users
from mailer.storage.models import Campaign, Delivery, RefusedAddress, User, comparable_address
from mailer.suppression.history import PastEvent, events_of

AT_ADDRESS = 20  # users shown at one address
SAME_SUBJECT = 50  # campaigns that are compared with one that is asked about
_FACTS = ("id", "subject", "caller_id", "state", "reason", "dry_run", "created_at", "started_at", "finished_at")
CAMPAIGN = [
    getattr(Campaign, name) for name in (*_FACTS, "query", "body", "merge_addresses", "priority", "sender", "left_out")
]
_OUTCOME = [
    *(Delivery.status, Delivery.address, Delivery.attempts, Delivery.uncertain_attempts, Delivery.reply),
    *(Delivery.first_at, Delivery.updated_at, Delivery.due_at),
]


class Outcome(NamedTuple):
    """What is on record of one recipient. Times are ms since 1970; `reply` has the mail server's own words."""

    status: str
    address: str | None
    attempts: int
    uncertain_attempts: int
    reply: str
    first_at: int
    updated_at: int
    next_attempt_at: int | None
    message_id: str


@dataclass(frozen=True, slots=True)
class Answer:
    """One campaign: its outcome, or None, and the reason."""

    campaign_id: str
    subject: str  # empty: purged
    caller_id: str
    state: str
    dry_run: bool
    created_at: int  # ms since 1970
    outcome: Outcome | None
    reason: Reason


@dataclass(frozen=True, slots=True)
class ExplainedUser:
    """One user and the answers about them. `person` None: they are not in the directory any more."""

    user_id: str
    person: Person | None
    answers: Sequence[Answer]


@dataclass(frozen=True, slots=True)
class ExplainedAddress:
    """What is known of an address that no user has: events of the history, and whether it is suppressed or erased."""

    events: Sequence[PastEvent]
    suppressed_at: int | None  # ms since 1970
    erased: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """The whole answer. `following` is the last campaign of this page, if there are more before it."""

    asked: str
    users: Sequence[ExplainedUser]
    address: ExplainedAddress | None
    copies: Sequence[Copies]
    following: str | None


def explain(
    db: Database,
    asked: str,
    *,
    campaign_id: str | None = None,
    before: str | None = None,
    count: int = 20,
    window: SendWindow | None = None,
) -> Explanation:
    """Explain what the person `asked` for, by id, user name or address, got and did not get.

    With `campaign_id` only of that campaign, else of at most `count` campaigns, from the one before `before` on.
    `window` are the hours in which mail goes out. Raises `NotFound` for a name that nobody has, and for a campaign
    that there is not.
    """
    with db.read() as connection:
        stopped = stops(connection, db.clock(connection), window)
        campaigns = _campaigns(connection, campaign_id, before, count)
        user_ids = _users(connection, asked, campaign_id)
        if user_ids is None:
            return Explanation(asked, [], _address(connection, asked), [], None)
        outcomes = _outcomes(connection, campaigns, user_ids)
        users = []
        for user_id in user_ids:
            person = _person(connection, user_id)
            past = () if person is None else person.history
            answers = [
                _answer(campaign, found, of_outcome(found.status, found.reply, found.updated_at, past))
                if (found := outcomes.get((campaign.id, user_id)))
                else _answer(campaign, None, of_nothing(connection, campaign, person, stopped))
                for campaign in campaigns
            ]
            users.append(ExplainedUser(user_id, person, answers))
        compared = campaigns if campaign_id is None else _same_subject(connection, campaigns[0])
        arrivals = _arrivals(compared, _outcomes(connection, compared, user_ids))
    following = campaigns[-1].id if campaign_id is None and len(campaigns) == count else None
    return Explanation(asked, users, None, copies(arrivals), following)


def _campaigns(connection: Connection, campaign_id: str | None, before: str | None, count: int) -> Sequence[AnyRow]:
    query = select(*CAMPAIGN).order_by(Campaign.id.desc()).limit(count)
    if campaign_id is not None:
        query = query.where(Campaign.id == campaign_id)
    elif before is not None:
        query = query.where(Campaign.id < before)
    found = connection.execute(query).all()
    if campaign_id is not None and not found:
        raise NotFound(f"There is no campaign {campaign_id}.")
    return found


def _users(connection: Connection, asked: str, campaign_id: str | None) -> Sequence[str] | None:
    """Who is meant: one by id or user name, or all at an address; None: an address that no user has."""
    user_id = find_id(connection, asked)
    if user_id is not None:
        return [user_id]
    address = envelope_address(asked)
    if address is None:
        if erased_users(connection, [asked]):
            return [asked]
        raise NotFound(f"There is no user with the id, the username or the address {asked}.")
    theirs = select(User.id).where(comparable_address() == comparable(address)).order_by(User.id).limit(AT_ADDRESS)
    found = list(connection.scalars(theirs))
    if campaign_id is not None:  # who had the address when it was sent
        had = (Delivery.campaign_id == campaign_id, func.lower(Delivery.address) == comparable(address))
        found += connection.scalars(select(Delivery.user_id).where(*had).order_by(Delivery.user_id).limit(AT_ADDRESS))
    return list(dict.fromkeys(found)) or None


def _person(connection: Connection, user_id: str) -> Person | None:
    known = connection.scalar(select(User.id).where(User.id == user_id))
    return None if known is None else read_person(connection, user_id)


def _address(connection: Connection, asked: str) -> ExplainedAddress:
    address = comparable(envelope_address(asked) or asked)
    suppressed = select(RefusedAddress.suppressed_at).where(RefusedAddress.address == address)
    erased = bool(erased_addresses(connection, [address]))
    return ExplainedAddress(events_of(connection, None, address), connection.scalar(suppressed), erased)


def _outcomes(
    connection: Connection, campaigns: Sequence[AnyRow], user_ids: Sequence[str]
) -> Mapping[tuple[str, str], Outcome]:
    """The outcomes on record, by campaign and user: looked up by the primary key."""
    senders = {campaign.id: campaign.sender for campaign in campaigns}
    theirs = (Delivery.campaign_id.in_(senders), Delivery.user_id.in_(user_ids))
    rows = connection.execute(select(Delivery.campaign_id, Delivery.user_id, *_OUTCOME).where(*theirs)).all()
    return {
        (campaign, user_id): Outcome._make((*found, message_id(campaign, user_id, senders[campaign])))
        for campaign, user_id, *found in rows
    }


def _same_subject(connection: Connection, campaign: AnyRow) -> Sequence[AnyRow]:
    """The campaign, and others that are likely to be taken for it."""
    same = select(*CAMPAIGN).where(Campaign.subject == campaign.subject, Campaign.id != campaign.id)
    others = connection.execute(same.order_by(Campaign.id.desc()).limit(SAME_SUBJECT)).all() if campaign.subject else []
    return [campaign, *others]


def _arrivals(campaigns: Sequence[AnyRow], outcomes: Mapping[tuple[str, str], Outcome]) -> list[Arrival]:
    subjects = {campaign.id: "" if campaign.dry_run else campaign.subject for campaign in campaigns}
    return [  # the first campaign first, whatever order the database has
        Arrival(user_id, campaign, subjects[campaign], one.status, one.uncertain_attempts, one.message_id)
        for (campaign, user_id), one in sorted(outcomes.items())
    ]


def _answer(campaign: AnyRow, outcome: Outcome | None, reason: Reason) -> Answer:
    facts = (campaign.id, campaign.subject, campaign.caller_id, campaign.state, campaign.dry_run, campaign.created_at)
    return Answer(*facts, outcome, reason)
