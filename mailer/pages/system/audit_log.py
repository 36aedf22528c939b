"""The audit log for people: who has changed what, the latest first, by who, what, about whom and since when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlencode

from flask import Blueprint, Response, request
from flask_babel import gettext

from mailer.audit import log
from mailer.callers.tokens import VIEW_AUDIT_LOG
from mailer.pages.parts import PageParts
from mailer.pages.signed_in import SignIns
from mailer.text import is_storable
from mailer.times import from_iso

PAGE = 100
ACTS = tuple(act.value for act in log.Act)
NAMES = ("who", "act", "about", "since")
LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Filter:
    """What was asked for, as it was entered, and by field what is wrong with it."""

    entered: Mapping[str, str]
    wrong: Mapping[str, str]

    @property
    def since(self) -> int | None:
        """From when on, in ms since 1970; None: from the beginning."""
        return from_iso(self.entered["since"]) if self.entered["since"] else None

    def query(self, before: int) -> str:
        """The query of the page that follows the entry number `before`."""
        return urlencode({**{name: value for name, value in self.entered.items() if value}, "before": before})


def add_routes(blueprint: Blueprint, sign_ins: SignIns, parts: PageParts) -> None:
    """Add the route."""

    @blueprint.get("/system/audit-log")
    @sign_ins.requires(VIEW_AUDIT_LOG)
    def show_audit_log() -> Response:
        """What people have changed; `before` continues the list."""
        asked, before = _filter(), _number(request.args.get("before", ""))
        found = [] if asked.wrong else _entries(parts, asked, before)
        more = asked.query(found[PAGE - 1].id) if len(found) > PAGE else None
        values: dict[str, object] = {"found": found[:PAGE], "more": more, "asked": asked, "acts": ACTS}
        values |= {"before": before, "filtered": any(asked.entered.values())}
        status = HTTPStatus.UNPROCESSABLE_ENTITY if asked.wrong else HTTPStatus.OK
        return sign_ins.page("system/audit_log.html", values, status=status)


def _entries(parts: PageParts, asked: Filter, before: int | None) -> list[log.Entry]:
    entered = {name: value or None for name, value in asked.entered.items()}
    wanted = {"since": asked.since, "who": entered["who"], "act": entered["act"]}
    about = log.names_of(parts.db, entered["about"])
    return log.entries(parts.db, **wanted, about=about, before=before, count=PAGE + 1)  # type: ignore[arg-type]


def _filter() -> Filter:
    entered = {name: request.args.get(name, "").strip() for name in NAMES}
    wrong = {
        name: str(gettext("That cannot be searched for.")) for name, value in entered.items() if not is_storable(value)
    }
    if entered["act"] and entered["act"] not in ACTS:
        wrong["act"] = str(gettext("There is no such act."))
    if not _is_time(entered["since"]):
        wrong["since"] = str(gettext("Enter a date such as 2026-01-31."))
    return Filter(entered, wrong)


def _is_time(text: str) -> bool:
    try:
        return not text or 0 <= from_iso(text) <= LARGEST
    except ValueError:
        return False


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and int(text) <= LARGEST else None
