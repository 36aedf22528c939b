"""Messages as Mailpit's API writes them; its names are in CamelCase."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from email.utils import getaddresses, parsedate_to_datetime
from typing import Any

from mailer.mailbox.checks import Check, Verdict
from mailer.mailbox.heads import answers_in
from mailer.mailbox.links import Link
from mailer.mailbox.opened import Opened, Part
from mailer.mailbox.reading import Listed
from mailer.times import EPOCH, MILLISECOND, to_iso

Shape = dict[str, Any]


def summary(one: Listed) -> Shape:
    """A message as lists show it. A list has no Cc and no Bcc."""
    return {
        "ID": str(one.id),
        "MessageID": message_id(one),
        "Read": one.read,
        "From": _first(_mailboxes(one.author)),
        "To": _mailboxes(one.addressee) or [{"Name": "", "Address": one.recipient}],
        "Cc": [],
        "Bcc": [],
        "ReplyTo": _mailboxes(answers_in(bytes(one.begin))),
        "Subject": one.subject,
        "Created": to_iso(one.received_at),
        "Username": "",
        "Tags": [],
        "Size": one.size,
        "Attachments": one.attachments,
        "Snippet": one.snippet,
    }


def message_id(one: Listed) -> str:
    """The Message-ID without brackets. Its host is that of the sender, as `messages.layout` has it."""
    _, _, host = _first(_mailboxes(one.author))["Address"].rpartition("@")
    return f"{one.message_id}@{host}" if host else one.message_id


def page(found: Sequence[Listed], *, start: int, matching: int, unread_matching: int, total: int, unread: int) -> Shape:
    """A list of messages, with how many there are."""
    counts = {"total": total, "unread": unread, "count": len(found)}
    counts |= {"messages_count": matching, "messages_unread": unread_matching, "start": start}
    return {**counts, "tags": [], "messages": [summary(one) for one in found]}


def whole(one: Listed, message: Opened) -> Shape:
    """One message with its bodies, and what is attached without its bytes."""
    return {
        "ID": str(one.id),
        "MessageID": message.field("Message-ID").strip("<>"),
        "From": _first(_named(message.mailboxes("From"))),
        **{field.replace("-", ""): _named(message.mailboxes(field)) for field in ("To", "Cc", "Bcc", "Reply-To")},
        "ReturnPath": message.field("Return-Path").strip("<>"),
        "Subject": message.field("Subject"),
        "ListUnsubscribe": _list_unsubscribe(message),
        "Date": _date(message, one),
        "Tags": [],
        "Username": "",
        "Text": message.text,
        "HTML": message.html,
        "Size": one.size,
        "Inline": [_attached(part) for part in message.parts if part.inline],
        "Attachments": [_attached(part) for part in message.parts if not part.inline],
    }


def fields(message: Opened) -> Shape:
    """All fields of the header, each with the list of its values."""
    found: dict[str, list[str]] = {}
    for name, value in message.fields:
        found.setdefault(name, []).append(value)
    return found


def links(found: Iterable[Link]) -> Shape:
    """The links of a message. Nobody follows them: a status is known only of links to unsubscribe."""
    codes = {"valid": (200, "OK"), "preview": (200, "OK"), "foreign": (403, "Forbidden"), "forged": (404, "Not Found")}
    listed = [(link.url, *codes.get(link.own, (0, "not followed"))) for link in found]
    told = [{"URL": url, "StatusCode": code, "Status": words} for url, code, words in listed]
    return {"Errors": sum(code >= 400 for _, code, _ in listed), "Links": told}


def html_check(checks: Sequence[Check]) -> Shape:
    """The check list in the form of Mailpit's check of HTML: what is not fine is a warning."""
    share = {verdict: 100 * sum(one.verdict is verdict for one in checks) / len(checks) for verdict in Verdict}
    total = {"Tests": len(checks), "Supported": share[Verdict.OK], "Partial": share[Verdict.NOTE]}
    wrong = [one for one in checks if one.verdict is not Verdict.OK]
    return {
        "Total": {**total, "Unsupported": share[Verdict.BAD]},
        "Platforms": {},
        "Warnings": list(map(_warning, wrong)),
    }


def _warning(check: Check) -> Shape:
    bad = 100 if check.verdict is Verdict.BAD else 0
    score = {"Found": 1, "Supported": 0, "Partial": 100 - bad, "Unsupported": bad}
    named = {"Slug": check.about, "Title": check.about, "Description": check.text, "URL": "", "Category": "mailer"}
    return {**named, "Keywords": "", "Tags": [], "NotesByNumber": {}, "Results": [], "Score": score}


def _mailboxes(text: str) -> list[Shape]:
    return _named(getaddresses([text]))


def _named(found: Iterable[tuple[str, str]]) -> list[Shape]:
    return [{"Name": name, "Address": address} for name, address in found if address]


def _first(found: Sequence[Shape]) -> Shape:
    return found[0] if found else {"Name": "", "Address": ""}


def _date(message: Opened, one: Listed) -> str:
    try:
        moment = parsedate_to_datetime(message.field("Date"))
        return to_iso((moment - EPOCH) // MILLISECOND)
    except (TypeError, ValueError, OverflowError):
        return to_iso(one.received_at)


def _list_unsubscribe(message: Opened) -> Shape:
    header = message.field("List-Unsubscribe")
    found = [part.strip().strip("<>") for part in header.split(",") if part.strip()]
    errors = "" if all(link.startswith(("https://", "http://", "mailto:")) for link in found) else "unknown scheme"
    return {
        "Header": header,
        "Links": found,
        "Errors": errors,
        "HeaderPost": message.field("List-Unsubscribe-Post"),
    }


def _attached(part: Part) -> Shape:
    sums = {
        name: hashlib.new(name, part.octets, usedforsecurity=False).hexdigest() for name in ("md5", "sha1", "sha256")
    }
    return {
        "PartID": part.number,
        "FileName": part.name,
        "ContentType": part.content_type,
        "ContentID": part.content_id,
        "Size": len(part.octets),
        "Checksums": {name.upper(): value for name, value in sums.items()},
    }
