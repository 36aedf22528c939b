"""Amazon's notifications of bounces and complaints, where SNS sends them as mail: JSON in the text."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from mailer.bounces.formats.fields import addresses
from mailer.bounces.formats.found import MAX_REPORTS, bounced, diagnosis
from mailer.bounces.formats.mime import Letter
from mailer.bounces.report import Kind, Report


def read_amazon_notification(letter: Letter, notice: str) -> list[Report] | None:
    """A report for each recipient of a notification; None: it is none."""
    text = notice.lstrip()
    if not text.startswith("{") or not letter.fields.get("From").rstrip("> ").endswith("amazonaws.com"):
        return None
    document = _document(text)
    kind = document.get("notificationType") or document.get("eventType")
    if kind == "Bounce":
        return [_bounce(row, document["bounce"]) for row in _rows(document.get("bounce"), "bouncedRecipients")]
    rows = _rows(document.get("complaint"), "complainedRecipients") if kind == "Complaint" else []
    return [Report(kind=Kind.COMPLAINED, address=_address(row)) for row in rows]


def _bounce(row: dict[str, Any], bounce: dict[str, Any]) -> Report:
    """What is not `Permanent` is `Transient` or `Undetermined`, which says nothing against the address."""
    found = bounced(_address(row), diagnosis(str(row.get("diagnosticCode") or "")), str(row.get("status") or ""))
    return found if bounce.get("bounceType") == "Permanent" else replace(found, permanent=False)


def _document(text: str) -> dict[str, Any]:
    """The JSON at the start of `text`; empty: there is none. Lines may be folded in the middle of it."""
    try:
        found, _ = json.JSONDecoder(strict=False).raw_decode(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _rows(part: object, name: str) -> list[dict[str, Any]]:
    rows = part.get(name) if isinstance(part, dict) else None
    return [row for row in rows if isinstance(row, dict)][:MAX_REPORTS] if isinstance(rows, list) else []


def _address(row: dict[str, Any]) -> str | None:
    return next(iter(addresses(str(row.get("emailAddress") or ""))), None)
