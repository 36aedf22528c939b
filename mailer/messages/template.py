"""From a campaign's text to finished messages: compiled once, then joined per recipient. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from hashlib import blake2b
from itertools import count
from operator import itemgetter

from typing_extensions import override

from mailer.messages.addresses import Mailbox, shown_name
from mailer.messages.bodies import Bodies, compile_bodies
from mailer.messages.headers import MAX_LINE, mailbox_header, soft_wrapped, text_header
from mailer.messages.layout import BY_MAIL, TemplateSource, message_pieces
from mailer.messages.recipient import Recipient
from mailer.messages.return_addresses import NO_ADDRESSES, CampaignAddresses
from mailer.messages.segments import PLAIN, as_read, encoded, name_and_form, percent_encoded, text_segments
from mailer.text import is_one_line, is_storable
from transports.base import Message, vouched_message

_ADDRESS = re.compile(r'[^\x00-\x20"(),:;<>@\[\\\]\x7f]{1,64}@[A-Za-z0-9.-]{1,253}')
_LINK = re.compile(r"https?:[!-;=?-~]{1,940}")  # List-Unsubscribe is one line, and no line is over 998 bytes
_PLAIN_WORD = r"[A-Za-z0-9!#$%*+/^_`{|}~-]++"  # an atom (RFC 5322) that is inert too
_PLAIN_ADDRESS = r"(?!\.)[A-Za-z0-9!#$%*+/^_`{|}~.-]{1,64}@[A-Za-z0-9.-]++"
_USUAL = re.compile(rf"{_PLAIN_WORD}(?: {_PLAIN_WORD})*+ <{_PLAIN_ADDRESS}> https?:[!#-%(-;?-~]{{1,940}}")
_USUAL_ROOM = MAX_LINE - len("To:  <>")
_SUBJECT_ROOM = MAX_LINE - len("Subject: ")
_USUAL_ORDER = ("name", "fname", "lname", "email", "unsubscribe", "To", "Subject", "Date", "id", "wrapped link")
_DIGEST = blake2b(digest_size=10)  # copied, which is quicker than to set one up for each message
_CAMPAIGN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class UnusableText(ValueError):
    """The campaign cannot be sent to anybody: its subject, body or an address of it holds what no message may."""


class UnusableRecipient(ValueError):
    """This recipient's address is not one that a header may hold."""


@dataclass(frozen=True, slots=True)
class Preview:
    """A message as its reader will see it: decoded."""

    subject: str
    html: str
    text: str
    reply_to: str | None = None


def delivery_id(campaign_id: str, user_id: str) -> str:
    """Name one campaign's message to one user: the same at every attempt, and safe in a file name."""
    digest = _DIGEST.copy()
    digest.update(user_id.encode("utf-8", "surrogatepass"))
    return f"{campaign_id}.{digest.hexdigest()}"


def message_id(campaign_id: str, user_id: str, sender: str) -> str:
    """The Message-ID of that message, without brackets, as `layout` writes it.

    Where the campaign was purged, `sender` is empty and nobody knows the host behind the `@`.
    """
    _, at, host = sender.rpartition("@")
    return delivery_id(campaign_id, user_id) + (f"@{host}" if at else "")


