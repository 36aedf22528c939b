"""Sending: a test to oneself, and the campaign itself once somebody has confirmed to how many people it goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus

from flask import Blueprint, Response, request
from flask_babel import gettext

from mailer.audience.bounds import bounds_of
from mailer.audience.preview import Audience
from mailer.campaigns import saved_drafts
from mailer.campaigns.checks.overlap import Overlaps
from mailer.campaigns.draft import Draft
from mailer.campaigns.estimates.estimate import Estimate
from mailer.campaigns.saved_drafts import DraftSent, Saved
from mailer.errors import IdempotencyConflict, MailerError, TooManyRequests
from mailer.pages.compose import form
from mailer.pages.compose.page import ComposePages, Shown
from mailer.pages.from_below.translation import translated
from mailer.pages.signed_in import View, signed_in, to_page

GREW = 1.01  # times as many people as were confirmed, at most: a directory changes while somebody reads


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What is to be confirmed. `audience` None: a dry run."""

    saved: Saved
    draft: Draft
    audience: Audience | None

    @property
    def people(self) -> int:
        """How many messages go out."""
        return len(self.testers) if self.audience is None else self.audience.count

    @property
    def testers(self) -> Sequence[str]:
        """Whom a dry run goes to."""
        return self.draft.test_recipients or [self.draft.sender]


def add_routes(blueprint: Blueprint, composing: Callable[[View], View], pages: ComposePages) -> None:
    """Add the routes."""

    @blueprint.get("/compose/<draft_id>/send")
    @composing
    def confirm(draft_id: str) -> Response:
        """State the number of people, and ask."""
        asked = _ask(pages, draft_id)
        return asked if isinstance(asked, Response) else _confirm_page(pages, asked, _unexpected(asked))

    @blueprint.post("/compose/<draft_id>/send")
    @composing
    def send(draft_id: str) -> Response:
        """Send it, if it is what was confirmed. However often the button is pressed, it is sent once."""
        asked = _ask(pages, draft_id)
        if isinstance(asked, Response):
            return asked
        if problem := _objection(pages, asked):
            return _confirm_page(pages, asked, problem, HTTPStatus.BAD_REQUEST)
        try:
            return _accepted(pages, asked)
        except MailerError as error:
            answer = _confirm_page(pages, asked, _why(error), error.status)
            answer.headers.update(error.headers)
            return answer


def go_on(pages: ComposePages, shown: Shown, do: str, once: str) -> Response:
    """What a button of the form asks for, after the draft was saved."""
    place = f"compose/{shown.draft_id}"
    if do == "look":
        return to_page(f"{place}?look=1#audience")
    if do == "preview":
        return to_page(f"{place}/preview")
    if do in ("test", "test-own"):
        return _test(pages, shown, once, own=do == "test-own")
    if do == "send":
        _, problems = form.check(pages.submissions, signed_in().caller, shown.typed)
        if problems:
            return pages.show(replace(shown, problems=problems, status=HTTPStatus.BAD_REQUEST))
        return to_page(f"{place}/send")
    return to_page(place)


def _test(pages: ComposePages, shown: Shown, once: str, *, own: bool) -> Response:
    """One message to the address in From or to those who are named, as every dry run; with `own` to oneself alone."""
    caller, typed = signed_in().caller, replace(shown.typed, dry_run=True, priority="")
    if own:
        typed = replace(typed, to=pages.address_of(caller))
    if own and not typed.to:
        problems = {"to": gettext("The directory has no address of yours.")}
        return pages.show(replace(shown, problems=problems, status=HTTPStatus.BAD_REQUEST))
    draft, problems = form.check(pages.submissions, caller, typed)
    if draft is None:
        return pages.show(replace(shown, problems=problems, status=HTTPStatus.BAD_REQUEST))
    try:
        pages.sending_rate.hit("caller", caller.user_id)
        accepted = pages.submissions.accepted(caller, draft, f"test {shown.draft_id} {shown.version} {own:d} {once}")
    except TooManyRequests as error:
        answer = pages.show(replace(shown, said=[("bad", _why(error), "")], status=error.status))
        answer.headers.update(error.headers)
        return answer
    return to_page(f"compose/{shown.draft_id}?tested={accepted.campaign_id}")


