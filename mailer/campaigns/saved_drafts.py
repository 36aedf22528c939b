"""What people have typed into the form of a campaign and not sent yet. Each draft is its owner's alone.

A draft is saved with the version that its owner saw. If another tab has saved meanwhile, nothing is overwritten.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, or_, select, tuple_, update

from mailer.errors import InvalidState, NotFound
from mailer.storage.database import AnyRow, Database
from mailer.storage.dialects import new_row
from mailer.storage.models import SavedDraft
from mailer.storage.steps.small_steps import Steps, delete_in_steps
from mailer.storage.steps.stepwise_task import StepwiseTask

TASK = "draft retention"  # its name among the scheduled tasks
PERIOD = 60 * 60 * 1000  # ms from one look for what is too old to the next
AFTER_SENDING = 24 * 60 * 60 * 1000  # ms for which it is known what a draft was sent as
MOST = 100  # drafts of one person

_LATER = (
    "min_recipients",
    "max_recipients",
    "to",
    "inline_css",
)  # empty, they are not stored: older code does not know them
_ID = re.compile(r"[0-9a-f]{24}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Typed:
    """The fields of the form as they were typed, valid or not. `reached` and `not_reached` are JSON, or empty.

    `to` are those whom a test goes to instead of the sender.
    """

    sender: str = ""
    reply_to: str = ""
    subject: str = ""
    body: str = ""
    query: str = ""
    priority: str = ""
    dry_run: bool = False
    reached: str = ""
    not_reached: str = ""
    min_recipients: str = ""
    max_recipients: str = ""
    to: str = ""
    inline_css: bool = False


@dataclass(frozen=True, slots=True)
class Saved:
    """A draft on record. `saved_at` is in ms since 1970."""

    id: str
    typed: Typed
    version: int
    saved_at: int


@dataclass(frozen=True, slots=True)
class Listed:
    """A draft as a list shows it."""

    id: str
    subject: str
    saved_at: int


class StaleDraft(InvalidState):
    """Another tab has saved the draft since this one was loaded. `version` is the one on record."""

    def __init__(self, version: int, saved_at: int) -> None:
        super().__init__("The draft was changed elsewhere.")
        self.version = version
        self.saved_at = saved_at


class DraftSent(InvalidState):
    """The draft was sent as the campaign `campaign_id`, and is none any more."""

    def __init__(self, campaign_id: str) -> None:
        super().__init__("The draft was sent.")
        self.campaign_id = campaign_id


class TooManyDrafts(InvalidState):
    """This person has as many drafts as one may have."""

    def __init__(self) -> None:
        super().__init__(f"There are {MOST} drafts. Delete some, and save this one again.")


def new_id() -> str:
    """An id for a draft that is not saved yet, which nobody can guess."""
    return secrets.token_hex(12)


def is_free(db: Database, draft_id: str) -> bool:
    """Whether it is an id as `new_id` makes them, and no draft has it."""
    with db.read() as connection:
        taken = connection.scalar(select(SavedDraft.id).where(SavedDraft.id == draft_id)) is not None
    return not taken and _ID.fullmatch(draft_id) is not None


def save(db: Database, caller_id: str, draft_id: str, typed: Typed, version: int) -> Saved:
    """Save what was typed over `version` of the draft; 0: it is new. Returns it with its new version.

    Saving the same again changes nothing. A draft that was deleted meanwhile is made anew. Raises `StaleDraft`,
    `DraftSent`, `TooManyDrafts`, and `NotFound` for a draft of somebody else or an id that none can have.
    """
    if not _ID.fullmatch(draft_id):
        raise NotFound("There is no such draft.")
    with db.write() as connection:
        now = db.clock(connection)
        row = _row(connection, draft_id)
        if row is None:
            _insert(connection, caller_id, draft_id, typed, version + 1, now)
            return Saved(draft_id, typed, version + 1, now)
        found = _checked(row, caller_id)
        if found.typed == typed:
            return found
        if found.version != version:
            raise StaleDraft(found.version, found.saved_at)
        values = {**_columns(typed), "version": version + 1, "saved_at": now}
        connection.execute(update(SavedDraft).where(SavedDraft.id == draft_id).values(**values))
    return Saved(draft_id, typed, version + 1, now)


def read(db: Database, caller_id: str, draft_id: str) -> Saved:
    """The draft. Raises `NotFound` unless it is this caller's, and `DraftSent`."""
    with db.read() as connection:
        row = connection.execute(_mine(draft_id)).one_or_none()
    if row is None:
        raise NotFound("There is no such draft.")
    return _checked(row, caller_id)


