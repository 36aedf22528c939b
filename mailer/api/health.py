"""For whoever keeps the service running: is the process alive, could it do its work now."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, jsonify
from sqlalchemy import delete, false
from sqlalchemy.exc import SQLAlchemyError

from mailer import blockage, progress
from mailer.database import Database
from mailer.engines import Engine
from mailer.models import RateLimit
from mailer.sync_task import SyncTask
from transports.base import Transport, TransportUnavailable


def make_blueprint(db: Database, transport: Transport, engine: Engine, sync: SyncTask | None) -> Blueprint:
    """`/healthz` and `/readyz`. A scheduled sync that fails and campaigns that cannot be sent are shown there.

    They do not make the service unready.
    """
    blueprint = Blueprint("health", __name__)

    @blueprint.get("/healthz")
    def healthz() -> Any:
        return jsonify(status="ok")

    @blueprint.get("/readyz")
    def readyz() -> Any:
        trouble = {
            "database": _database_trouble(db),
            "transport": _transport_trouble(db, transport),
            "engine": engine.trouble(),
        }
        down = any(trouble.values())
        shown = {**trouble, "campaigns": _campaigns_trouble(db)}
        if sync is not None:
            shown["sync"] = _sync_trouble(sync)
        parts = {name: problem or "ok" for name, problem in shown.items()}
        return jsonify(status="down" if down else "ready", **parts), 503 if down else 200

    return blueprint


def _database_trouble(db: Database) -> str | None:
    try:
        with db.write(durable=False) as connection:
            connection.execute(delete(RateLimit).where(false()))  # a server that takes no writes refuses even this
            return None
    except SQLAlchemyError as error:
        return type(error).__name__


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


def _transport_trouble(db: Database, transport: Transport) -> str | None:
    try:
        with db.read() as connection:
            blocked = blockage.current(connection)
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
