"""What a campaign says, and to whom: one value for the POST, the preview, the row on record and the messages."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, cast

from sqlalchemy import Column, Table, Text, select

from mailer.audience.bounds import Bounds, bounded
from mailer.audience.earlier import Earlier, narrowed
from mailer.errors import InvalidFromAddress, InvalidParams, MissingUnsubscribeLink, NotFound
from mailer.messages.addresses import Mailbox, envelope_address, parse_mailbox, sender_allowed
from mailer.messages.layout import TemplateSource
from mailer.messages.placeholders import UNSUBSCRIBE
from mailer.messages.return_addresses import addresses_of
from mailer.messages.template import Template, compile_message
from mailer.selector import compile_selector, parse_query
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.models import Campaign, Priority

MAX_KEPT = 2_000  # characters of a query whose selector is kept
KEPT = ("dry_run", "priority")  # fields that a purge keeps; it empties every other


@dataclass(frozen=True, slots=True)
class Draft:
    """What a caller asked for, checked. Each field is stored in the campaign's column of the same name.

    `sender` is an address in its envelope form. `query` selects the recipients, also by what an earlier campaign has
    reached (`audience.earlier`), and says how many are expected (`audience.bounds`); a dry run goes to `sender` alone.
    Recipients answer to the address `reply_to`, or to the sender if it is None; `reply_to_name` may be empty.
    `priority` None: the planner chooses it. A dry run goes to `test_recipients`, in their envelope form, instead of
    `sender`; None: nobody was named.
    """

    sender_name: str
    sender: str
    subject: str
    body: str
    query: Mapping[str, Any]
    dry_run: bool
    reply_to_name: str | None = None
    reply_to: str | None = None
    priority: Priority | None = None
    test_recipients: Sequence[str] | None = None

    def columns(self) -> dict[str, Any]:
        """Return the draft as values of the campaign's columns."""
        return {name: getattr(self, name) for name in DRAFT_COLUMNS}

    def fingerprint(self, *, sort_keys: bool = False) -> str:
        """Return a hash that recognises the same draft; with `sort_keys`, whatever the order of keys in its query.

        Fields that are None are left out, so that adding a field to `Draft` changes no hash on record.
        """
        said = {name: value for name, value in self.columns().items() if value is not None}
        return hashlib.sha256(json.dumps(said, sort_keys=sort_keys).encode()).hexdigest()


DRAFT_COLUMNS = tuple(field.name for field in fields(Draft))


def make_draft(
    settings: Settings,
    *,
    sender: str,
    subject: str,
    body: str,
    query: str | None = None,
    dry_run: bool | None = False,
    reply_to: Mailbox | None = None,
    priority: Priority | None = None,
    reached: Earlier | None = None,
    not_reached: Earlier | None = None,
    min_recipients: int | None = None,
    max_recipients: int | None = None,
    to: Sequence[str] | None = None,
) -> Draft:
    """Check a caller's fields, which are named as in `MailerSchema`, and return them as a draft.

    Raises `InvalidFromAddress`, `MissingUnsubscribeLink`, `InvalidParams` for a `to` without a dry run, or
    `InvalidQuery`. Where several apply, the first in this order is raised: the contract fixes the order.
    """
    try:
        mailbox = parse_mailbox(sender)
    except ValueError as error:
        raise InvalidFromAddress from error
    address = envelope_address(mailbox.address)
    if address is None or not sender_allowed(address, settings.allowed_senders):
        raise InvalidFromAddress
    if UNSUBSCRIBE not in body:
        raise MissingUnsubscribeLink
    if to is not None and not dry_run:
        raise InvalidParams("to: Only a dry run goes to those who are named; set dryrun to true.", field="to")
    selector = bounded(narrowed(_selected(query), reached, not_reached), Bounds(min_recipients, max_recipients))
    reply_name, reply_address = (reply_to.name, reply_to.address) if reply_to else (None, None)
    selected = (selector, bool(dry_run))
    return Draft(mailbox.name, address, subject, body, *selected, reply_name, reply_address, priority, to)


@lru_cache(maxsize=256)
def _known_selector(query: str) -> Mapping[str, Any]:
    selector = parse_query(query)
    compile_selector(selector)
    return selector


def _selected(query: str | None) -> Mapping[str, Any]:
    """The selector in `query`; programs send the same few again and again. Nobody may change it. Raises `InvalidQuery`.

    Long ones are not kept, so that they take no memory.
    """
    text = query or ""
    return _known_selector(text) if len(text) <= MAX_KEPT else _known_selector.__wrapped__(text)


def compile_draft(draft: Draft, campaign_id: str, settings: Settings, *, sends: bool = False) -> Template:
    """Compile the draft to a message that can be rendered for each recipient.

    With `sends` it goes to them, so the addresses for what comes back name the delivery. Raises
    `MissingUnsubscribeLink`, or `UnusableText` if the message could be sent to nobody.
    """
    if UNSUBSCRIBE not in draft.body:  # the API checks this too, but a row may come from elsewhere
        raise MissingUnsubscribeLink
    source = TemplateSource(
        campaign_id,
        Mailbox(draft.sender_name, draft.sender),
        draft.subject,
        draft.body,
        reply_to=None if draft.reply_to is None else Mailbox(draft.reply_to_name or "", draft.reply_to),
        site_name=settings.site_name,
        site_url=settings.site_url,
        header=settings.email_header,
        footer=settings.email_footer,
    )
    returns = addresses_of(settings, campaign_id, dry_run=draft.dry_run, sends=sends)
    return compile_message(source, returns)


def compile_campaign(db: Database, settings: Settings, campaign_id: str) -> Template:
    """Compile the message of a campaign on record, to be sent. Raises what `compile_draft` raises."""
    return compile_draft(draft_of(db, campaign_id), campaign_id, settings, sends=True)


def draft_of(db: Database, campaign_id: str, caller_id: str | None = None) -> Draft:
    """What a campaign says. Raises `NotFound` if there is none, or another than `caller_id` owns it."""
    wanted = select(*(getattr(Campaign, name) for name in DRAFT_COLUMNS)).where(Campaign.id == campaign_id)
    if caller_id is not None:
        wanted = wanted.where(Campaign.caller_id == caller_id)
    with db.read() as connection:
        row = connection.execute(wanted).one_or_none()
    if row is None:
        raise NotFound(f"There is no campaign {campaign_id}.")
    return Draft(*row)


def forgotten() -> dict[str, Any]:
    """Return what a purge writes over a campaign's draft: null, or an empty value in columns that allow no null."""
    columns = cast(Table, Campaign.__table__).columns
    return {name: _nothing(columns[name]) for name in DRAFT_COLUMNS if name not in KEPT}


def _nothing(column: Column[Any]) -> Any:
    if column.nullable:
        return None
    return "" if isinstance(column.type, Text) else {}
