"""Mailpit's lists: all messages, those that are looked for, and what is done to many of them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, jsonify, request

from mailer.api.guard import campaigns_in_reach
from mailer.api.mailpit import shapes
from mailer.api.mailpit.asked import ASKED, Guarding, IdsSchema, ListSchema, ReadSchema, SearchSchema, numbers
from mailer.api.openapi import service_version
from mailer.api.requests.bodies import read_whole
from mailer.errors import InvalidParams
from mailer.mailbox import reading
from mailer.mailbox.search import Search, parse
from mailer.storage.database import Database

UNREAD = "is:unread"


def add_routes(blueprint: Blueprint, lets_in: Guarding, db: Database) -> None:
    """Add the routes."""

    @blueprint.get("/info")
    @lets_in
    def info() -> Response:
        """How many messages there are, and the version of this service."""
        reach = campaigns_in_reach()
        counts = {"Messages": reading.count(db, reach), "Unread": reading.count(db, reach, parse(UNREAD))}
        version = service_version()
        return jsonify(Version=version, LatestVersion=version, Database="", DatabaseSize=0, Tags={}, **counts)

    @blueprint.get("/messages")
    @lets_in
    @ASKED.use_args(ListSchema, location="query")
    def list_messages(asked: dict[str, Any]) -> Response:
        """The messages, newest first."""
        return _page(db, Search(), asked)

    @blueprint.get("/search")
    @lets_in
    @ASKED.use_args(SearchSchema, location="query")
    def search(asked: dict[str, Any]) -> Response:
        """Those that are looked for, newest first."""
        return _page(db, parse(asked["query"], asked["tz"]), asked)

    @blueprint.put("/messages")
    @lets_in
    @ASKED.use_args(ReadSchema)
    def mark(asked: dict[str, Any]) -> Response:
        """Mark messages as read, or as unread: those of these IDs, or those that are looked for, or all."""
        if asked["ids"] and asked["search"]:
            raise InvalidParams("Search: Give IDs or a search, not both.", field="Search")
        meant = reading.with_ids(numbers(asked["ids"])) if asked["ids"] else parse(asked["search"])
        reading.mark(db, campaigns_in_reach(), meant, read=asked["read"])
        return _done()

    @blueprint.delete("/messages")
    @lets_in
    def delete_messages() -> Response:
        """Delete the messages of these IDs, or all if there is no body or it names none."""
        # a body without a length, in chunks, may name some as well
        ids = ASKED.parse(IdsSchema, request)["ids"] if read_whole(request) else []
        reading.remove(db, campaigns_in_reach(), reading.with_ids(numbers(ids)) if ids else Search())
        return _done()

    @blueprint.delete("/search")
    @lets_in
    @ASKED.use_args(SearchSchema, location="query")
    def delete_found(asked: dict[str, Any]) -> Response:
        """Delete those that are looked for."""
        reading.remove(db, campaigns_in_reach(), parse(asked["query"], asked["tz"]))
        return _done()


def _page(db: Database, search: Search, asked: dict[str, Any]) -> Response:
    reach, unread = campaigns_in_reach(), parse(UNREAD)
    found = reading.page(db, reach, search, asked["limit"], start=asked["start"])
    total, total_unread = reading.count(db, reach), reading.count(db, reach, unread)
    counts = {"matching": total, "unread_matching": total_unread}
    if search.conditions:
        of_these = Search((*search.conditions, *unread.conditions))
        counts = {"matching": reading.count(db, reach, search), "unread_matching": reading.count(db, reach, of_these)}
    return jsonify(shapes.page(found, start=asked["start"], total=total, unread=total_unread, **counts))


def _done() -> Response:
    return Response("ok", HTTPStatus.OK, mimetype="text/plain")
