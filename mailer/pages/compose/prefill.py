"""What stands in the form before anybody writes: nearly nothing, or what a campaign has said."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from flask import request

from mailer.api.submissions import FIELDS
from mailer.audience.bounds import bounds_of
from mailer.audience.earlier import divided
from mailer.campaigns.draft import draft_of
from mailer.campaigns.saved_drafts import Typed
from mailer.errors import InvalidParams, NotFound
from mailer.messages.addresses import Mailbox, written
from mailer.pages.compose.page import ComposePages
from mailer.pages.signed_in import signed_in
from mailer.storage.database import Database

FROM = "from-campaign"
HAD_IT = ["sent", "uncertain"]  # the outcomes of those whom a campaign has reached, or may have
SELECTIONS = {"reached": "reached", "not-reached": "notReached"}  # parameters of the page, and the fields of the API
STORED = {"$reached": "reached", "$notReached": "not_reached"}  # in a stored selector, beside the query


def first(pages: ComposePages) -> Typed:
    """The draft that the parameters ask for. Raises `NotFound` for a campaign that is not this caller's to see.

    A selection replaces one of the same kind that the campaign itself has: who had it was among those, and who has not
    had it has had none of the campaigns before. Raises `InvalidParams` where that one leaves out others than those who
    had a campaign: they must not get the message after all.
    """
    asked = {name: value for name in (FROM, *SELECTIONS) if (value := request.args.get(name))}
    if not asked:
        return Typed(sender=pages.usual_sender(signed_in().caller))
    if any(SELECTIONS.get(name, "from") not in FIELDS for name in asked):
        raise NotFound
    typed = _like(pages.parts.db, next(iter(asked.values())))
    selected = {name.replace("-", "_"): _had(asked[name]) for name in SELECTIONS if name in asked}
    if "not_reached" in selected and typed.not_reached and set(json.loads(typed.not_reached)["outcomes"]) - set(HAD_IT):
        raise InvalidParams("The campaign went to a selection of this kind itself.", field="not_reached")
    # how many the whole campaign was for says nothing of a part of them
    anew: dict[str, Any] = {"min_recipients": "", "max_recipients": ""} if selected else {}
    return replace(typed, **selected, **anew)


def _had(campaign_id: str) -> Any:
    return json.dumps({"campaign": campaign_id, "outcomes": HAD_IT})


def _like(db: Database, campaign_id: str) -> Typed:
    """What the campaign says, and to whom."""
    said = draft_of(db, campaign_id, signed_in().caller.reach)
    query = divided(said.query)[0]
    beside: dict[str, Any] = {
        field: json.dumps(said.query[name]) for name, field in STORED.items() if name in said.query
    }
    expected = bounds_of(said.query)
    return Typed(
        sender=written(Mailbox(said.sender_name, said.sender)),
        reply_to=written(Mailbox(said.reply_to_name or "", said.reply_to)) if said.reply_to else "",
        subject=said.subject,
        body=said.body,
        query=json.dumps(query, ensure_ascii=False) if query else "",
        priority=said.priority or "",
        min_recipients="" if expected.least is None else str(expected.least),
        max_recipients="" if expected.most is None else str(expected.most),
        inline_css=bool(said.inline_css),
        **beside,
    )
