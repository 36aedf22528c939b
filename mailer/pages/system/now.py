"""The system as it stands: health, transport, engine, processes, queue, and the switch that holds all sending."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response, request
from flask_babel import gettext, lazy_gettext

from mailer.callers.tokens import MANAGE_CAMPAIGNS, VIEW_AUDIT_LOG
from mailer.campaigns import hold
from mailer.pages.parts import PageParts
from mailer.pages.signed_in import SignIns, signed_in, to_page
from transports.registry import shown_url

PART_NAMES = {
    "database": lazy_gettext("Database"),
    "transport": lazy_gettext("Transport"),
    "engine": lazy_gettext("Engine"),
    "sending": lazy_gettext("Sending"),
    "campaigns": lazy_gettext("Campaigns"),
    "sync": lazy_gettext("Sync with the workspace"),
    "bounces": lazy_gettext("Mailbox of bounces"),
    "retention": lazy_gettext("Retention"),
    "sendWindow": lazy_gettext("Hours for sending"),
}


def add_routes(blueprint: Blueprint, sign_ins: SignIns, parts: PageParts) -> None:
    """Add the routes. Who may only read the audit log is sent on to it."""
    operation, db = parts.operation, parts.db

    def show(wrong: str = "", status: int = HTTPStatus.OK) -> Response:
        with db.read() as connection:
            held = hold.current_hold(connection)
            in_hand = hold.batches_in_hand(connection, db.clock(connection))
        health = operation.health.look()
        told = {f"{name}: {trouble}" for name, trouble in health.parts.items()}
        values: dict[str, object] = {
            "standing": operation.standing(),
            "health": health,
            "further": [warning for warning in health.warnings if warning not in told],
            "held": held,
            "in_hand": in_hand,
            "names": PART_NAMES,
            "transport": shown_url(parts.settings.transport),
            "wrong": wrong,
            "reason": request.form.get("reason", ""),
        }
        return sign_ins.page("system/now.html", values, status=status)

    @blueprint.get("/system")
    @sign_ins.requires(MANAGE_CAMPAIGNS, VIEW_AUDIT_LOG)
    def show_system() -> Response:
        """How the service stands."""
        may_see = MANAGE_CAMPAIGNS in signed_in().caller.permissions
        return show() if may_see else to_page("system/audit-log")

    @blueprint.post("/system/hold")
    @sign_ins.requires(MANAGE_CAMPAIGNS)
    def hold_sending() -> Response:
        """Send nothing from the next checkpoint on, for a reason. A hold that is there stays."""
        reason = request.form.get("reason", "").strip()
        if not hold.is_reason(reason):
            wrong = gettext("Enter why, in one line of up to %(most)s characters.", most=hold.MAX_REASON)
            return show(str(wrong), HTTPStatus.UNPROCESSABLE_ENTITY)
        hold.hold(db, reason)
        return to_page("system")

    @blueprint.post("/system/release")
    @sign_ins.requires(MANAGE_CAMPAIGNS)
    def release_sending() -> Response:
        """Go on with everything."""
        hold.release(db)
        parts.engine.wake()
        return to_page("system")
