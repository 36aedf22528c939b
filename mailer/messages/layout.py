"""How a campaign's message is laid out: its header fields and its two parts, with gaps for what differs. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from mailer.messages.addresses import Mailbox
from mailer.messages.headers import SOFT_BREAK, mailbox_header, phrase_header, quoted_printable

_HOST = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)*")
BY_MAIL = "\0"  # no message has this character
_BOUNDARY = "=_alternative"  # quoted-printable never has "=_", so no part can hold it


@dataclass(frozen=True, slots=True)
class TemplateSource:
    """What a campaign's messages are made from. `header` and `footer` are HTML around the body.

    Placeholders work in the subject, the body and what is around it. Answers go to `reply_to`; None: to the sender.
    """

    campaign_id: str
    sender: Mailbox
    subject: str
    body: str
    site_name: str
    site_url: str
    header: str = ""
    footer: str = ""
    reply_to: Mailbox | None = None


def message_pieces(source: TemplateSource, text: list[str], markup: list[str], *, by_mail: bool = False) -> list[str]:
    """Lay out the whole message, with gaps for what differs between recipients at the odd places.

    With `by_mail`, List-Unsubscribe has a second URL, for which `BY_MAIL` stands (RFC 2369 section 2).
    """
    sender_domain = source.sender.address.rpartition("@")[2]
    head = ["\r\n".join([*_whose(source), ""]), "To", "\r\n", "Subject"]
    head += ["\r\nDate: ", "Date", "\r\nMessage-ID: <", "id", f"@{sender_domain}>\r\nList-Unsubscribe: <", "link"]
    fixed = [
        f">,\r\n <{BY_MAIL}>" if by_mail else ">",
        *_one_click(source.site_url),
        phrase_header("List-Id", source.site_name, _list_id(source)),
    ]
    fixed += ["Auto-Submitted: auto-generated", "Precedence: bulk", "MIME-Version: 1.0"]
    fixed += [f'Content-Type: multipart/alternative; boundary="{_BOUNDARY}"', ""]
    end = f"\r\n--{_BOUNDARY}--\r\n"
    return _concatenated(
        [*head, "\r\n".join(fixed)], _part("plain", "text", text), _part("html", "html", markup), [end]
    )


def _whose(source: TemplateSource) -> list[str]:
    """The header fields that say who writes, and who gets the answers if that is somebody else."""
    mailboxes = (("From", source.sender), ("Reply-To", source.reply_to))
    return [mailbox_header(field, mailbox.name, mailbox.address) for field, mailbox in mailboxes if mailbox]


def _one_click(site_url: str) -> list[str]:
    """Without https there is none: RFC 8058 section 3.1."""
    https = urlsplit(site_url).scheme == "https"
    return ["List-Unsubscribe-Post: List-Unsubscribe=One-Click"] if https else []


def _list_id(source: TemplateSource) -> str:
    """The site's host, or else the sender's: RFC 2919 section 2."""
    host = (urlsplit(source.site_url).hostname or "").lower()
    return f"mailer.{host if _HOST.fullmatch(host) and len(host) < 200 else source.sender.address.rpartition('@')[2]}"


def _part(subtype: str, form: str, segments: list[str]) -> list[str]:
    head = (
        f"\r\n--{_BOUNDARY}\r\n"
        f'Content-Type: text/{subtype}; charset="utf-8"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n'
    )
    pieces = [quoted_printable(literal) for literal in segments[::2]]
    gaps = [f"{form} {name}" for name in segments[1::2]]
    encoded = [head + pieces[0] + (SOFT_BREAK if gaps and pieces[0] else "")]
    for number, gap in enumerate(gaps, start=1):
        more = SOFT_BREAK if number < len(gaps) and pieces[number] else ""
        encoded += [gap, SOFT_BREAK + pieces[number] + more]
    return encoded


def _concatenated(*runs: list[str]) -> list[str]:
    """Join runs that begin and end with a literal into one that alternates."""
    joined = [""]
    for run in runs:
        joined[-1] += run[0]
        joined += run[1:]
    return joined
