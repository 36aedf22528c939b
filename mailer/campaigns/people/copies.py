"""Why somebody got a message twice: several campaigns, several users at one address, or a try that nobody answered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from mailer.storage.models import DeliveryStatus

ARRIVED = (DeliveryStatus.SENT, DeliveryStatus.UNCERTAIN)  # or may have


class Twice(StrEnum):
    """How a second copy comes about."""

    CAMPAIGNS = "several-campaigns"
    USERS = "several-users"
    RETRY = "uncertain-retry"


@dataclass(frozen=True, slots=True)
class Copies:
    """One way in which a second copy came, or may have come: a sentence, the campaigns, and the users."""

    how: Twice
    text: str
    campaigns: Sequence[str]
    users: Sequence[str]


class Arrival(NamedTuple):
    """What a user got, or may have got, of a campaign."""

    user_id: str
    campaign_id: str
    subject: str
    status: str
    uncertain_attempts: int
    message_id: str
    address: str = ""  # in lower case


@dataclass(slots=True)
class _Group:
    campaigns: list[str] = field(default_factory=list)
    users: list[str] = field(default_factory=list)

    def add(self, one: Arrival) -> None:
        for values, value in ((self.campaigns, one.campaign_id), (self.users, one.user_id)):
            if value not in values:
                values.append(value)


def copies(arrivals: Sequence[Arrival]) -> list[Copies]:
    """Every way that the outcomes of one person, or of all users at one address, tell."""
    arrived = [one for one in arrivals if one.status in ARRIVED or one.uncertain_attempts]
    return [*_of_campaigns(arrived), *_of_users(arrived), *_of_retries(arrived)]


def _grouped(arrived: Sequence[Arrival], *by: str) -> Mapping[tuple[str, ...], _Group]:
    groups: dict[tuple[str, ...], _Group] = {}
    for one in arrived:
        groups.setdefault(tuple(getattr(one, name) for name in by), _Group()).add(one)
    return groups


def _of_campaigns(arrived: Sequence[Arrival]) -> Iterator[Copies]:
    for (subject,), found in _grouped(arrived, "subject").items():
        if subject and len(found.campaigns) > 1:
            text = f"{len(found.campaigns)} campaigns have the subject “{subject}”: each is a message of its own."
            yield Copies(Twice.CAMPAIGNS, text, found.campaigns, found.users)


def _of_users(arrived: Sequence[Arrival]) -> Iterator[Copies]:
    for (campaign_id, _), found in _grouped(arrived, "campaign_id", "address").items():
        if len(found.users) > 1:
            told = f"{len(found.users)} users have the address, and each got the campaign {campaign_id}."
            yield Copies(
                Twice.USERS, f"{told} MAILER_MERGE_ADDRESSES sends one message to all.", [campaign_id], found.users
            )


def _of_retries(arrived: Sequence[Arrival]) -> Iterator[Copies]:
    for one in arrived:
        most = one.uncertain_attempts + (one.status == DeliveryStatus.SENT)
        if most > 1:
            told = f"Up to {most} copies of the campaign {one.campaign_id}: a try had no answer, and was made again."
            yield Copies(
                Twice.RETRY, f"{told} All have the Message-ID {one.message_id}.", [one.campaign_id], [one.user_id]
            )
