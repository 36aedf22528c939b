"""`/docs/`: the API described for a browser. Its assets are installed with the service; nothing is inline."""

from __future__ import annotations

from pathlib import Path

import flask_swagger_ui
from flask import Blueprint, Response, make_response, render_template, send_from_directory

from mailer.pages.base import STATIC, TEMPLATES, content_policy

SWAGGER_UI = Path(flask_swagger_ui.__file__).parent / "dist"
START = STATIC / "documentation"
POLICY = content_policy(
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "font-src 'self'",
    "connect-src 'self'",
    "form-action 'none'",
)


def make_blueprint(title: str) -> Blueprint:
    """The page, called `title`, and what it loads."""
    blueprint = Blueprint("documentation", __name__, url_prefix="/docs", template_folder=str(TEMPLATES))

    @blueprint.get("/")
    def show() -> Response:
        return make_response(render_template("documentation.html", title=title))

    @blueprint.get("/start.js")
    def start() -> Response:
        return send_from_directory(START, "start.js")

    @blueprint.get("/<path:name>")
    def asset(name: str) -> Response:
        return send_from_directory(SWAGGER_UI, name)

    @blueprint.after_request
    def protect(answer: Response) -> Response:
        answer.headers["Content-Security-Policy"] = POLICY
        return answer

    return blueprint
