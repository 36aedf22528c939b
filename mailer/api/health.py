"""For whoever keeps the service running: is the process alive, can it work, what should a person see to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flask import Blueprint, jsonify
from webargs.flaskparser import FlaskParser

from mailer.api.requests.fields import WireBoolean
from mailer.api.requests.parser import StrictParser
from mailer.api.schemas import StrictSchema
from mailer.campaigns import hold, progress
from mailer.delivery import circuit_breaker
from mailer.engines import Engine
from mailer.storage.database import Database
from mailer.storage.database_errors import DATABASE_ERRORS
from mailer.storage.health import database_trouble
from transports.base import Transport, TransportUnavailable
from transports.slots import says_used_up

Check = Callable[[], Iterable[str]]  # what a person should see to, a sentence each
Trouble = Callable[[], str | None]  # why a part does not do its work; None: it does


class ReadySchema(StrictSchema):
    """With `strict`, a transport that does not work, or an engine whose broker is away, counts as down."""

    strict = WireBoolean(load_default=False)


_PARSER: FlaskParser = StrictParser()


def make_blueprint(
    db: Database,
    transport: Transport,
    engine: Engine,
    tasks: Mapping[str, Trouble] | None = None,
    warnings: Mapping[str, Check] | None = None,
    notes: Mapping[str, Callable[[], str]] | None = None,
) -> Blueprint:
    """`/healthz`: the process is alive. `/readyz`: 200 if it can do its work, 503 if it cannot.

    Only what a restart may mend is a 503: a database that takes no writes, or delivery threads that have ended. What is
    mended elsewhere, such as a mail server or a broker that is away, or a hold on all sending, is a warning, since to
    restart the process or to take it out of a cluster would only take the unsubscribe page away too. With
    `?strict=true` a transport or a broker that does not work is a 503 as well, but not a quota that is used up for the
    day, as somebody has planned. `tasks` are scheduled tasks by name:
    their trouble is a warning too. `warnings` are checks of further parts, by the name of the part. `notes` are told
    as they are, and are neither trouble nor warnings.
    """
    blueprint = Blueprint("health", __name__)

    @blueprint.get("/healthz")
    def healthz() -> Any:
        return jsonify(status="ok")

    @blueprint.get("/readyz")
    @_PARSER.use_args(ReadySchema, location="query")
    def readyz(asked: dict[str, bool]) -> Any:
        trouble = {
            "database": database_trouble(db),
            "transport": _transport_trouble(db, transport),
            "engine": engine.trouble(),
        }
        concern = None if trouble["engine"] else _engine_concern(engine)
        transport_fails = trouble["transport"] and not says_used_up(trouble["transport"])
        delivering = (transport_fails, concern) if asked["strict"] else ()
        down = any((trouble["database"], trouble["engine"], *delivering))
        trouble["engine"] = trouble["engine"] or concern
        trouble["sending"] = _hold(db)
        trouble["campaigns"] = _campaigns_trouble(db)
        trouble |= {name: _task_trouble(task) for name, task in (tasks or {}).items()}
        parts = {name: problem or "ok" for name, problem in trouble.items()}
        parts |= {name: note() for name, note in (notes or {}).items()}
        named = ("transport", "sending", "campaigns", *(tasks or ()))
        shown = [f"{name}: {trouble[name]}" for name in named if trouble[name]]
        shown += [f"engine: {concern}"] if concern else []
        shown += [f"{name}: {problem}" for name, check in (warnings or {}).items() for problem in _warnings_of(check)]
        return jsonify(status="down" if down else "ready", **parts, warnings=shown), 503 if down else 200

    return blueprint


def _hold(db: Database) -> str | None:
    try:
        with db.read() as connection:
            held = hold.current_hold(connection)
    except DATABASE_ERRORS:
        return "unknown"  # the reason is told as the database's
    return str(held) if held else None


def _campaigns_trouble(db: Database) -> str | None:
    try:
        return ", ".join(f"{count} {state}" for state, count in progress.needing_attention(db).items()) or None
    except DATABASE_ERRORS:
        return "unknown"  # the reason is told as the database's


def _engine_concern(engine: Engine) -> str | None:
    try:
        return engine.concern()
    except DATABASE_ERRORS:
        return None  # told as the database's


def _task_trouble(task: Trouble) -> str | None:
    try:
        return task()
    except DATABASE_ERRORS:
        return "unknown"  # the reason is told as the database's


def _warnings_of(check: Check) -> Iterable[str]:
    try:
        return check()
    except DATABASE_ERRORS:
        return ("unknown",)


def _transport_trouble(db: Database, transport: Transport) -> str | None:
    try:
        with db.read() as connection:
            breaker = circuit_breaker.tripped(connection)
            is_open = breaker is not None and breaker.is_open(db.clock(connection))
    except DATABASE_ERRORS:
        breaker, is_open = None, False  # told as the database's trouble
    if breaker and is_open:  # while it is half-open there may be nothing to send, and so nobody who tries
        return breaker.reason
    try:
        transport.check()
    except TransportUnavailable as error:
        return str(error)
    return None