def compile_message(source: TemplateSource, returns: CampaignAddresses = NO_ADDRESSES) -> Template:
    """Prepare a campaign's message, with the addresses of `returns`. Raises UnusableText if nobody could get it."""
    _refuse_unusable(source)
    site = {"Site_Name": source.site_name, "Site_URL": source.site_url}
    bodies = compile_bodies(source.header, source.body, source.footer, site)
    subject = text_segments(source.subject, site)
    return ReturningTemplate(source, subject, bodies, returns) if returns else Template(source, subject, bodies)


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

    def __init__(self, source: TemplateSource, subject: list[str], bodies: Bodies, *, by_mail: bool = False) -> None:
        self.campaign_id = source.campaign_id
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
        self._pieces = message_pieces(source, self._text, self._html, by_mail=by_mail)
        self._gaps = [(place, self._pieces[place]) for place in range(1, len(self._pieces), 2)]
        places = _usual_places(self._fields)
        self._usual, self._usual_subject = _filler(self._pieces, places), _filler(subject, places)
        self._subject_stays = _stays("x".join(subject[::2]))
        self._usual_urls = [(places[name], form) for _, _, name, form in self._in_urls]

    def render(self, recipient: Recipient, link: str, now_ms: int) -> Message:
        """Give the message for `recipient`. `link` unsubscribes them; `now_ms` (since 1970) becomes its Date.

        Raises UnusableRecipient if the address cannot be written, ValueError if the link cannot.
        """
        user_id, name, address = recipient
        if len(name) + len(address) > _USUAL_ROOM or not _USUAL.fullmatch(f"{name} <{address}> {link}"):
            return self._render_any(recipient, link, now_ms)
        values = (name, name.partition(" ")[0], name.rpartition(" ")[2], address, link)
        message_id = delivery_id(self.campaign_id, user_id)
        subject = self._fixed_subject or self._usual_subject_header(values)
        wrapped = [soft_wrapped(percent_encoded(values[place], form)) for place, form in self._usual_urls]
        head = (f"To: {name} <{address}>", subject, _date(now_ms // 1000), message_id)
        text = self._usual((*values, *head, soft_wrapped(link), *wrapped))
        return self._message(message_id, address, text)

    def _usual_subject_header(self, values: tuple[str, ...]) -> str:
        subject = self._usual_subject(values)
        if self._subject_stays and len(subject) <= _SUBJECT_ROOM:
            return f"Subject: {subject}"
        return text_header("Subject", subject.strip(" "))

    def _render_any(self, recipient: Recipient, link: str, now_ms: int) -> Message:
        """The same for every recipient and link, whatever characters they have."""
        values = _values(recipient, link)
        message_id = delivery_id(self.campaign_id, recipient.user_id)
        filling = {
            "To": mailbox_header("To", values["name"], recipient.address),
            "Subject": self._fixed_subject or text_header("Subject", _joined_subject(self._subject, values)),
            "Date": _date(now_ms // 1000),
            "id": message_id,
            "link": link,
        }
        for in_text, in_html, name in self._shown:
            filling[in_text], filling[in_html] = encoded(values[name])
        for in_text, in_html, name, form in self._in_urls:
            filling[in_text] = filling[in_html] = soft_wrapped(percent_encoded(values[name], form))
        pieces = self._pieces.copy()
        for place, gap in self._gaps:
            pieces[place] = filling[gap]
        return self._message(message_id, recipient.address, "".join(pieces))

    def _message(self, message_id: str, address: str, text: str) -> Message:
        make = vouched_message if text.isascii() else Message  # the pieces have all else that is vouched for
        return make(message_id, self._sender, address, text.encode())

    def preview(self, recipient: Recipient, link: str) -> Preview:
        """Give what `recipient` will read. Raises as `render` does."""
        values = _values(recipient, link)
        in_text, in_html = dict[str, str](), dict[str, str]()
        for gap, name, form in self._fields:
            in_text[gap], in_html[gap] = as_read(values[name], form)
        subject = _joined_subject(self._subject, values)
        return Preview(subject, _join(self._html, in_html), _join(self._text, in_text), self._reply_to)


class ReturningTemplate(Template):
    """The same with addresses that name the delivery: the envelope's sender, the one in List-Unsubscribe, or both."""

    def __init__(self, source: TemplateSource, subject: list[str], bodies: Bodies, returns: CampaignAddresses) -> None:
        super().__init__(source, subject, bodies, by_mail=returns.unsubscribe is not None)
        self._returns = returns

    @override
    def _message(self, message_id: str, address: str, text: str) -> Message:
        digest = bytes.fromhex(message_id[-20:-4])  # as `recipient.user_digest` has it
        sender, by_mail = self._returns.sender, self._returns.unsubscribe
        if by_mail is not None:
            text = text.replace(BY_MAIL, by_mail(digest), 1)
        make = vouched_message if text.isascii() else Message
        return make(message_id, self._sender if sender is None else sender(digest), address, text.encode())


def _values(recipient: Recipient, link: str) -> dict[str, str]:
    name, address = shown_name(recipient.name), recipient.address
    if not (_ADDRESS.fullmatch(address) and is_one_line(address)):
        raise UnusableRecipient("address: not in its envelope form")
    if not _LINK.fullmatch(link):
        raise ValueError("the unsubscribe link is no URL that fits into one line")
    first, last = name.partition(" ")[0], name.rpartition(" ")[2]
    return {"unsubscribe": link, "name": name, "fname": first, "lname": last, "email": address}


def _usual_places(fields: Sequence[tuple[str, str, str]]) -> dict[str, int]:
    """Where `Template.render` has the value of each gap, when all is as usual."""
    places = {name: place for place, name in enumerate(_USUAL_ORDER)}
    places["link"] = places["unsubscribe"]  # in the header it is not wrapped
    in_urls = count(len(places) - 1)
    for gap, name, form in fields:
        plain = places["wrapped link" if name == "unsubscribe" else name]
        places[f"text {gap}"] = places[f"html {gap}"] = plain if form == PLAIN else next(in_urls)
    return places


def _stays(subject: str) -> bool:
    """Whether a subject is a header as it stands. Of its gaps' values nothing matters, if they are as `_USUAL` says."""
    return text_header("Subject", subject) == f"Subject: {subject}"


def _filler(pieces: Sequence[str], places: Mapping[str, int]) -> Callable[[tuple[str, ...]], str]:
    """A function that joins `pieces`, given the values for their gaps at `places`."""
    literals = tuple(pieces[::2])
    pick = itemgetter(*[places[piece] + len(literals) if at % 2 else at // 2 for at, piece in enumerate(pieces)])
    return lambda values: "".join(pick(literals + values))


def _as_shown(mailbox: Mailbox) -> str:
    return f"{mailbox.name} <{mailbox.address}>" if mailbox.name else mailbox.address


def _join(segments: list[str], values: dict[str, str]) -> str:
    return "".join([values[part] if place % 2 else part for place, part in enumerate(segments)])


def _joined_subject(segments: list[str], values: dict[str, str]) -> str:
    """The subject without blanks around it, such as an empty name leaves: they would have to be encoded to stay."""
    return _join(segments, values).strip(" ")


@lru_cache(maxsize=8)
def _date(second: int) -> str:
    return format_datetime(datetime.fromtimestamp(second, UTC))
