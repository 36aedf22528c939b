"""The form of a campaign: what a browser sends of it, and the same as a request to the API."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

from flask_babel import gettext
from werkzeug.datastructures import MultiDict

from mailer.api.submissions import Submissions, read_fields
from mailer.audience.field_values import Value
from mailer.callers.tokens import SEND_URGENT, Caller
from mailer.campaigns.draft import Draft
from mailer.campaigns.referrals import verify_now
from mailer.campaigns.saved_drafts import Typed
from mailer.errors import (
    InvalidFromAddress,
    InvalidParams,
    InvalidQuery,
    MailerError,
    MissingUnsubscribeLink,
    NotAuthorized,
)
from mailer.messages.placeholders import UNSUBSCRIBE
from mailer.pages.compose.query_form import CREATED, DOMAINS, NotReadable, QueryForm, reconciled
from mailer.pages.from_below.translation import translated

CHOSEN = "is."  # before a field's name: the values that were ticked
OTHER, NUMBER = "other.", "number."  # the same: one that was typed, and one for a field of numbers
TEXTS = {"sender": "from", "reply_to": "replyTo", "subject": "subject", "body": "body", "query": "query"}
TEXTS |= {"priority": "priority", "reached": "reached", "not_reached": "notReached"}
TEXTS |= {"min_recipients": "minRecipients", "max_recipients": "maxRecipients", "to": "to"}
"""The names of the fields in the form, which are those of the API, by those of `Typed`."""
VALID: dict[str, tuple[str, str | bool]] = {
    "from": ("sender", "a@example.com"),
    "replyTo": ("reply_to", ""),
    "subject": ("subject", "-"),
    "body": ("body", UNSUBSCRIBE),
    "query": ("query", ""),
    "priority": ("priority", ""),
    "minRecipients": ("min_recipients", ""),
    "maxRecipients": ("max_recipients", ""),
    "to": ("to", ""),
    "inlineCss": ("inline_css", False),
}
"""Fields of the form, each with its name in `Typed` and something that the API takes."""
OPAQUE = ("reached", "notReached")  # JSON that the page only hands on; the API says whether it takes it

Problems = dict[str, str]
"""What is wrong, by the name of the field at fault. An empty name: none alone."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A form that was sent. `shown` is the text of the query that its page showed; `once` differs for each page."""

    typed: Typed
    version: int
    shown: str
    form: QueryForm
    once: str


def read(fields: MultiDict[str, str]) -> Sent:
    """What the form says."""
    texts = {name: _clean(fields.get(field, "")) for name, field in TEXTS.items()}
    one_line = {name: text.replace("\n", " ").strip() for name, text in texts.items() if name not in ("body", "query")}
    values: dict[str, Any] = {**texts, **one_line, "dry_run": "dryrun" in fields, "inline_css": "inlineCss" in fields}
    version = fields.get("version", "")
    number = int(version) if version.isascii() and version.isdigit() and len(version) < 10 else 0
    return Sent(
        Typed(**values), number, _clean(fields.get("shown", "")), _query_form(fields), fields.get("once", "")[:40]
    )


def merged(sent: Sent) -> tuple[str, Problems]:
    """The query that is meant, of the form and the text; the text, and a problem, where that cannot be told."""
    try:
        query = reconciled(sent.typed.query, sent.shown, sent.form)
    except NotReadable as error:
        wrong = {
            DOMAINS: gettext("“%(value)s” is no domain, such as example.com.", value=error.value),
            CREATED: gettext("“%(value)s” is no date, such as 2015-01-31.", value=error.value),
        }
        return sent.typed.query, {error.field: wrong[error.field]}
    if query is None:
        both = gettext("The form and the text were both changed, and do not say the same. Now the text counts.")
        return sent.typed.query.strip(), {"query": both}
    return query, {}


def form_to_show(sent: Sent, problems: Problems) -> QueryForm | None:
    """The form of the query as it was sent, where something in it has to be mended; None: as the text says."""
    return sent.form if problems.keys() - {"query"} else None


def with_query(typed: Typed, query: str) -> Typed:
    """The same with another query."""
    return replace(typed, query=query)


