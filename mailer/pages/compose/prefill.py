"""What stands in the form before anybody writes: nearly nothing, or what a campaign has said."""

from __future__ import annotations

import json
from dataclasses import replace

from flask import request

from mailer.api.submissions import FIELDS
from mailer.campaigns.draft import draft_of
from mailer.campaigns.saved_drafts import Typed
from mailer.errors import NotFound
from mailer.messages.addresses import Mailbox, written
from mailer.pages.compose.page import ComposePages
from mailer.pages.signed_in import signed_in
from mailer.storage.database import Database

HAD_IT = ["sent", "uncertain"]  # the outcomes of those whom a campaign has reached, or may have
SELECTIONS = {"reached": "reached", "not-reached": "notReached"}  # parameters of the page, and the fields of the API


def first(pages: ComposePages) -> Typed:
    """The draft that the parameters ask for. Raises `NotFound` for a campaign that is not this caller's to see."""
    for name in ("from-campaign", *SELECTIONS):
        if campaign_id := request.args.get(name):
            return _like(pages.parts.db, campaign_id, name)
    return Typed(sender=pages.usual_sender(signed_in().caller))


def _like(db: Database, campaign_id: str, parameter: str) -> Typed:
    """What the campaign says; with a selection, to those whom it has reached, or has not."""
    field = SELECTIONS.get(parameter)
    if field is not None and field not in FIELDS:
        raise NotFound
    said = draft_of(db, campaign_id, signed_in().caller.reach)
    typed = Typed(
        sender=written(Mailbox(said.sender_name, said.sender)),
        reply_to=written(Mailbox(said.reply_to_name or "", said.reply_to)) if said.reply_to else "",
        subject=said.subject,
        body=said.body,
        query=json.dumps(said.query, ensure_ascii=False) if said.query else "",
        priority=said.priority or "",
    )
    selected = json.dumps({"campaign": campaign_id, "outcomes": HAD_IT})
    chosen = {field: selected if field else ""}
    return replace(typed, reached=chosen.get("reached", ""), not_reached=chosen.get("notReached", ""))
