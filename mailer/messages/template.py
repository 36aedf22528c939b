"""From a campaign's text to finished messages: compiled once, then joined per recipient. Pure."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from hashlib import blake2b
from urllib.parse import urlsplit

from mailer.messages.addresses import Mailbox, shown_name
from mailer.messages.bodies import Bodies, compile_bodies
from mailer.messages.headers import (
    SOFT_BREAK,
    mailbox_header,
    phrase_header,
    quoted_printable,
    soft_wrapped,
    text_header,
)
from mailer.messages.recipient import Recipient
from mailer.messages.segments import PLAIN, name_and_form, percent_encoded, text_segments
from mailer.text import is_one_line, is_storable
from transports.base import Message, vouched_message

_ADDRESS = re.compile(r'[^\x00-\x20"(),:;<>@\[\\\]\x7f]{1,64}@[A-Za-z0-9.-]{1,253}')
_LINK = re.compile(r"https?:[!-;=?-~]{1,900}")  # List-Unsubscribe is one line, and no line is over 998 bytes
_INERT = re.compile(r"[ !#-%(-;?-~]*")  # stands for itself in HTML, in plain text and in quoted-printable
_CAMPAIGN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_HOST = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)*")
_BOUNDARY = "=_alternative"  # quoted-printable never has "=_", so no part can hold it


class UnusableText(ValueError):
    """The campaign cannot be sent to anybody: its subject, body or an address of it holds what no message may."""


class UnusableRecipient(ValueError):
    """This recipient's address is not one that a header may hold."""


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


@dataclass(frozen=True, slots=True)
class Preview:
    """A message as its reader will see it: decoded."""

    subject: str
    html: str
    text: str
    reply_to: str | None = None


def delivery_id(campaign_id: str, user_id: str) -> str:
    """Name one campaign's message to one user: the same at every attempt, and safe in a file name."""
    return f"{campaign_id}.{blake2b(user_id.encode(errors='surrogatepass'), digest_size=10).hexdigest()}"


def compile_message(source: TemplateSource) -> Template:
    """Prepare a campaign's message. Raises UnusableText if it could be sent to nobody."""
    _refuse_unusable(source)
    site = {"Site_Name": source.site_name, "Site_URL": source.site_url}
    bodies = compile_bodies(source.header, source.body, source.footer, site)
    return Template(source, text_segments(source.subject, site), bodies)


def _refuse_unusable(source: TemplateSource) -> None:
    mailboxes = [("sender", source.sender), *([("reply-to", source.reply_to)] if source.reply_to else [])]
    names = [(what, mailbox.name) for what, mailbox in mailboxes]
    for what, text in (*names, ("subject", source.subject), ("site name", source.site_name)):
        if not is_one_line(text):
            raise UnusableText(f"{what}: a control character, line separator or lone surrogate")
    for what, mailbox in mailboxes:
        if not (_ADDRESS.fullmatch(mailbox.address) and is_one_line(mailbox.address)):
            raise UnusableText(f"{what}: not a valid address")
    if not is_storable(source.header + source.body + source.footer + source.site_url):
        raise UnusableText("body: a NUL or a lone surrogate")
    if not _CAMPAIGN_ID.fullmatch(source.campaign_id):
        raise UnusableText("campaign id: more than letters, digits, - and _")