def newest(db: Database, caller_id: str, count: int, before: str | None = None) -> Sequence[Listed]:
    """At most `count` drafts, the one saved last first; `before` is the id of the last one of the page before."""
    table = SavedDraft
    place = (table.saved_at, table.id)
    wanted = select(table.id, table.subject, table.saved_at).where(_unsent(caller_id))
    if before is not None:
        last = select(*place).where(table.id == before, table.caller_id == caller_id)
        wanted = wanted.where(tuple_(*place) < last.scalar_subquery())
    newest_first = [column.desc() for column in place]
    with db.read() as connection:
        return [Listed(*row) for row in connection.execute(wanted.order_by(*newest_first).limit(count))]


def discard(db: Database, caller_id: str, draft_id: str) -> None:
    """Delete the draft. Raises `NotFound` unless it is this caller's."""
    with db.write() as connection:
        gone = delete(SavedDraft).where(SavedDraft.id == draft_id, _unsent(caller_id))
        if not connection.execute(gone).rowcount:
            raise NotFound("There is no such draft.")


def mark_sent(db: Database, caller_id: str, draft_id: str, campaign_id: str) -> None:
    """Forget what the draft says: the campaign says it now. For a day it is known what it was sent as."""
    with db.write() as connection:
        values = {**_columns(Typed()), "sent_as": campaign_id, "saved_at": db.clock(connection)}
        connection.execute(update(SavedDraft).where(SavedDraft.id == draft_id, _unsent(caller_id)).values(**values))


def forgetting(db: Database, older_than: int) -> Steps:
    """Delete drafts that nobody has saved for `older_than` ms, and what is known of those that were sent."""
    with db.read() as connection:
        now = db.clock(connection)
    sent = and_(SavedDraft.sent_as.is_not(None), SavedDraft.saved_at < now - AFTER_SENDING)
    yield from delete_in_steps(db, SavedDraft, or_(SavedDraft.saved_at < now - older_than, sent))


def draft_retention(db: Database, older_than: int, lease: int) -> StepwiseTask:
    """The forgetting as a task that all processes share; both times are in ms."""
    return StepwiseTask(db, TASK, lambda: forgetting(db, older_than), lease=lease, period=PERIOD)


def _insert(connection: Connection, caller_id: str, draft_id: str, typed: Typed, version: int, now: int) -> None:
    count = select(func.count()).select_from(SavedDraft).where(_unsent(caller_id))
    if (connection.scalar(count) or 0) >= MOST:
        raise TooManyDrafts
    values = {"id": draft_id, "caller_id": caller_id, "created_at": now, "saved_at": now, "version": version}
    added = new_row(connection.dialect.name, SavedDraft).values(**values, **_columns(typed)).on_conflict_do_nothing()
    if not connection.execute(added).rowcount:  # another request has just made it
        raise StaleDraft(version, now)


def _row(connection: Connection, draft_id: str) -> AnyRow | None:
    return connection.execute(_mine(draft_id).with_for_update()).one_or_none()


def _mine(draft_id: str) -> Any:
    table = SavedDraft
    columns = (table.id, table.caller_id, table.subject, table.said, table.version, table.saved_at, table.sent_as)
    return select(*columns).where(table.id == draft_id)


def _unsent(caller_id: str) -> ColumnElement[bool]:
    return and_(SavedDraft.caller_id == caller_id, SavedDraft.sent_as.is_(None))


def _checked(row: AnyRow, caller_id: str) -> Saved:
    if row.caller_id != caller_id:
        raise NotFound("There is no such draft.")
    if row.sent_as is not None:
        raise DraftSent(row.sent_as)
    return Saved(row.id, Typed(subject=row.subject, **row.said), row.version, row.saved_at)


def _columns(typed: Typed) -> dict[str, Any]:
    said = {name: text for name, text in asdict(typed).items() if text or name not in _LATER}
    return {"subject": said.pop("subject"), "said": said}
