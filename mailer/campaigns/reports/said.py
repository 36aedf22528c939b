"""What a campaign said, and to whom, as its caller asked for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from mailer.audience.bounds import Bounds, bounds_of
from mailer.audience.earlier import NOT_REACHED, REACHED, Earlier, divided
from mailer.campaigns.draft import DRAFT_COLUMNS, Draft
from mailer.errors import NotFound
from mailer.storage.database import Database
from mailer.storage.models import Campaign


@dataclass(frozen=True, slots=True)
class Said:
    """A campaign's text and whom it was for; the fields have the meaning of those of the POST.

    `sender` and `reply_to` are as in the header, bare or as `Name <address>`. `query` is the selector without `reached`
    and `not_reached`. `draft` is all of it, ready to be compiled.
    """

    sender: str
    reply_to: str | None
    subject: str
    body: str
    query: Mapping[str, Any]
    dry_run: bool
    test_recipients: Sequence[str] | None
    inline_css: bool
    expected: Bounds
    reached: Earlier | None
    not_reached: Earlier | None
    draft: Draft


def said(db: Database, campaign_id: str, reach: str | None) -> Said:
    """Return what the campaign said. `reach` is whose campaigns the reader may see; None: everybody's.

    Raises `NotFound` if there is none, if it is none of theirs, or if what it said was purged.
    """
    columns = [getattr(Campaign, name) for name in DRAFT_COLUMNS]
    with db.read() as connection:
        row = connection.execute(select(Campaign.caller_id, *columns).where(Campaign.id == campaign_id)).one_or_none()
    if row is None or reach not in (None, row.caller_id):
        raise NotFound(f"There is no campaign {campaign_id}.")
    draft = Draft(*row[1:])
    if not draft.body:
        raise NotFound("What the campaign said was purged.")
    query, asked = divided(draft.query)
    answers = None if draft.reply_to is None else _mailbox(draft.reply_to_name, draft.reply_to)
    text = (_mailbox(draft.sender_name, draft.sender), answers, draft.subject, draft.body)
    return Said(
        *text,
        query,
        draft.dry_run,
        draft.test_recipients,
        bool(draft.inline_css),
        bounds_of(draft.query),
        asked.get(REACHED),
        asked.get(NOT_REACHED),
        draft,
    )


def _mailbox(name: str | None, address: str) -> str:
    """The name is quoted, so that it can be sent as it is and is read as the same name."""
    if not name:
        return address
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}" <{address}>' if any(mark in name for mark in '",<>@;:()[]\\') else f"{name} <{address}>"
