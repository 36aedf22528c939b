"""The routes of Mailpit's API below `/mailer/mailbox/`, so that its clients can wait for a message and read it.

They take the credentials of this API, also as HTTP Basic, and never a page's cookie.
"""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response

from mailer.api.guard import Guard
from mailer.api.mailpit import lists, messages
from mailer.callers.tokens import MANAGE_CAMPAIGNS, SEND_MAIL
from mailer.mailbox.links import LinkChecks
from mailer.messages.links import Links
from mailer.storage.database import Database

CHALLENGE = 'Basic realm="Mailbox", charset="UTF-8"'


def make_blueprint(db: Database, guard: Guard, links: Links, site_url: str) -> Blueprint:
    """The routes. Who manages campaigns reaches all messages, others those of their own campaigns."""
    blueprint = Blueprint("mailpit", __name__, url_prefix="/mailer/mailbox/api/v1")
    lets_in = guard.requires(SEND_MAIL, MANAGE_CAMPAIGNS, basic=True)
    lists.add_routes(blueprint, lets_in, db)
    messages.add_routes(blueprint, lets_in, db, LinkChecks(links, site_url))

    @blueprint.after_request
    def private(answer: Response) -> Response:
        answer.headers["Cache-Control"] = "no-store"
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            answer.headers["WWW-Authenticate"] = CHALLENGE
        return answer

    return blueprint
