"""The history of unsubscriptions: who unsubscribed when, by what, from which campaign, and who subscribed again.

The mark on a user, or a kept wish, alone says whether somebody is written to. The history says how that came about. It
is written in the transaction of the mark, and a row is never changed. Marks of versions before it have no row.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, ScalarSelect, and_, exists, insert, or_, select, text

from mailer.audit.actor import Via, current_actor
from mailer.messages.addresses import comparable
from mailer.storage import staging
from mailer.storage.models import Batch, BatchState, Delivery, UnsubscribeEvent, User

FROM_JOURNAL = "taken over from the journal"  # the source, or its end, of what a restored backup has learned
SHOWN = 100  # events of one person, the latest


class Event(StrEnum):
    """What somebody did."""

    UNSUBSCRIBED = "unsubscribed"
    SUBSCRIBED = "subscribed"  # again


class Means(StrEnum):
    """By what it was done."""

    LINK = "link"  # the person, on the page behind the link in a message
    ONE_CLICK = "one-click"  # the person, in their mail program (RFC 8058)
    MAIL = "mail"  # the person, by mail to the address in List-Unsubscribe (RFC 2369)
    LIST = "list"  # a list of the unsubscribed named them
    API = "api"  # a caller of the API
    OPERATOR = "operator"  # somebody at the command line
    PAGE = "page"  # somebody who had signed in to the pages
    DIRECTORY = "directory"  # an import, a sync or a request brought the mark, or brought them to a kept wish
    COMPLAINT = "complaint"  # the person marked a message as spam
    UNKNOWN = "unknown"  # before there was a history


BY_THEMSELVES = (Means.LINK, Means.ONE_CLICK, Means.MAIL, Means.COMPLAINT)
_MEANS = {Via.API: Means.API, Via.PAGE: Means.PAGE, Via.LINK: Means.LINK}


@dataclass(frozen=True, slots=True)
class Cause:
    """By what an event came about. `who` None: the person. `campaign_id` None: not known, or by no message."""

    means: Means
    who: str | None = None
    campaign_id: str | None = None
    source: str | None = None


class PastEvent(NamedTuple):
    """One event, `at` ms since 1970; None: nobody knows when."""

    at: int | None
    event: str
    means: str
    user_id: str | None
    address: str | None
    campaign_id: str | None
    who: str | None
    source: str | None


_COLUMNS = [getattr(UnsubscribeEvent, name) for name in PastEvent._fields]


def acted() -> Cause:
    """The cause of what the current actor does."""
    actor = current_actor()
    return Cause(_MEANS.get(actor.via, Means.OPERATOR), None if actor.via is Via.LINK else actor.who)


def add(
    connection: Connection, now: int, event: Event, cause: Cause, whom: Iterable[tuple[str | None, str | None]]
) -> None:
    """Write that `event` happened at `now` (ms since 1970) to `whom`, each a user's id and address or one of them."""
    same = {"at": now, "event": event.value, "means": cause.means.value, "who": cause.who}
    same |= {"campaign_id": cause.campaign_id, "source": cause.source}
    rows = [{**same, "user_id": one, "address": address and comparable(address)} for one, address in whom]
    if rows:
        connection.execute(insert(UnsubscribeEvent), rows)


def is_recipient(connection: Connection, campaign_id: str, user_id: str) -> bool:
    """Whether the user got the campaign's message, or may get it just now."""
    mine = exists().where(Delivery.campaign_id == campaign_id, Delivery.user_id == user_id)
    within = (Batch.first_id <= user_id, Batch.last_id >= user_id, Batch.state == BatchState.RUNNING)
    in_hand = exists().where(Batch.campaign_id == campaign_id, *within)
    return bool(connection.scalar(select(or_(mine, in_hand))))


_MARKED_BEFORE = "SELECT u.id FROM users u JOIN staged_users s ON s.id = u.id WHERE u.unsubscribed_at IS NOT NULL"
_INTO = "INSERT INTO unsubscribe_history (at, event, means, user_id, address, who, source)"
_BROUGHT = f"""
{_INTO} SELECT u.unsubscribed_at, 'unsubscribed', 'directory', u.id, lower(u.email), :who, NULL FROM users u
WHERE u.unsubscribed_at IS NOT NULL AND u.id IN (SELECT id FROM staged_users)
AND u.id NOT IN (SELECT id FROM marked_before) ORDER BY u.id
"""  # noqa: S608 - no value in it