def _ask(pages: ComposePages, draft_id: str) -> Confirmation | Response:
    """What would be sent now; or the page that shows where it is, or what is wrong with it."""
    caller = signed_in().caller
    try:
        saved = saved_drafts.read(pages.parts.db, caller.user_id, draft_id)
    except DraftSent as sent:
        return to_page(f"campaigns/{sent.campaign_id}")
    draft, problems = form.check(pages.submissions, caller, saved.typed)
    shown = Shown(saved.id, saved.typed, saved.version, saved.saved_at, problems=problems)
    if draft is None:
        return pages.show(replace(shown, status=HTTPStatus.BAD_REQUEST))
    try:
        return Confirmation(saved, draft, None if draft.dry_run else pages.looks.measured(caller, draft.query))
    except MailerError as error:
        return pages.show(replace(shown, said=[("bad", translated(error.text), "")], status=error.status))


def _confirm_page(pages: ComposePages, asked: Confirmation, problem: str = "", status: int = HTTPStatus.OK) -> Response:
    values = {
        "asked": asked,
        "problem": problem,
        "estimate": _estimate(pages, asked),
        "overlaps": () if asked.audience is None else Overlaps(pages.parts.db).beside(asked.draft.query),
        "must_type": _must_type(pages, asked),
        "checks": [one for one in pages.checks(asked.saved.typed) if one.sentences],
    }
    return pages.sign_ins.page("compose/confirm.html", values, status=status)


def _estimate(pages: ComposePages, asked: Confirmation) -> Estimate | None:
    """How long it takes; None: a dry run, which goes out at once, or nobody."""
    if asked.audience is None or not asked.people:
        return None
    return pages.looks.estimate(signed_in().caller, asked.saved.typed, asked.people)


def _must_type(pages: ComposePages, asked: Confirmation) -> bool:
    return asked.audience is not None and asked.people > pages.parts.settings.confirm_above


def _objection(pages: ComposePages, asked: Confirmation) -> str:
    """Why this is not what was confirmed; empty: it is."""
    confirmed = _number(request.form.get("people", ""))
    if request.form.get("version") != str(asked.saved.version):
        return str(gettext("The draft was changed since this page was loaded. Look at it again before you send it."))
    if not asked.people:
        return str(gettext("Nobody would receive it."))
    if unexpected := _unexpected(asked):
        return unexpected
    if confirmed is None or asked.people > confirmed * GREW:
        return str(gettext("There are more people now than this page had said. Look at the number again."))
    if _must_type(pages, asked) and _number(request.form.get("typed", "")) != confirmed:
        return str(gettext("Type the number of people who will receive it."))
    return ""


def _unexpected(asked: Confirmation) -> str:
    """That it is for another number of people than the draft expects; empty: it is for as many."""
    bounds = bounds_of(asked.draft.query)
    if asked.audience is None or not asked.people or bounds.contain(asked.people):
        return ""
    problem = gettext("The draft expects %(expected)s people. Change the number, or whom it goes to.")
    return str(problem % {"expected": translated(str(bounds)).replace(" to ", "–")})


def _accepted(pages: ComposePages, asked: Confirmation) -> Response:
    caller = signed_in().caller
    pages.sending_rate.hit("caller", caller.user_id)
    key = f"draft {asked.saved.id}"
    if asked.draft.dry_run:
        key = f"dry run {asked.saved.id} {asked.saved.version}"
    accepted = pages.submissions.accepted(caller, asked.draft, key)
    if not asked.draft.dry_run:
        saved_drafts.mark_sent(pages.parts.db, caller.user_id, asked.saved.id, accepted.campaign_id)
    return to_page(f"campaigns/{accepted.campaign_id}")


def _number(text: str) -> int | None:
    digits = "".join(text.split()).replace(",", "").replace(".", "")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 15 else None


def _why(error: MailerError) -> str:
    if isinstance(error, TooManyRequests):
        wait = gettext("You have sent too much in a short time. Wait %(seconds)s seconds; nothing is lost.")
        return str(wait % {"seconds": error.headers["Retry-After"]})
    if isinstance(error, IdempotencyConflict):
        return str(gettext("This draft was sent with another text. Copy it into a new one to send it again."))
    return translated(error.text)
