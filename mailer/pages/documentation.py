"""`/docs/`: the API described for a browser. Its assets are installed with the service; nothing is inline."""

from __future__ import annotations

from pathlib import Path

import flask_swagger_ui
from flask import Blueprint, Response, make_response, render_template, send_from_directory

ASSETS = Path(flask_swagger_ui.__file__).parent / "dist"
START = Path(__file__).resolve().parent / "static" / "documentation"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)


def make_blueprint(title: str) -> Blueprint:
    """The page and what it loads."""
    blueprint = Blueprint("documentation", __name__, url_prefix="/docs", template_folder="templates")

    @blueprint.get("/")
    def show() -> Response:
        return make_response(render_template("documentation.html", title=title))

    @blueprint.get("/start.js")
    def start() -> Response:
        return send_from_directory(START, "start.js")

    @blueprint.get("/<path:name>")
    def asset(name: str) -> Response:
        return send_from_directory(ASSETS, name)

    @blueprint.after_request
    def protect(answer: Response) -> Response:
        answer.headers["Content-Security-Policy"] = POLICY
        return answer

    return blueprint
