"""The settings in force, for operators: those that are set, those that have their default, and what is odd."""

from __future__ import annotations

from flask import Blueprint, Response
from flask_babel import lazy_gettext

from mailer.callers.tokens import MANAGE_CAMPAIGNS
from mailer.operation.settings_in_force import DEFAULT, HIDDEN
from mailer.pages.parts import PageParts
from mailer.pages.signed_in import SignIns

ORIGINS = {
    "environment": lazy_gettext("environment"),
    "file": lazy_gettext("a file"),
    "program": lazy_gettext("the program"),
}


def add_routes(blueprint: Blueprint, sign_ins: SignIns, parts: PageParts) -> None:
    """Add the route."""

    @blueprint.get("/system/settings")
    @sign_ins.requires(MANAGE_CAMPAIGNS)
    def show_settings() -> Response:
        """The settings with which the process that answers began."""
        found = parts.operation.in_force()
        values = {
            "chosen": [one for one in found if one.origin != DEFAULT],
            "default": [one for one in found if one.origin == DEFAULT],
            "warnings": parts.operation.warnings(),
            "origins": ORIGINS,
            "hidden_value": HIDDEN,
        }
        return sign_ins.page("system/settings.html", values)
