"""The message that a report returns, whole or only its header, and the notice that is written before it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from mailer.bounces.formats.fields import Fields, addresses, parse_fields
from mailer.bounces.formats.mime import RETURNED, Letter, Part, plain
from mailer.bounces.formats.phrases import Phrase, compile_rows
from mailer.text import one_line

MAX_NOTICE = 20_000  # characters of a notice that are read
_MAX_STARTS = 40  # lines that may begin a header

# Below this line comes the returned message.
MARKERS = (
    Phrase(
        r"^-* ?below this line is a copy of the message\.?.*$", "qmail", "--- Below this line is a copy of the message."
    ),
    Phrase(
        r"^-* ?(?:enclosed|included|attached|this|here|below) is a copy of (?:the|your) (?:\w+ )?(?:message|mail).*$",
        "qmail, Exim, MXLogic",
        "------ This is a copy of the message, including all the headers. ------",
    ),
    Phrase(
        r"^[-= ]*(?:the )?headers? of the original message.*$",
        "GMX",
        "--- The header of the original message is following. ---",
    ),
    Phrase(
        r"^[-=_ ]*(?:original|returned|undelivered|unsent) (?:mail|message)(?: headers?)?"
        r"(?: (?:follows|text|info))?\W*$",
        "Gmail, Notes, Sendmail",
        "----- Original message -----",
    ),
    Phrase(
        r"^[-= ]*(?:message|mail) (?:headers?|text|contents?)? ?follows?\W*$",
        "DragonFly, IMail",
        "Message headers follow.",
    ),
    Phrase(
        r"^[-= ]*(?:original|message) (?:mail|message|header)s?:? (?:info|headers?)?\W*$",
        "Exchange, m-FILTER",
        "Original message headers:",
    ),
    Phrase(
        r"^-+ ?(?:unsent|start of|copy of|begin) (?:\w+ ){0,3}(?:message|mail|header).*$",
        "Sendmail, others",
        "----- Unsent message follows -----",
    ),
)

_CAMPAIGN = re.compile(r"[A-Za-z0-9_-]{1,64}")
_OUR_ID = re.compile(r"([A-Za-z0-9_-]{1,64})\.[0-9a-f]{16,128}@")  # as `mailer.messages.template.delivery_id` makes it
_ID = re.compile(r"<([^<>\s]{1,400})>|^([^<>\s]{1,400})$")
_FOR = re.compile(r"\bfor <?([^\s<>;]{1,254})>?")
_MARKER = compile_rows(MARKERS)
_START = re.compile(
    r"^(?:Return-Path|Received|Delivered-To|Message-ID|From|To|Subject|Date|MIME-Version|Content-Type|Reply-To|Sender"
    r"|DKIM-Signature|DomainKey-Signature|ARC-[\w-]{1,40}|X-[\w-]{1,60})[ \t]*:",
    re.IGNORECASE | re.MULTILINE,
)
_TRACES = ("Message-ID", "Received", "Return-Path")
_WRITTEN = ("From", "To", "Subject", "Date")


@dataclass(frozen=True, slots=True)
class Returned:
    """What the returned message's header says; nothing, where none is returned."""

    fields: Fields = field(default_factory=Fields)
    text: str = ""

    @property
    def campaign_id(self) -> str | None:
        """From our Feedback-ID, of which the first field is the campaign, or else from our Message-ID."""
        campaign = self.fields.get("Feedback-ID").partition(":")[0].strip()
        if _CAMPAIGN.fullmatch(campaign):
            return campaign
        ours = _OUR_ID.match(self.message_id or "")
        return ours[1] if ours else None

    @property
    def message_id(self) -> str | None:
        """Its Message-ID without brackets."""
        found = _ID.search(self.fields.get("Message-ID"))
        return (found[1] or found[2]) if found else None

    @property
    def unsubscribe(self) -> str:
        """Its List-Unsubscribe (RFC 2369 section 3.2) in one line."""
        return one_line(" ".join(self.fields.all("List-Unsubscribe")[:2]))

    @property
    def envelope_senders(self) -> list[str]:
        """The address that a bounce of it goes to."""
        return self.fields.addresses("Return-Path", "X-Envelope-From")[:2]

    @property
    def senders(self) -> list[str]:
        """Whoever the message was from."""
        return self.fields.addresses("Return-Path", "From", "Sender", "Reply-To", "X-Envelope-From")

    @property
    def recipients(self) -> list[str]:
        """Whoever the message was to, as its header tells."""
        named = self.fields.addresses("X-Envelope-To", "To", "Cc", "X-Original-To", "Envelope-To", "Delivered-To")
        received = [found[1] for each in self.fields.all("Received") for found in _FOR.finditer(each[:1000])]
        return list(dict.fromkeys([*named, *(each for one in received for each in addresses(one))]))


def notice_and_returned(letter: Letter) -> tuple[str, Returned]:
    """What a report says in words, and the message that it returns: as a part, or in the text below the words."""
    whole = letter.first(*RETURNED)
    notice, below = _divided(_words(letter, whole))
    if whole is not None:
        below = whole.text
    below = below.lstrip("\r\n")
    return notice, Returned(_header(below) or parse_fields(below)[0], below)


def _words(letter: Letter, whole: Part | None) -> str:
    """The text of the mail, without what it returns; HTML where there is nothing else."""
    parts = letter.parts[: letter.parts.index(whole)] if whole is not None else letter.parts
    texts = [part.text for part in parts if part.type == "text/plain" and part.text.strip() and "\0" not in part.text]
    if not texts:
        texts = [plain(part.text[: MAX_NOTICE * 5]) for part in parts if part.type == "text/html"]
    return "\n\n".join(texts).replace("\r\n", "\n")[: MAX_NOTICE * 3]


def _divided(text: str) -> tuple[str, str]:
    """The notice, and what follows the line that says that the message follows, or begins with a header."""
    marker = _MARKER.search(text)
    if marker:
        return text[: marker.start()][:MAX_NOTICE], text[marker.end() :]
    for count, start in enumerate(_START.finditer(text)):
        if count >= _MAX_STARTS:
            break
        if _is_header(parse_fields(text[start.start() :])[0]):
            return text[: start.start()][:MAX_NOTICE], text[start.start() :]
    return text[:MAX_NOTICE], ""


def _header(text: str) -> Fields | None:
    """The header in what is returned, which may have words of the reporting host before it."""
    for count, start in enumerate(_START.finditer(text[:MAX_NOTICE])):
        if count >= _MAX_STARTS:
            break
        fields = parse_fields(text[start.start() :])[0]
        if _is_header(fields):
            return fields
    return None


def _is_header(fields: Fields) -> bool:
    """Whether these are the fields of a message, and not a few of its lines that a notice quotes."""
    written = sum(name in fields for name in _WRITTEN)
    return written >= 3 or (written >= 1 and any(name in fields for name in _TRACES))
