"""Mailpit's routes about one message."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, jsonify, request

from mailer.api.guard import campaigns_in_reach
from mailer.api.mailpit import shapes
from mailer.api.mailpit.asked import ASKED, Guarding, TakesAllSchema, numbers
from mailer.errors import NotFound
from mailer.mailbox import reading
from mailer.mailbox.checks import checks_of
from mailer.mailbox.links import LinkChecks
from mailer.mailbox.opened import Opened, opened
from mailer.mailbox.search import parse
from mailer.storage.database import Database

LATEST = "latest"


def add_routes(blueprint: Blueprint, lets_in: Guarding, db: Database, checks: LinkChecks) -> None:
    """Add the routes. A message that the caller may not see is answered like one that does not exist."""

    find = partial(_found, db)

    @blueprint.get("/message/<number>")
    @lets_in
    @ASKED.use_args(TakesAllSchema, location="query")
    def show(_asked: dict[str, Any], number: str) -> Response:
        """One message, which is read then. The ID `latest` is the newest, or with `query` the newest of those found."""
        one, _, message = find(number)
        if not one.read:
            reading.mark(db, campaigns_in_reach(), reading.with_ids([one.id]), read=True)
        return jsonify(shapes.whole(one, message))

    @blueprint.get("/message/<number>/headers")
    @lets_in
    @ASKED.use_args(TakesAllSchema, location="query")
    def headers(_asked: dict[str, Any], number: str) -> Response:
        """Its fields."""
        return jsonify(shapes.fields(find(number)[2]))

    @blueprint.get("/message/<number>/raw")
    @lets_in
    @ASKED.use_args(TakesAllSchema, location="query")
    def raw(_asked: dict[str, Any], number: str) -> Response:
        """Its source."""
        return Response(find(number)[1], HTTPStatus.OK, mimetype="text/plain")

    @blueprint.get("/message/<number>/part/<part>")
    @lets_in
    def download(number: str, part: str) -> Response:
        """What is attached, to be kept."""
        found = find(number)[2].part(part)
        if found is None:
            raise NotFound("There is no such part.")
        answer = Response(found.octets, HTTPStatus.OK, mimetype="application/octet-stream")
        answer.headers.set("Content-Disposition", "attachment", filename=found.name)
        return answer

    @blueprint.get("/message/<number>/link-check")
    @lets_in
    @ASKED.use_args(TakesAllSchema, location="query")
    def link_check(_asked: dict[str, Any], number: str) -> Response:
        """Its links; of those to unsubscribe, whether they are worth anything."""
        one, _, message = find(number)
        return jsonify(shapes.links(checks.links_of(message, one.message_id)))

    @blueprint.get("/message/<number>/html-check")
    @lets_in
    @ASKED.use_args(TakesAllSchema, location="query")
    def html_check(_asked: dict[str, Any], number: str) -> Response:
        """The check list that the page has too."""
        one, content, message = find(number)
        return jsonify(shapes.html_check(checks_of(content, message, one.message_id, checks)))


def _found(db: Database, number: str) -> tuple[reading.Listed, bytes, Opened]:
    """The message of this ID. `latest` is the newest of all, or with `query` of those that are looked for."""
    reach = campaigns_in_reach()
    if number == LATEST:
        asked = parse(request.args.get("query", ""), request.args.get("tz", ""))
        one = reading.latest(db, reach, asked)
    else:
        one = reading.one(db, reach, *numbers([number]))
    content = reading.content(db, one)
    return one, content, opened(content)
