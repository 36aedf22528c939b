"""Replace the subject and the body of a paused campaign: whoever is not served yet gets the new text.

Every text is a version, counted from 1, and an outcome knows the version that was sent. Nobody has a message in hand
while the text changes: a batch that is still being sent is waited for. Copies of a message have the same Message-ID,
also where somebody whose first attempt failed for now gets the new text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, and_, insert, select, update

from mailer.audit.actor import current_actor
from mailer.audit.log import Act, record
from mailer.campaigns.draft import Draft, compile_draft, draft_of
from mailer.errors import InvalidParams, InvalidState, NotFound
from mailer.messages.template import UnusableText
from mailer.settings import Settings
from mailer.storage.database import AnyRow, Database
from mailer.storage.models import Batch, BatchState, Campaign, CampaignState, CampaignText
from mailer.timeline.events import Kind, first_owner, happened


@dataclass(frozen=True, slots=True)
class Revision:
    """One version of what a campaign says; who made it and when (ms since 1970)."""

    version: int
    subject: str
    body: str
    made_at: int
    made_by: str


def edit(
    db: Database,
    settings: Settings,
    campaign_id: str,
    caller_id: str | None = None,
    *,
    subject: str | None = None,
    body: str | None = None,
    version: int | None = None,
) -> int:
    """Replace the subject, the body or both, and return the number of the version; the same text makes none.

    With `caller_id`, only a campaign of this caller is found. `version` is what the editor has seen: another one in the
    meantime is refused. Raises `NotFound`, `InvalidState`, `MissingUnsubscribeLink`, and `InvalidParams` for a text
    that could be sent to nobody.
    """
    if subject is None and body is None:
        raise InvalidParams("subject: Either this or body must be given.", field="subject")
    before = draft_of(db, campaign_id, caller_id)
    new: dict[str, Any] = {name: text for name, text in (("subject", subject), ("body", body)) if text is not None}
    said = replace(before, **new)
    _verify(said, campaign_id, settings)
    with db.write() as connection:
        campaign = _lock(connection, campaign_id, caller_id)
        now = db.clock(connection)
        _require(connection, campaign, now, version)
        if (campaign.subject, campaign.body) != (before.subject, before.body):
            raise InvalidState("Somebody else has just changed the text.", version=campaign.version)
        if said == before:
            return int(campaign.version)
        return _write(connection, campaign, said, now)


def revisions(db: Database, campaign_id: str, caller_id: str | None = None) -> Sequence[Revision]:
    """Every version of what the campaign says, the first one first. Raises `NotFound`; after a purge there is none."""
    mine = Campaign.id == campaign_id
    wanted = select(Campaign).where(mine if caller_id is None else and_(mine, Campaign.caller_id == caller_id))
    columns = (CampaignText.version, CampaignText.subject, CampaignText.body)
    texts = select(*columns, CampaignText.made_at, CampaignText.made_by).where(CampaignText.campaign_id == campaign_id)
    with db.read() as connection:
        row = connection.execute(wanted).one_or_none()
        if row is None:
            raise NotFound(f"There is no campaign {campaign_id}.")
        found = [Revision(*text) for text in connection.execute(texts.order_by(CampaignText.version))]
        by = first_owner(connection, campaign_id, row.caller_id)
    if found or not row.body:
        return found
    return [Revision(1, row.subject, row.body, row.created_at, by)]


def _verify(said: Draft, campaign_id: str, settings: Settings) -> None:
    try:
        compile_draft(said, campaign_id, settings)
    except UnusableText as error:
        field = "subject" if str(error).startswith("subject") else "body"
        raise InvalidParams(f"{field}: {error}.", field=field) from error


def _lock(connection: Connection, campaign_id: str, caller_id: str | None) -> AnyRow:
    columns = (Campaign.id, Campaign.caller_id, Campaign.state, Campaign.subject, Campaign.body)
    query = select(*columns, Campaign.version, Campaign.created_at).where(Campaign.id == campaign_id)
    if caller_id is not None:
        query = query.where(Campaign.caller_id == caller_id)
    campaign = connection.execute(query.with_for_update(key_share=True)).one_or_none()
    if campaign is None:
        raise NotFound(f"There is no campaign {campaign_id}.")
    return campaign


def _require(connection: Connection, campaign: AnyRow, now: int, version: int | None) -> None:
    """Raise `InvalidState` unless the text may change now. The batches are locked, so that nobody takes one."""
    if campaign.state != CampaignState.PAUSED:
        problem = f"The campaign is {campaign.state}; pause it to change what it says."
        raise InvalidState(problem, state=campaign.state)
    if version not in (None, campaign.version):
        raise InvalidState(f"The campaign has version {campaign.version} by now.", version=campaign.version)
    left = and_(Batch.campaign_id == campaign.id, Batch.state != BatchState.DONE)
    batches = connection.execute(select(Batch.state, Batch.due_at).where(left).with_for_update()).all()
    if any(one.state == BatchState.RUNNING and one.due_at > now for one in batches):
        raise InvalidState("Messages of the campaign are still in hand; try again in a few seconds.", inHand=True)


def _write(connection: Connection, campaign: AnyRow, said: Draft, now: int) -> int:
    version: int = campaign.version + 1
    who = current_actor().who
    if campaign.version == 1:
        by = first_owner(connection, campaign.id, campaign.caller_id)
        first = (campaign.subject, campaign.body, campaign.created_at, by)
        connection.execute(insert(CampaignText).values(**_text(campaign.id, 1, *first)))
    connection.execute(insert(CampaignText).values(**_text(campaign.id, version, said.subject, said.body, now, who)))
    changed = update(Campaign).where(Campaign.id == campaign.id)
    connection.execute(changed.values(subject=said.subject, body=said.body, version=version))
    record(connection, now, Act.EDIT_CAMPAIGN, campaign.id, version=version)
    happened(connection, now, Kind.EDITED, campaign.id, by=who, version=version)
    return version


def _text(campaign_id: str, version: int, subject: str, body: str, made_at: int, made_by: str) -> dict[str, Any]:
    about = {"campaign_id": campaign_id, "version": version, "made_at": made_at, "made_by": made_by}
    return {**about, "subject": subject, "body": body}
