"""Saving what was typed. Whatever is in the way, the answer says so and has the text still in the form."""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus

from flask import Response, request
from flask_babel import gettext

from mailer.campaigns import saved_drafts
from mailer.campaigns.saved_drafts import DraftSent, Saved, StaleDraft, TooManyDrafts, new_id
from mailer.errors import NotFound
from mailer.pages.compose import form
from mailer.pages.compose.keeping import as_json, wants_json
from mailer.pages.compose.page import ComposePages, Shown
from mailer.pages.signed_in import signed_in


class Saving:
    """Saves what was sent, or says why it cannot be saved, with the text still in the form."""

    def __init__(self, pages: ComposePages) -> None:
        self._pages = pages
        self._settings = pages.parts.settings

    def save(self, shown: Shown) -> Saved | Response:
        """Save it as a new version of the draft."""
        caller = signed_in().caller
        if form.size_of(shown.typed) > self._settings.max_body_bytes:
            return self._too_large(shown)
        draft_id = new_id() if request.form.get("do") == "copy" else shown.draft_id
        version = 0 if draft_id != shown.draft_id else shown.version
        try:
            return saved_drafts.save(self._pages.parts.db, caller.user_id, draft_id, shown.typed, version)
        except StaleDraft as stale:
            return self._stale(shown, stale)
        except (DraftSent, NotFound) as gone:
            return self._gone(shown, gone)
        except TooManyDrafts as many:
            return self._refused(
                shown,
                gettext("You have %(count)s drafts, and none was saved. Delete some first.", count=saved_drafts.MOST),
                many.status,
                "compose/drafts",
            )

    def _too_large(self, shown: Shown) -> Response:
        said = gettext(
            "This is larger than the %(size)s bytes that the service takes, so it was neither saved nor sent. "
            "Shorten it, and load large images from a web server.",
            size=self._settings.max_body_bytes,
        )
        return self._refused(shown, said, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    def _stale(self, shown: Shown, stale: StaleDraft) -> Response:
        said = gettext(
            "This draft was saved elsewhere meanwhile, in another tab perhaps. Nothing was overwritten. If you save "
            "now, what stands here replaces it; or save this as a draft of its own."
        )
        current = replace(shown, version=stale.version, saved_at=stale.saved_at)
        return self._refused(current, said, stale.status, f"compose/{shown.draft_id}")

    def _gone(self, shown: Shown, gone: DraftSent | NotFound) -> Response:
        place = f"campaigns/{gone.campaign_id}" if isinstance(gone, DraftSent) else ""
        said = gettext("This draft has been sent. What stands here is a new one, which is not saved yet.")
        if not place:
            said = gettext("This draft is not yours. What stands here is a new one, which is not saved yet.")
        return self._refused(shown.anew(), said, HTTPStatus.CONFLICT, place)

    def _refused(self, shown: Shown, said: str, status: int, place: str = "") -> Response:
        if wants_json():
            return as_json({"said": said, "place": place}, status)
        return self._pages.show(replace(shown, said=[("bad", said, place)], status=status))


def progress(saved: Saved, problems: form.Problems) -> dict[str, object]:
    """What our script learns of a draft that it has saved."""
    return {"version": saved.version, "savedAt": saved.saved_at, "query": saved.typed.query, "problems": problems}
