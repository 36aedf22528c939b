"""Delivery status notifications (RFC 3464), also of internationalised mail (RFC 6533), as a part or within the text."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mailer.bounces.formats.fields import Fields, addresses, moment, parse_fields
from mailer.bounces.formats.found import MAX_REPORTS, bounced, diagnosis
from mailer.bounces.formats.mime import Letter
from mailer.bounces.formats.notices import passage_about
from mailer.bounces.formats.returned import Returned
from mailer.bounces.report import Report

TYPES = ("message/delivery-status", "message/global-delivery-status")

NO_BOUNCE = {"delivered", "relayed", "expanded", "deliverable"}
"""The values of Action (RFC 3464 section 2.3.3; Postfix's for a probe) after which the recipient has the message."""

_GROUPS = re.compile(r"\n[ \t]*\r?\n\s*")
_RECIPIENTS = ("Original-Recipient", "Final-Recipient", "X-Actual-Recipient")
_IN_TEXT = re.compile(r"^(?:final|original)-recipient[ \t]*:", re.IGNORECASE | re.MULTILINE)
_CODE_POINT = re.compile(r"\\x\{([0-9A-Fa-f]{1,6})\}")
_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")


def read_delivery_status(letter: Letter, notice: str, returned: Returned) -> list[Report] | None:
    """A report for each recipient that was not reached; None: the mail is no such notification."""
    parts = [part.text for part in letter.parts if part.type in TYPES]
    groups = [fields for text in parts for fields in _groups(text)]
    failed = letter.fields.addresses("X-Failed-Recipients")
    return list(_reports(groups, notice, failed or returned.recipients)) if groups else None


def read_status_in_text(notice: str, returned: Returned) -> list[Report] | None:
    """As `read_delivery_status`, for the same fields in the text; whoever asks knows that a mail system wrote it."""
    start = _IN_TEXT.search(notice)
    if start is None:
        return None
    before = notice[: start.start()].rfind("\n\n")
    groups = list(_groups(notice[before + 2 if before >= 0 else 0 :]))
    return list(_reports(groups, notice, returned.recipients)) if groups else None


def _groups(text: str) -> Iterator[Fields]:
    """The groups of fields that are about a recipient each, and say anything of it."""
    pieces: list[str] = []
    for piece in _GROUPS.split(text.strip())[: MAX_REPORTS * 2]:
        if pieces and _IN_TEXT.search(pieces[-1]) and not _IN_TEXT.search(piece):
            pieces[-1] += f"\n{piece}"  # a blank line within the group of a recipient
        else:
            pieces.append(piece)
    groups = (parse_fields(piece)[0] for piece in pieces)
    yield from (each for each in groups if any(name in each for name in (*_RECIPIENTS, "Action")) and _says(each))


def _says(fields: Fields) -> bool:
    return any(name in fields for name in ("Action", "Status", "Diagnostic-Code"))


def _reports(groups: list[Fields], notice: str, others: list[str]) -> Iterator[Report]:
    for fields in groups[:MAX_REPORTS]:
        action = fields.get("Action").lower().split(" ")[0].strip("();,")
        status = _STATUS.search(fields.get("Status"))
        if action in NO_BOUNCE or (not action and status and status[0].startswith("2")):
            continue
        address = _recipient(fields) or (others[0] if others and len(groups) == 1 else None)
        yield bounced(
            address,
            diagnosis(fields.get("Diagnostic-Code")) or passage_about(notice, address),
            status[0] if status else "",
            passage_about(notice, address)[:500],
            delayed=action == "delayed",
            at=moment(fields.get("Last-Attempt-Date")),
        )


def _recipient(fields: Fields) -> str | None:
    """The original recipient before the final one: we wrote to that one, and the other may be an alias's target.

    Exim names a pipe or a file where an alias leads to one, which is no address.
    """
    for name in _RECIPIENTS:
        for value in fields.all(name):
            kind, semicolon, rest = value.partition(";")
            found = addresses(_CODE_POINT.sub(_character, rest if semicolon else kind))
            if found:
                return found[0]
    return None


def _character(found: re.Match[str]) -> str:
    """A character of the form `\\x{1F408}` (RFC 6533 section 3)."""
    number = int(found[1], 16)
    return chr(number) if number < 0x110000 and not 0xD800 <= number < 0xE000 else ""
