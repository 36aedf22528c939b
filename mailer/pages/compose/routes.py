"""Writing a campaign: a new one, one that was begun, the list of those, and what the buttons of the form do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus

from flask import Blueprint, Response, request
from flask_babel import gettext

from mailer.campaigns import saved_drafts
from mailer.campaigns.saved_drafts import DraftSent, Saved, new_id
from mailer.errors import NotFound
from mailer.pages.compose import form, preview, sending
from mailer.pages.compose.keeping import TextKeeping, as_json, wants_json
from mailer.pages.compose.page import ComposePages, Shown
from mailer.pages.compose.prefill import first
from mailer.pages.compose.saving import Saving, progress
from mailer.pages.parts import PageParts
from mailer.pages.signed_in import SignIns, View, signed_in, to_page

PAGE = 50  # drafts on a page of the list


def add_routes(blueprint: Blueprint, sign_ins: SignIns, parts: PageParts) -> None:
    """Add the routes. A draft is its owner's alone; to others it does not exist."""
    pages = ComposePages(parts, sign_ins)
    composing = TextKeeping(pages).composing
    _add_list(blueprint, composing, pages)
    _add_form(blueprint, composing, pages)
    preview.add_routes(blueprint, composing, pages)
    sending.add_routes(blueprint, composing, pages)


def _add_form(blueprint: Blueprint, composing: Callable[[View], View], pages: ComposePages) -> None:
    saving = Saving(pages)

    @blueprint.get("/compose")
    @composing
    def begin() -> Response:
        """A new draft, at an address of its own from the first letter on."""
        asked = request.query_string.decode("ascii", "replace")
        return to_page(f"compose/{new_id()}" + (f"?{asked}" if asked else ""))

    @blueprint.get("/compose/<draft_id>")
    @composing
    def show_draft(draft_id: str) -> Response:
        """A draft; with `look` also whom it reaches. With `part` only what changes while one types.

        One that is not saved yet is empty or, with `from-campaign`, `reached` or `not-reached` and a campaign's id,
        like that campaign.
        """
        try:
            saved = saved_drafts.read(pages.parts.db, signed_in().caller.user_id, draft_id)
        except DraftSent as sent:
            return to_page(f"campaigns/{sent.campaign_id}")
        except NotFound:
            if saved_drafts.is_free(pages.parts.db, draft_id):
                return pages.show(Shown(draft_id, first(pages)))
            raise
        look = pages.looks.look(signed_in().caller, saved.typed) if "look" in request.args else None
        template = "compose/parts.html" if "part" in request.args else "compose/compose.html"
        status = look.status if look else HTTPStatus.OK
        said = _said_of_test(request.args.get("tested", ""))
        return pages.show(replace(_shown(saved), look=look, status=status, said=said), template)

    @blueprint.post("/compose/<draft_id>")
    @composing
    def take(draft_id: str) -> Response:
        """Save the form, and go on as `do` says: look, preview, test, send."""
        sent = form.read(request.form)
        query, problems = form.merged(sent)
        shown = Shown(draft_id, form.with_query(sent.typed, query), sent.version, problems=problems)
        shown = replace(shown, form=form.form_to_show(sent, problems))
        saved = saving.save(shown)
        if isinstance(saved, Response):
            return saved
        if problems:
            shown = replace(shown, version=saved.version, saved_at=saved.saved_at, status=HTTPStatus.BAD_REQUEST)
            return as_json(progress(saved, problems)) if wants_json() else pages.show(shown)
        if wants_json():
            return as_json(progress(saved, {}))
        return sending.go_on(pages, _shown(saved), request.form.get("do", ""), sent.once)


def _add_list(blueprint: Blueprint, composing: Callable[[View], View], pages: ComposePages) -> None:
    @blueprint.get("/compose/drafts")
    @composing
    def list_drafts() -> Response:
        """What was begun and not sent, the last first; `before` continues the list."""
        found = saved_drafts.newest(pages.parts.db, signed_in().caller.user_id, PAGE + 1, request.args.get("before"))
        more = found[PAGE - 1].id if len(found) > PAGE else None
        values = {"found": found[:PAGE], "more": more, "days": pages.parts.settings.draft_lifetime // 86_400}
        return pages.sign_ins.page("compose/drafts.html", values)

    @blueprint.post("/compose/<draft_id>/delete")
    @composing
    def delete_draft(draft_id: str) -> Response:
        """Delete a draft for good."""
        saved_drafts.discard(pages.parts.db, signed_in().caller.user_id, draft_id)
        return to_page("compose/drafts")


def _shown(saved: Saved) -> Shown:
    return Shown(saved.id, saved.typed, saved.version, saved.saved_at)


def _said_of_test(campaign_id: str) -> list[tuple[str, str, str]]:
    if not campaign_id.isalnum():
        return []
    return [("good", gettext("The test is on its way. This is how it gets on:"), f"campaigns/{campaign_id}")]
