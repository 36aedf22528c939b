"""What came of somebody in every campaign, the newest first, and where nothing did, why.

They are named by id, user name or address. At an address several users may be, or none: then the answer is what is
known of the address, and who had it lately. How a message may have come twice is told however they are named: of all
who have the address, and by the text that each was sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from mailer.campaigns.deliveries import REPORTED, Reported
from mailer.campaigns.people.copies import Arrival, Copies, copies
from mailer.campaigns.people.named import AT_ADDRESS, ExplainedAddress, Named, at_address, named
from mailer.campaigns.people.person import Person, read_person
from mailer.campaigns.people.reasons import of_nothing
from mailer.campaigns.people.recorded_reasons import Reason, of_outcome
from mailer.campaigns.stops import stops
from mailer.errors import NotFound
from mailer.messages.addresses import comparable
from mailer.messages.template import message_id
from mailer.settings.send_window import SendWindow
from mailer.storage.database import AnyRow, Database
from mailer.storage.models import Campaign, CampaignText, Delivery, User, comparable_address

SAME_SUBJECT = 50  # campaigns that are compared with one that is asked about
_FACTS = ("id", "subject", "caller_id", "state", "reason", "dry_run", "created_at", "started_at", "finished_at")
CAMPAIGN = [
    getattr(Campaign, name)
    for name in (*_FACTS, "query", "body", "merge_addresses", "priority", "sender", "left_out", "version")
]
_OUTCOME = [
    *(Delivery.status, Delivery.address, Delivery.attempts, Delivery.uncertain_attempts, Delivery.reply),
    *(Delivery.first_at, Delivery.updated_at, Delivery.due_at),
    func.nullif(func.coalesce(Delivery.version, 1), 0),
    *REPORTED,
]
_BEFORE = len(_OUTCOME) - len(REPORTED)  # columns that come before those of `reported`


Subjects = Mapping[tuple[str, int], str]


class Outcome(NamedTuple):
    """What is on record of one recipient. Times are ms since 1970; `reply` has the mail server's own words.

    `version` is that of the text at the last try; None: nothing was tried, or a worker died with it. `reported` is what
    was reported of the message later.
    """

    status: str
    address: str | None
    attempts: int
    uncertain_attempts: int
    reply: str
    first_at: int
    updated_at: int
    next_attempt_at: int | None
    version: int | None
    message_id: str
    reported: Reported

    @property
    def tries(self) -> int:
        """How often the message was handed over, whether or not there was an answer."""
        return self.attempts + self.uncertain_attempts


@dataclass(frozen=True, slots=True)
class Answer:
    """One campaign: its outcome, or None, and the reason. `subject` is that of the text which they were sent."""

    campaign_id: str
    subject: str  # empty: purged
    caller_id: str
    state: str
    dry_run: bool
    created_at: int  # ms since 1970
    outcome: Outcome | None
    reason: Reason
    versions: int = 1  # of its text


@dataclass(frozen=True, slots=True)
class ExplainedUser:
    """One user and the answers about them. `person` None: they are not in the directory any more."""

    user_id: str
    person: Person | None
    answers: Sequence[Answer]


@dataclass(frozen=True, slots=True)
class Explanation:
    """The whole answer. `following` is the last campaign of this page, if there are more before it.

    `address` is told where nobody has it; then `users` are those who had it lately.
    """

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
        who = named(connection, asked, campaign_id)
        outcomes, subjects = _outcomes(connection, campaigns, who.user_ids), _subjects(connection, campaigns)
        users = []
        for user_id in who.user_ids:
            person = _person(connection, user_id)
            past = () if person is None else person.history
            answers = [
                _answer(campaign, found, of_outcome(found, past), subjects)
                if (found := outcomes.get((campaign.id, user_id)))
                else _answer(campaign, None, of_nothing(connection, campaign, person, stopped), subjects)
                for campaign in campaigns
            ]
            users.append(ExplainedUser(user_id, person, answers))
        compared = campaigns if campaign_id is None else _same_subject(connection, campaigns[0], subjects)
        twice = _copies(connection, compared, who.user_ids)
    following = campaigns[-1].id if users and campaign_id is None and len(campaigns) == count else None
    return Explanation(asked, users, who.address, twice, following)


def copies_of(db: Database, asked: str, *, before: str | None = None, count: int = 20) -> Sequence[Copies]:
    """How a message may have come twice, in at most `count` campaigns, as `explain` tells it. Raises `NotFound`."""
    with db.read() as connection:
        return _copies(connection, _campaigns(connection, None, before, count), named(connection, asked).user_ids)


class NamedByAddress(NamedTuple):
    """Who has an address, or else had it lately, what is known of it, and how a message may have come twice."""

    who: Named
    copies: Sequence[Copies]


def by_address(db: Database, address: str, *, count: int = 20) -> NamedByAddress:
    """What is known of an address, without the campaigns one by one."""
    with db.read() as connection:
        who = named(connection, address)
        return NamedByAddress(who, _copies(connection, _campaigns(connection, None, None, count), who.user_ids))


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


def _person(connection: Connection, user_id: str) -> Person | None:
    known = connection.scalar(select(User.id).where(User.id == user_id))
    return None if known is None else read_person(connection, user_id)


def _outcomes(
    connection: Connection, campaigns: Sequence[AnyRow], user_ids: Sequence[str]
) -> Mapping[tuple[str, str], Outcome]:
    """The outcomes on record, by campaign and user: looked up by the primary key."""
    senders = {campaign.id: campaign.sender for campaign in campaigns}
    theirs = (Delivery.campaign_id.in_(senders), Delivery.user_id.in_(user_ids))
    rows = connection.execute(select(Delivery.campaign_id, Delivery.user_id, *_OUTCOME).where(*theirs)).all()
    outcomes = {}
    for campaign, user_id, *found in rows:
        named_by = message_id(campaign, user_id, senders[campaign])
        one = Outcome._make((*found[:_BEFORE], named_by, Reported(*found[_BEFORE:])))
        outcomes[campaign, user_id] = one if one.tries else one._replace(version=None)
    return outcomes


def _subjects(connection: Connection, campaigns: Sequence[AnyRow]) -> Subjects:
    """The subjects of texts that were replaced, by campaign and version."""
    mended = [campaign.id for campaign in campaigns if campaign.version > 1]
    columns = (CampaignText.campaign_id, CampaignText.version, CampaignText.subject)
    rows = connection.execute(select(*columns).where(CampaignText.campaign_id.in_(mended))) if mended else ()
    return {(campaign, version): subject for campaign, version, subject in rows}


def _subject(campaign: AnyRow, outcome: Outcome | None, subjects: Subjects) -> str:
    latest: str = campaign.subject
    return (
        latest if outcome is None or outcome.version is None else subjects.get((campaign.id, outcome.version), latest)
    )


def _same_subject(connection: Connection, campaign: AnyRow, subjects: Subjects) -> Sequence[AnyRow]:
    """The campaign, and others that are likely to be taken for it."""
    theirs = {campaign.subject, *subjects.values()}
    same = select(*CAMPAIGN).where(Campaign.subject.in_(theirs), Campaign.id != campaign.id)
    others = connection.execute(same.order_by(Campaign.id.desc()).limit(SAME_SUBJECT)).all() if campaign.subject else []
    return [campaign, *others]


def _copies(connection: Connection, campaigns: Sequence[AnyRow], user_ids: Sequence[str]) -> Sequence[Copies]:
    """The same whoever of those at an address was asked for: all who have it now are looked at."""
    theirs = select(comparable_address()).where(User.id.in_(user_ids), User.email.is_not(None)).distinct()
    addresses = connection.scalars(theirs.limit(AT_ADDRESS)).all()
    people = {*user_ids, *(one for address in addresses for one in at_address(connection, address))}
    found, subjects = _outcomes(connection, campaigns, sorted(people)), _subjects(connection, campaigns)
    meant = {comparable(one.address) for (_, who), one in found.items() if who in user_ids and one.address}
    by_id, meant = {campaign.id: campaign for campaign in campaigns}, meant.union(addresses)
    arrivals = [  # the first campaign first, whatever order the database has
        _arrival(user_id, by_id[campaign_id], one, subjects)
        for (campaign_id, user_id), one in sorted(found.items(), key=lambda each: each[0])
        if user_id in user_ids or comparable(one.address or "") in meant
    ]
    return copies(arrivals)


def _arrival(user_id: str, campaign: AnyRow, one: Outcome, subjects: Subjects) -> Arrival:
    subject = "" if campaign.dry_run else _subject(campaign, one, subjects)
    address = comparable(one.address or "")
    return Arrival(user_id, campaign.id, subject, one.status, one.uncertain_attempts, one.message_id, address)


def _answer(campaign: AnyRow, outcome: Outcome | None, reason: Reason, subjects: Subjects) -> Answer:
    subject = _subject(campaign, outcome, subjects)
    facts = (campaign.id, subject, campaign.caller_id, campaign.state, campaign.dry_run, campaign.created_at)
    return Answer(*facts, outcome, reason, campaign.version)