def before_merge(connection: Connection) -> None:
    """Note who of `staged_users` has unsubscribed, before the table is merged into the directory."""
    staging.create_as(connection, "marked_before", _MARKED_BEFORE)


def after_merge(connection: Connection) -> None:
    """Write who has become unsubscribed by the merge."""
    connection.execute(text(_BROUGHT), {"who": current_actor().who})
    staging.drop(connection, "marked_before")


_LISTED = f"""
{_INTO} SELECT {{made_at}}, 'unsubscribed', 'list', u.id, lower(u.email), :by, :source FROM users u
WHERE u.unsubscribed_at IS NULL AND u.id IN (SELECT id FROM staged_matches) ORDER BY u.id
"""  # noqa: S608 - no value in it
_KEPT = f"""
{_INTO} SELECT w.unsubscribed_at, 'unsubscribed', 'list', CASE WHEN w.kind = 'user' THEN w.value END,
CASE WHEN w.kind = 'address' THEN w.value END, :by, :source FROM wishes w
WHERE w.kept_at = :now AND w.kept_by = :by AND w.source = :source AND w.kind <> 'shared'
AND NOT EXISTS (SELECT 1 FROM users u WHERE w.kind = 'address' AND lower(u.email) = w.value)
AND NOT EXISTS (SELECT 1 FROM unsubscribe_history h WHERE h.at = w.unsubscribed_at AND h.source = w.source
    AND (w.kind = 'address' AND h.address = w.value OR w.kind = 'user' AND h.user_id = w.value))
ORDER BY w.kind, w.value
"""  # noqa: S608 - no value in it


def add_listed(connection: Connection, made_at: str, *, now: int, by: str, source: str) -> None:
    """Write whom a list unsubscribes: before it marks the users in `staged_matches`, and after it kept the wishes.

    `made_at` is SQL for the time of a user `u`, which becomes their mark.
    """
    values = {"now": now, "by": by, "source": source}
    connection.execute(text(_LISTED.format(made_at=made_at)), values)
    connection.execute(text(_KEPT), values)


def events_of(
    connection: Connection, user_id: str | None, address: str | None = None, *, count: int = SHOWN
) -> list[PastEvent]:
    """The latest events of a person by id, and those of their address that belong to no user, the latest first."""
    wanted: list[ColumnElement[bool]] = [] if user_id is None else [UnsubscribeEvent.user_id == user_id]
    if address is not None:
        nobodys = UnsubscribeEvent.address == comparable(address)
        wanted.append(and_(nobodys, UnsubscribeEvent.user_id.is_(None)))
    if not wanted:
        return []
    query = select(*_COLUMNS).where(or_(*wanted)).order_by(UnsubscribeEvent.id.desc()).limit(count)
    return [PastEvent._make(row) for row in connection.execute(query)]


def campaign_of_mark() -> ScalarSelect[str | None]:
    """The campaign by which a user of the surrounding query came to the mark that they have."""
    mine = (UnsubscribeEvent.user_id == User.id, UnsubscribeEvent.at == User.unsubscribed_at)
    made = UnsubscribeEvent.event == Event.UNSUBSCRIBED
    newest = select(UnsubscribeEvent.campaign_id).where(*mine, made).order_by(UnsubscribeEvent.id.desc()).limit(1)
    return newest.correlate(User).scalar_subquery()


def with_unknown(events: list[PastEvent], user_id: str, address: str | None, since: int | None) -> list[PastEvent]:
    """The events, and before them what they do not know: a mark `since` (ms) that was made, or taken, without a row."""
    last = events[0].event if events else Event.SUBSCRIBED
    if since is not None and (last != Event.UNSUBSCRIBED or all(one.at != since for one in events)):
        return [_unknown(since, Event.UNSUBSCRIBED, user_id, address), *events]
    if since is None and last == Event.UNSUBSCRIBED:
        return [_unknown(None, Event.SUBSCRIBED, user_id, address), *events]
    return events


def _unknown(at: int | None, event: Event, user_id: str, address: str | None) -> PastEvent:
    return PastEvent(at, event.value, Means.UNKNOWN.value, user_id, address and comparable(address), None, None, None)
