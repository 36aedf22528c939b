"""Nothing that was typed is lost: not when the session has ended, nor when a form is too large or of an older session.

Whatever keeps a form from being taken, its answer has the text in it.
"""

from __future__ import annotations

from functools import wraps
from http import HTTPStatus
from typing import Any

from flask import Response, g, jsonify, request
from werkzeug.exceptions import RequestEntityTooLarge

from mailer.callers.page_sessions import form_token
from mailer.callers.tokens import SEND_MAIL
from mailer.campaigns.saved_drafts import new_id
from mailer.errors import InvalidParams
from mailer.pages.base import PRIVATE_HEADERS
from mailer.pages.compose import form
from mailer.pages.compose.page import ComposePages, Shown
from mailer.pages.signed_in import ANEW, View, signed_in

ROOM = 2  # times the API's limit: a form that is too large is still read, so that its answer can have the text in it
MORE_ROOM = 64 * 1024  # bytes, for what is not the text


class TextKeeping:
    """Decorates the views that take the form."""

    def __init__(self, pages: ComposePages) -> None:
        self._pages = pages
        self._room = ROOM * pages.parts.settings.max_body_bytes + MORE_ROOM

    def composing(self, view: View) -> View:
        """Let in who has signed in and may send mail; whoever else sends a form, or another one, gets its text back."""

        permitted = self._pages.sign_ins.requires(SEND_MAIL)(view)

        @wraps(view)
        def kept(*args: Any, **kwargs: Any) -> Response:
            request.max_content_length = request.max_form_memory_size = self._room
            try:
                answer = permitted(*args, **kwargs)
                return answer if "signed_in" in g or "body" not in request.form else self._signed_out()
            except InvalidParams as error:
                if error.details.get("field") != "form" or "body" not in request.form:
                    raise
                return self._of_another_session(**kwargs)
            except RequestEntityTooLarge:
                return self._beyond_all_room(**kwargs)

        return kept

    def _signed_out(self) -> Response:
        """Who has been signed out meanwhile signs in elsewhere, and goes on from here."""
        if wants_json():
            return as_json({"signedOut": True}, HTTPStatus.UNAUTHORIZED)
        return self._pages.sign_ins.signed_out_page()

    def _of_another_session(self, draft_id: str = "", **_: Any) -> Response:
        """The form again, as one of this session: nothing was done with what was sent."""
        if wants_json():
            return as_json({"form": form_token(signed_in().secret)}, HTTPStatus.BAD_REQUEST)
        sent = form.read(request.form)
        query, problems = form.merged(sent)
        typed = form.with_query(sent.typed, query)
        chosen, said = form.form_to_show(sent, problems), [("plain", str(ANEW), "")]
        shown = Shown(draft_id or new_id(), typed, sent.version, form=chosen, problems=problems, said=said)
        return self._pages.show(shown)

    def _beyond_all_room(self, draft_id: str = "", **_: Any) -> Response:
        """Not even read: what was saved before is all that is left here, and the browser has the rest."""
        if wants_json():
            return as_json({"tooLarge": True}, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        values = {"draft_id": draft_id, "max_bytes": self._pages.parts.settings.max_body_bytes}
        status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        return self._pages.sign_ins.page("compose/too_large.html", values, status=status)


def wants_json() -> bool:
    """Whether our script asks, and shows the answer itself."""
    return request.headers.get("Accept", "") == "application/json"


def as_json(values: dict[str, Any], status: int = HTTPStatus.OK) -> Response:
    """An answer for our script."""
    answer = jsonify(values)
    answer.status_code = status
    answer.headers.update(PRIVATE_HEADERS)
    return answer
