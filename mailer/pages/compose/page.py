"""The page on which one writes: a draft, what is wrong with it, whom it reaches, and what a careful person looks at."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from flask import Response

from mailer.api.submissions import Submissions
from mailer.audience.preview import addressee
from mailer.callers.tokens import SEND_URGENT, Caller
from mailer.campaigns.checks.message_checks import Check, Text, checks
from mailer.campaigns.saved_drafts import Typed, new_id
from mailer.messages.addresses import sender_allowed
from mailer.pages.compose.choices import choices
from mailer.pages.compose.form import Problems
from mailer.pages.compose.looks import Look, Looks
from mailer.pages.compose.query_form import QueryForm, from_text
from mailer.pages.parts import PageParts
from mailer.pages.signed_in import SignIns, signed_in
from mailer.storage.models import Priority


@dataclass(frozen=True, slots=True)
class Shown:
    """What the page shows. `version` 0: the draft is not saved. `form` None: the form shows what the text says."""

    draft_id: str
    typed: Typed
    version: int = 0
    saved_at: int | None = None
    form: QueryForm | None = None
    problems: Problems = field(default_factory=dict)
    said: Sequence[tuple[str, str, str]] = ()  # a style, a sentence, and a page below ours that it leads to
    look: Look | None = None
    status: int = 200

    def anew(self) -> Shown:
        """The same as a draft of its own, that is not saved yet."""
        return replace(self, draft_id=new_id(), version=0, saved_at=None)


class ComposePages:
    """Makes the pages on which one writes, and has what they are made from."""

    def __init__(self, parts: PageParts, sign_ins: SignIns) -> None:
        self.parts = parts
        self.sign_ins = sign_ins
        self.looks = Looks(parts)
        self.sending_rate = parts.limiter()
        self.submissions = Submissions(parts.db, parts.settings, parts.engine, parts.observer)

    def show(self, shown: Shown, template: str = "compose/compose.html") -> Response:
        """The page, or with another template a part of it."""
        settings, caller = self.parts.settings, signed_in().caller
        said_form = from_text(shown.typed.query)
        form = shown.form or said_form or QueryForm()
        own, known = self.own_address(caller), self.parts.field_values.now()
        values: dict[str, object] = {
            "shown": shown,
            "typed": shown.typed,
            "problems": shown.problems,
            "query_form": form,
            "can_show": shown.form is not None or said_form is not None,
            "choices": choices(known, form),
            "exact": known.exact,
            "checks": self.checks(shown.typed),
            "look": shown.look,
            "merging": settings.merge_addresses,
            "senders": settings.allowed_senders,
            "offered": [one for one in (*settings.allowed_senders, own) if one and not one.startswith("@")],
            "own": self.address_of(caller),
            "priorities": _priorities(caller, shown.typed),
            "once": secrets.token_urlsafe(12),
            "max_bytes": settings.max_body_bytes,
        }
        return self.sign_ins.page(template, values, status=shown.status)

    def address_of(self, caller: Caller) -> str:
        """The address of who has signed in; empty: they have none."""
        found = None if caller.service else addressee(self.parts.db, caller.user_id)
        return found.address if found else ""

    def own_address(self, caller: Caller) -> str:
        """The same, if they may send as it; else empty."""
        address = self.address_of(caller)
        return address if address and sender_allowed(address, self.parts.settings.allowed_senders) else ""

    def usual_sender(self, caller: Caller) -> str:
        """What stands in From before anybody writes there."""
        exact = (one for one in self.parts.settings.allowed_senders if not one.startswith("@"))
        return next(exact, "") or self.own_address(caller)

    def checks(self, typed: Typed) -> tuple[Check, ...]:
        """What was looked at; nothing while there is no body."""
        text = Text(typed.subject, typed.body, typed.sender, typed.inline_css)
        return checks(self.parts.settings, text) if typed.body.strip() else ()


def _priorities(caller: Caller, typed: Typed) -> list[str]:
    """Those that this caller may choose, and the one that was chosen."""
    urgent = SEND_URGENT in caller.permissions
    offered = [one.value for one in Priority if one is not Priority.URGENT or urgent]
    return offered if typed.priority in ("", *offered) else [*offered, typed.priority]
