"""For whoever keeps the service running: is the process alive, can it work, what should a person see to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flask import Blueprint, jsonify
from sqlalchemy import delete, false
from sqlalchemy.exc import SQLAlchemyError
from webargs.flaskparser import FlaskParser

from mailer.api.requests.parser import StrictParser
from mailer.api.schemas import StrictSchema, WireBoolean
from mailer.campaigns import progress
from mailer.delivery import circuit_breaker
from mailer.engines import Engine
from mailer.storage.database import Database
from mailer.storage.database_errors import in_public
from mailer.storage.models import RateLimit
from mailer.workspace.scheduled_sync import SyncTask
from transports.base import Transport, TransportUnavailable

Look = Callable[[], Iterable[str]]  # what a person should see to, a sentence each


class ReadySchema(StrictSchema):
    """How strictly to judge."""

    strict = WireBoolean(load_default=False)


_PARSER: FlaskParser = StrictParser()


def make_blueprint(
    db: Database,
    transport: Transport,
    engine: Engine,
    sync: SyncTask | None,
    warnings: Mapping[str, Look] | None = None,
) -> Blueprint:
    """`/healthz` and `/readyz`, which is 503 for what a probe must act on: the database, and threads that ended.

    What keeps mail from going out and is mended elsewhere is a warning, since restarting the process, or taking it out
    of a cluster with its unsubscribe page, would make it no better; with `?strict=true` a transport that does not work
    is 503 as well. `warnings` are further ones by name.
    """
    blueprint = Blueprint("health", __name__)

    @blueprint.get("/healthz")
    def healthz() -> Any:
        return jsonify(status="ok")

    @blueprint.get("/readyz")
    @_PARSER.use_args(ReadySchema, location="query")
    def readyz(asked: dict[str, bool]) -> Any:
        trouble = {
            "database": _database_trouble(db),
            "transport": _transport_trouble(db, transport),
            "engine": engine.trouble(),
        }
        fatal = ("database", "engine", "transport") if asked["strict"] else ("database", "engine")
        down = any(trouble[name] for name in fatal)
        trouble["campaigns"] = _campaigns_trouble(db)
        if sync is not None:
            trouble["sync"] = _sync_trouble(sync)
        parts = {name: problem or "ok" for name, problem in trouble.items()}
        shown = [f"{name}: {trouble[name]}" for name in ("transport", "campaigns", "sync") if trouble.get(name)]
        shown += [f"{name}: {problem}" for name, look in (warnings or {}).items() for problem in _told(look)]
        return jsonify(status="down" if down else "ready", **parts, warnings=shown), 503 if down else 200

    return blueprint


def _database_trouble(db: Database) -> str | None:
    try:
        with db.write(durable=False) as connection:
            connection.execute(delete(RateLimit).where(false()))  # a server that takes no writes refuses even this
            return None
    except SQLAlchemyError as error:
        return in_public(error)


def _campaigns_trouble(db: Database) -> str | None:
    try:
        return ", ".join(f"{count} {state}" for state, count in progress.ailing(db).items()) or None
    except SQLAlchemyError:
        return "unknown"  # why is said of the database


def _sync_trouble(sync: SyncTask) -> str | None:
    try:
        return sync.trouble()
    except SQLAlchemyError:
        return "unknown"  # why is said of the database


def _told(look: Look) -> Iterable[str]:
    try:
        return look()
    except SQLAlchemyError:
        return ("unknown",)


def _transport_trouble(db: Database, transport: Transport) -> str | None:
    try:
        with db.read() as connection:
            blocked = circuit_breaker.current(connection)
            probing = blocked is not None and blocked.blocked_until > db.clock(connection)
    except SQLAlchemyError:
        blocked, probing = None, False  # said of the database already
    if blocked and probing:  # past its time nobody has anything to send, so nobody has tried again
        return blocked.reason
    try:
        transport.check()
    except TransportUnavailable as error:
        return str(error)
    return None
