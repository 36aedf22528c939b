"""Whom a draft would reach, and what is left out, as the API tells it and within the API's limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from flask_babel import gettext

from mailer.api.submissions import read_fields
from mailer.audience.preview import Audience, addressee, first_recipient, measure
from mailer.callers.rate_limits import RateLimiter
from mailer.callers.tokens import Caller
from mailer.campaigns.checks.lint import about_directory
from mailer.campaigns.draft import make_draft
from mailer.campaigns.estimates.estimate import Estimate, Estimator
from mailer.campaigns.referrals import verify_now
from mailer.campaigns.saved_drafts import Typed
from mailer.errors import InvalidQuery, MailerError, NotFound
from mailer.messages.placeholders import UNSUBSCRIBE
from mailer.messages.recipient import Recipient
from mailer.pages.compose.form import payload_of
from mailer.pages.from_below.translation import translated
from mailer.pages.parts import PageParts
from mailer.selector import parse_query
from mailer.storage.models import Priority


@dataclass(frozen=True, slots=True)
class Look:
    """Who would receive it, or the problem that keeps us from knowing. `warnings` are sentences about the query."""

    audience: Audience | None = None
    warnings: tuple[str, ...] = ()
    problem: str = ""
    status: int = 200
    estimate: Estimate | None = None


class Looks:
    """Looks at audiences for people; each look counts against the rate that a caller's looks have in the API."""

    def __init__(self, parts: PageParts) -> None:
        self._parts = parts
        self._limit = float(parts.settings.audience_timeout)
        self._estimator = Estimator(parts.db, parts.transport, parts.settings.send_window)
        self._limiter = RateLimiter(parts.db, parts.settings.audience_rate_limit)

    def look(self, caller: Caller, typed: Typed) -> Look:
        """Look at the audience of what was typed, whether the rest could be sent or not."""
        try:
            selector = self._selector(typed)
            verify_now(self._parts.db, selector, caller.reach)
            audience = self.measured(caller, selector)
            with self._parts.directory_reads.slot():
                named = about_directory(self._parts.db, parse_query(typed.query), limit=self._limit)
            return Look(audience, named, estimate=self.estimate(caller, typed, audience.count))
        except InvalidQuery:  # the field itself says what is wrong
            return Look(problem=gettext("The query cannot be read yet."))
        except MailerError as error:
            return Look(problem=translated(error.text), status=error.status)

    def estimate(self, caller: Caller, typed: Typed, people: int) -> Estimate:
        """How long it would take to send it to so many."""
        chosen = next((one for one in Priority if one.value == typed.priority), None)
        return self._estimator.estimate(caller.user_id, people, chosen)

    def _selector(self, typed: Typed) -> Mapping[str, Any]:
        """Whom the API would select for this, whatever else is written or missing. Raises what it refuses."""
        asked = replace(typed, sender="a@example.com", subject="-", body=UNSUBSCRIBE, reply_to="", priority="", to="")
        asked = replace(asked, min_recipients="", max_recipients="")
        anybody = replace(self._parts.settings, allowed_senders=())
        return make_draft(anybody, **read_fields(payload_of(asked))).query

    def measured(self, caller: Caller, query: Mapping[str, Any]) -> Audience:
        """The audience of a query, counted as a look. Raises `TooManyRequests`, `TooBusy` and `QueryTimeout`."""
        self._limiter.hit("looks", caller.user_id)
        with self._parts.directory_reads.slot():
            return measure(self._parts.db, query, merge=self._parts.settings.merge_addresses, limit=self._limit)

    def recipient(self, caller: Caller, query: Mapping[str, Any], user_id: str) -> Recipient:
        """The user with this id, or the first whom the query selects. Raises `NotFound`, and what `look` tells."""
        self._limiter.hit("looks", caller.user_id)
        if user_id:
            found = addressee(self._parts.db, user_id)
        else:
            merge = self._parts.settings.merge_addresses
            with self._parts.directory_reads.slot():
                found = first_recipient(self._parts.db, query, merge=merge, limit=self._limit)
        if found is None:
            raise NotFound(gettext("There is nobody to show it for."))
        return found
