"""A campaign that somebody asks for, by a POST to the API or from a page: read, checked and accepted in one way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from marshmallow import ValidationError

from mailer.api.requests.parser import refusal
from mailer.api.schemas import MailerSchema
from mailer.callers.tokens import SEND_URGENT, Caller
from mailer.campaigns.accept import Accepted, First, accept, nothing_first
from mailer.campaigns.draft import Draft, make_draft
from mailer.engines import Engine
from mailer.observer import UNOBSERVED, Observer
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.models import Priority

FIELDS = frozenset(field.data_key or name for name, field in MailerSchema().fields.items())
"""The names of what a request for a campaign may have."""


@dataclass(frozen=True, slots=True)
class Submissions:
    """Takes campaigns. `observer` is told of each one that is accepted."""

    db: Database
    settings: Settings
    engine: Engine
    observer: Observer = UNOBSERVED

    def checked(self, caller: Caller, payload: Mapping[str, Any]) -> Draft:
        """The draft of a request that the schema has read. Raises `NotAuthorized` and what `make_draft` raises."""
        if payload["priority"] is Priority.URGENT:
            caller.require(SEND_URGENT)
        return make_draft(self.settings, **payload)

    def accepted(self, caller: Caller, draft: Draft, key: str | None, *, first: First = nothing_first) -> Accepted:
        """Accept it; with a `key`, once. `first` is done in the same transaction. Raises `IdempotencyConflict`."""
        times = {"repeat_window": self.settings.repeat_window * 1000, "key_lifetime": self.settings.key_lifetime * 1000}
        everybody = caller.reach is None
        accepted = accept(self.db, caller.user_id, draft, key, **times, everybody=everybody, first=first)
        if not accepted.replayed:
            self.observer.accepted()
        self.engine.wake()
        return accepted


def read_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What `MailerSchema` reads in the fields of a request. Raises `InvalidParams`, which names each field at fault."""
    try:
        read: dict[str, Any] = MailerSchema().load(fields)
    except ValidationError as error:
        raise refusal({"json": error.messages}) from error
    return read