def payload_of(typed: Typed) -> dict[str, Any]:
    """The same as the JSON of a request to the API, without what is empty. Only a dry run names whom it goes to."""
    typed = typed if typed.dry_run else replace(typed, to="")
    asked: dict[str, Any] = {field: getattr(typed, name) for name, field in TEXTS.items()}
    asked |= {**{field: _object(asked[field]) for field in OPAQUE}, "inlineCss": typed.inline_css}
    needed = {"from": typed.sender, "subject": typed.subject, "body": typed.body, "dryrun": typed.dry_run}
    return {**{field: value for field, value in asked.items() if value and str(value).strip()}, **needed}


def check(submissions: Submissions, caller: Caller, typed: Typed) -> tuple[Draft | None, Problems]:
    """The draft that the API would accept, or all that it would refuse, by field.

    The API names the first mistakes. To find the others, what stands in these fields is replaced by something valid.
    """
    draft, found = _checked(submissions, caller, typed)
    problems = _in_words(typed, found)
    anybody = replace(submissions, settings=replace(submissions.settings, allowed_senders=()))
    while found and found.keys() <= VALID.keys():
        valid: dict[str, Any] = dict(VALID[field] for field in found)
        typed = replace(typed, **valid)
        _, found = _checked(anybody if "from" in problems else submissions, caller, typed)
        problems = {**_in_words(typed, found), **problems}
    return draft, problems


def _checked(submissions: Submissions, caller: Caller, typed: Typed) -> tuple[Draft | None, Problems]:
    """The draft, or the first mistakes."""
    try:
        draft = submissions.checked(caller, read_fields(payload_of(typed)))
        verify_now(submissions.db, draft.query, caller.reach)
        return draft, {}
    except InvalidParams as error:
        found = error.details.get("fields", {error.details.get("field", ""): error.text})
        return None, {field: translated(told) for field, told in found.items()}
    except NotAuthorized:
        return None, {"priority": gettext("This takes the permission %(permission)s.", permission=SEND_URGENT)}
    except MailerError as error:
        return None, {_field(error): translated(error.text)}


def _in_words(typed: Typed, found: Problems) -> Problems:
    """The same; what is simply missing is asked for."""
    missing = {
        "from": (typed.sender, gettext("Enter the address to send from.")),
        "subject": (typed.subject, gettext("Enter a subject.")),
    }
    return {field: missing[field][1] if not missing.get(field, ("x",))[0] else told for field, told in found.items()}


def size_of(typed: Typed) -> int:
    """How many bytes the request to the API would have."""
    return len(json.dumps(payload_of(typed), ensure_ascii=False).encode("utf-8", "replace"))


def _field(error: MailerError) -> str:
    at_fault: dict[type[MailerError], str] = {
        InvalidFromAddress: "from",
        MissingUnsubscribeLink: "body",
        InvalidQuery: "query",
    }
    return next((field for kind, field in at_fault.items() if isinstance(error, kind)), "")


def _object(text: str) -> object:
    """What the JSON says, or the text where it is none: the API refuses it, and nobody is written to by mistake."""
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text


_NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,15})?", re.ASCII)


def _query_form(fields: MultiDict[str, str]) -> QueryForm:
    chosen: defaultdict[str, list[Value]] = defaultdict(list)
    for name, values in fields.lists():
        if name.startswith(CHOSEN):
            chosen[name.removeprefix(CHOSEN)] += [value for text in values if (value := _value(text)) is not None]
    for name, text in fields.items():
        kind, dot, field = name.partition(".")
        if kind + dot not in (OTHER, NUMBER) or not (typed := text.strip()):
            continue
        number = _value(typed) if kind + dot == NUMBER and _NUMBER.fullmatch(typed) else None
        value = typed if number is None else number
        if value not in chosen[field]:
            chosen[field].append(value)
    kept = {name: tuple(values) for name, values in chosen.items() if values}
    return QueryForm(kept, fields.get("since", "").strip(), fields.get("match") == "any")


def _value(text: str) -> Value | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, Value) else None


def _clean(text: str) -> str:
    """Line ends as one character, and no NUL, which no database keeps."""
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\N{REPLACEMENT CHARACTER}")