class Template:
    """One campaign's message with gaps. Immutable, so that threads may share it."""

    def __init__(self, source: TemplateSource, subject: list[str], bodies: Bodies) -> None:
        self._campaign_id = source.campaign_id
        self._sender = source.sender.address
        self._reply_to = _as_shown(source.reply_to) if source.reply_to else None
        self._subject = subject
        self._html = bodies.html
        self._text = bodies.text
        self._fields = [(gap, *name_and_form(gap)) for gap in sorted({*self._text[1::2], *self._html[1::2]})]
        named = [(f"text {gap}", f"html {gap}", name, form) for gap, name, form in self._fields]
        self._shown = [field[:3] for field in named if field[3] == PLAIN]
        self._in_urls = [field for field in named if field[3] != PLAIN]
        self._fixed_subject = None if len(subject) > 1 else text_header("Subject", subject[0].strip(" "))
        self._pieces = _message(source, self._text, self._html)
        self._gaps = [(place, self._pieces[place]) for place in range(1, len(self._pieces), 2)]

    def render(self, recipient: Recipient, link: str, now_ms: int) -> Message:
        """Give the message for `recipient`. `link` unsubscribes them; `now_ms` (since 1970) becomes its Date.

        Raises UnusableRecipient if the address cannot be written, ValueError if the link cannot.
        """
        values = _values(recipient, link)
        message_id = delivery_id(self._campaign_id, recipient.user_id)
        filling = {
            "To": mailbox_header("To", values["name"], recipient.address),
            "Subject": self._fixed_subject or text_header("Subject", _joined_subject(self._subject, values)),
            "Date": _date(now_ms // 1000),
            "id": message_id,
            "link": link,
        }
        for in_text, in_html, name in self._shown:
            filling[in_text], filling[in_html] = _encoded(values[name])
        for in_text, in_html, name, form in self._in_urls:
            filling[in_text] = filling[in_html] = soft_wrapped(percent_encoded(values[name], form))
        pieces = self._pieces.copy()
        for place, gap in self._gaps:
            pieces[place] = filling[gap]
        text = "".join(pieces)
        make = vouched_message if text.isascii() else Message  # the parts have all else that is vouched for
        return make(message_id, self._sender, recipient.address, text.encode())

    def preview(self, recipient: Recipient, link: str) -> Preview:
        """Give what `recipient` will read. Raises as `render` does."""
        values = _values(recipient, link)
        in_text, in_html = dict[str, str](), dict[str, str]()
        for gap, name, form in self._fields:
            in_text[gap], in_html[gap] = _as_read(values[name], form)
        subject = _joined_subject(self._subject, values)
        return Preview(subject, _join(self._html, in_html), _join(self._text, in_text), self._reply_to)


def _message(source: TemplateSource, text: list[str], markup: list[str]) -> list[str]:
    """Lay out the whole message, with gaps for what differs between recipients at the odd places."""
    sender_domain = source.sender.address.rpartition("@")[2]
    head = ["\r\n".join([*_whose(source), ""]), "To", "\r\n", "Subject"]
    head += ["\r\nDate: ", "Date", "\r\nMessage-ID: <", "id", f"@{sender_domain}>\r\nList-Unsubscribe: <", "link"]
    fixed = [">", *_one_click(source.site_url), phrase_header("List-Id", source.site_name, _list_id(source))]
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


def _values(recipient: Recipient, link: str) -> dict[str, str]:
    name, address = shown_name(recipient.name), recipient.address
    if not (_ADDRESS.fullmatch(address) and is_one_line(address)):
        raise UnusableRecipient("address: not in its envelope form")
    if not _LINK.fullmatch(link):
        raise ValueError("the unsubscribe link is no URL that fits into one line")
    first, last = name.partition(" ")[0], name.rpartition(" ")[2]
    return {"unsubscribe": link, "name": name, "fname": first, "lname": last, "email": address}


def _as_shown(mailbox: Mailbox) -> str:
    return f"{mailbox.name} <{mailbox.address}>" if mailbox.name else mailbox.address


def _as_read(value: str, form: str) -> tuple[str, str]:
    """Give a value as it stands in plain text and in HTML."""
    if form == PLAIN:
        return value, html.escape(value)
    encoded = percent_encoded(value, form)
    return encoded, encoded


def _encoded(value: str) -> tuple[str, str]:
    """Give the quoted-printable of a value as it stands in plain text and in HTML."""
    if _INERT.fullmatch(value):
        wrapped = soft_wrapped(value)
        return wrapped, wrapped
    return quoted_printable(value), quoted_printable(html.escape(value))


def _join(segments: list[str], values: dict[str, str]) -> str:
    return "".join([values[part] if place % 2 else part for place, part in enumerate(segments)])


def _joined_subject(segments: list[str], values: dict[str, str]) -> str:
    """The subject without blanks around it, such as an empty name leaves: they would have to be encoded to stay."""
    return _join(segments, values).strip(" ")


@lru_cache(maxsize=8)
def _date(second: int) -> str:
    return format_datetime(datetime.fromtimestamp(second, UTC))
