"""One person: their document, whether they are written to, and why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, select

from mailer.audience.user_states import UserWithState, users_with
from mailer.audit.log import Act
from mailer.directory.users import find_id
from mailer.errors import NotFound
from mailer.messages.addresses import comparable
from mailer.storage.database import Database
from mailer.storage.models import AuditEntry, PersonNote, User, Wish, WishOf
from mailer.suppression.history import BY_THEMSELVES, Event, Means, PastEvent, events_of, with_unknown
from mailer.suppression.suppressed_addresses import Refusal, refusal_of
from mailer.suppression.wishes import of_address

NOTES = 100  # shown of one person, the latest first
_BRINGING = (Act.IMPORT_USERS, Act.SYNC_USERS, Act.PUT_USER, Act.CHANGE_USER)


class Because(StrEnum):
    """How it came about that somebody has unsubscribed."""

    PERSON = "person"  # by the link in a message
    OPERATOR = "operator"  # somebody did it for them
    LIST = "list"  # a list named them, or their address
    DIRECTORY = "directory"  # an import, a sync or a request brought the mark or came to a kept wish


_BECAUSE = {
    **dict.fromkeys(BY_THEMSELVES, Because.PERSON),
    **dict.fromkeys((Means.API, Means.OPERATOR, Means.PAGE), Because.OPERATOR),
    Means.LIST: Because.LIST,
    Means.DIRECTORY: Because.DIRECTORY,
}


@dataclass(frozen=True, slots=True)
class Unsubscription:
    """Since when (ms since 1970) somebody has unsubscribed, how it came about, by whom, and from which list.

    `means` and `campaign_id` are as the history has them; what happened before there was one has neither.
    """

    since: int
    because: Because
    who: str | None = None
    source: str | None = None
    means: Means = Means.UNKNOWN
    campaign_id: str | None = None


@dataclass(frozen=True, slots=True)
class WrittenNote:
    """What somebody wrote down when they did something about a person, at `at` (ms since 1970)."""

    at: int
    who: str
    act: str
    note: str


@dataclass(frozen=True, slots=True)
class Person:
    """A person with all that decides whether they get mail.

    `address_unsubscribed`: somebody who shares the address has unsubscribed, which counts where addresses are merged.
    """

    user: UserWithState
    unsubscription: Unsubscription | None
    refusal: Refusal | None
    address_unsubscribed: bool
    notes: Sequence[WrittenNote]
    history: Sequence[PastEvent] = ()  # how they came to be unsubscribed and subscribed again, the latest first


def person(db: Database, name: str) -> Person:
    """The person with this id or, if nobody has it, with this user name. Raises `NotFound`."""
    with db.read() as connection:
        return read_person(connection, name)


def read_person(connection: Connection, name: str, most: int = NOTES) -> Person:
    """The same within a transaction, with at most so many notes and events, the latest."""
    found = find_id(connection, name)
    if found is None:
        raise NotFound(f"There is no user with the id or the username {name}.")
    (user,) = users_with(connection, User.id == found, 1)
    shared = select(Wish.kind).where(Wish.kind == WishOf.SHARED, Wish.value == comparable(user.email or ""))
    past = events_of(connection, found, user.email, count=most)
    past = with_unknown(past, found, user.email, user.unsubscribed_at)
    return Person(
        user,
        None if user.unsubscribed_at is None else _unsubscription(connection, user, user.unsubscribed_at, past),
        refusal_of(connection, found),
        connection.scalar(shared) is not None,
        _notes(connection, found, most),
        past,
    )


def _unsubscription(
    connection: Connection, user: UserWithState, since: int, past: Sequence[PastEvent]
) -> Unsubscription:
    """How it came about, as the history has it or, where it does not know, as other traces tell."""
    for one in past:
        if one.event == Event.UNSUBSCRIBED and one.at == since and one.means != Means.UNKNOWN:
            means = Means(one.means)
            return Unsubscription(since, _BECAUSE[means], one.who, one.source, means, one.campaign_id)
    return _traced(connection, user, since)


def _traced(connection: Connection, user: UserWithState, since: int) -> Unsubscription:
    """The same without a history: an act has the time of the mark that it made, and a wish that marked whoever came."""
    acts = select(AuditEntry.act, AuditEntry.who, AuditEntry.about).where(AuditEntry.at == since)
    for act, who, about in connection.execute(acts):
        if act == Act.UNSUBSCRIBE and about == user.id:
            return Unsubscription(since, Because.OPERATOR, who)
    theirs = (Wish.kind == WishOf.USER) & (Wish.value == user.id)
    theirs |= of_address(user.email or "")
    wish = connection.execute(select(Wish.kept_by, Wish.source).where(theirs, Wish.unsubscribed_at == since)).first()
    if wish is not None:
        return Unsubscription(since, Because.LIST, wish.kept_by, wish.source)
    for act, who, _ in connection.execute(acts):
        if act == Act.UNSUBSCRIBE_LIST:
            return Unsubscription(since, Because.LIST, who)
        if act in _BRINGING:
            return Unsubscription(since, Because.DIRECTORY, who)
    return Unsubscription(since, Because.PERSON)


def _notes(connection: Connection, user_id: str, most: int) -> list[WrittenNote]:
    columns = (PersonNote.at, PersonNote.who, PersonNote.act, PersonNote.note)
    mine = select(*columns).where(PersonNote.user_id == user_id).order_by(PersonNote.entry.desc()).limit(most)
    return [WrittenNote(*row) for row in connection.execute(mine)]
