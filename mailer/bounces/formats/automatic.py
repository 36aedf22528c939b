"""Whether a mail was written by a machine (RFC 3834 and the customs beside it), and which machine. Pure.

What is automatic is nobody's wish: an auto-reply to the address of List-Unsubscribe unsubscribes nobody.
"""

from __future__ import annotations

import re

from mailer.bounces.formats.fields import Fields
from mailer.bounces.formats.phrases import AUTO_REPLIES, CHALLENGES, FAILURES, compile_rows

_SYSTEM = re.compile(
    r"(?:^|[\s<\"'])(?:mailer-?daemon|mail-?daemon|post_?master|mmdf|mailadmin|mail(?:\W| )?deliver\w*|mdaemon"
    r"|(?:mail\W)?delivery\W(?:sub)?system|mail (?:delivery )?(?:sub)?system|bounces?|no-?reply|do-?not-?reply"
    r"|system\W?administrator|mail\W?administrator|microsoft ?exchange\w*|mailsystem|auto-?notify)(?![\w-])",
    re.IGNORECASE,
)
_PRECEDENCE = {"bulk", "junk", "list", "auto_reply", "auto-reply"}
_PRESENT = ("X-Autoreply", "X-Autorespond", "X-Autoresponder", "X-Auto-Response-Suppress", "X-Failed-Recipients")
_VACATION = ("X-Autoreply", "X-Autorespond", "X-Autoresponder", "X-Apple-Action", "X-Vacation", "Vacation")
_REPLY, _CHALLENGE, _FAILURE = compile_rows(AUTO_REPLIES), compile_rows(CHALLENGES), compile_rows(FAILURES)


def is_from_a_mail_system(fields: Fields) -> bool:
    """Whether the mail says that no person sent it but a mail system: the only ones whose free words are read."""
    sender = fields.get("From")
    return (
        "@" not in sender.replace("<>", "")
        or _SYSTEM.search(sender) is not None
        or "X-Failed-Recipients" in fields
        or _SYSTEM.search(fields.get("Return-Path")) is not None
        or (has_no_return_path(fields) and _FAILURE.search(fields.get("Subject")) is not None)
    )


def has_no_return_path(fields: Fields) -> bool:
    """Whether the envelope's sender is empty, so that nothing may be answered (RFC 5321 section 4.5.5)."""
    return any(each.strip() in ("<>", "") for each in fields.all("Return-Path")[:1])


def is_personal_reply(fields: Fields, notice: str) -> bool:
    """Whether a person's mailbox answers by itself: on holiday, or with a question to prove that one is human."""
    return (
        any(name in fields for name in _VACATION)
        or fields.get("Precedence").strip().lower() == "auto_reply"
        or _REPLY.search(fields.get("Subject")) is not None
        or _CHALLENGE.search(fields.get("Subject")) is not None
        or _CHALLENGE.search(notice[:2000]) is not None
    )


def is_automatic(fields: Fields, notice: str) -> bool:
    """Whether nobody wrote this mail to be read by a person."""
    submitted = fields.get("Auto-Submitted").partition(";")[0].strip().lower()
    return (
        submitted not in ("", "no")
        or any(name in fields for name in _PRESENT)
        or fields.get("Precedence").strip().lower() in _PRECEDENCE
        or has_no_return_path(fields)
        or any(name in fields for name in ("List-Id", "List-Unsubscribe", "Feedback-ID"))
        or is_from_a_mail_system(fields)
        or is_personal_reply(fields, notice)
    )
