"""A message taken apart: its fields, its HTML and its text, and what is attached. Pure; any bytes can be opened."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from email.utils import getaddresses

from mailer.mailbox.heads import decoded
from mailer.text import one_line

_IMAGE = re.compile(r"image/(?:png|jpeg|gif|webp|avif|bmp|x-icon)")  # not SVG, which is a document
_CID = re.compile(r"(?P<before>=\s*[\"']?|\(\s*[\"']?)cid:(?P<id>[^\"'\s>)]+)", re.IGNORECASE)
_HEAD = re.compile(r"(?:\s|<!--.*?-->|<!doctype[^>]*>|<html\b[^>]*>|<head\b[^>]*>)*", re.IGNORECASE | re.DOTALL)
_FOLD = re.compile(r"\r?\n(?=[ \t])")
_UNSAFE_NAME = re.compile(r'[\\/:*?"<>|]')


@dataclass(frozen=True, slots=True)
class Part:
    """A part that is no body: a file that is attached, or a picture within the HTML (`inline`).

    `number` is its place in the message, as IMAP counts: `1.2` is the second part of the first.
    """

    number: str
    content_type: str
    name: str
    content_id: str
    octets: bytes
    inline: bool


@dataclass(frozen=True, slots=True)
class Opened:
    """`fields` are the header's names and values in their order, decoded. `html` and `text` are empty if missing."""

    fields: Sequence[tuple[str, str]]
    html: str
    text: str
    parts: Sequence[Part]

    def field(self, name: str) -> str:
        """The value of the first field of this name; empty if there is none."""
        return next((value for known, value in self.fields if known.lower() == name.lower()), "")

    def mailboxes(self, name: str) -> Sequence[tuple[str, str]]:
        """The names and addresses in the fields of this name."""
        return getaddresses([value for known, value in self.fields if known.lower() == name.lower()])

    def part(self, number: str) -> Part | None:
        """The part at this place."""
        return next((part for part in self.parts if part.number == number), None)


def opened(content: bytes) -> Opened:
    """Take the message apart."""
    message = message_from_bytes(content)
    bodies: dict[str, str] = {}
    parts: list[Part] = []
    for number, part in _leaves(message, ""):
        kind = part.get_content_type()
        attached = part.get_content_disposition() == "attachment" or part.get_filename() is not None
        if kind in ("text/plain", "text/html") and not attached and kind not in bodies:
            bodies[kind] = _text(part)
        else:
            parts.append(_part(number, part))
    fields = [(one_line(name), decoded(_FOLD.sub("", str(value)))) for name, value in message.items()]
    return Opened(fields, bodies.get("text/html", ""), bodies.get("text/plain", ""), parts)


def _leaves(message: Message, number: str) -> list[tuple[str, Message]]:
    """The parts that have no parts themselves, each with its place."""
    inner = message.get_payload() if message.is_multipart() else None
    if not isinstance(inner, list):
        return [(number or "1", message)]
    numbered = [(f"{number}.{place}".lstrip("."), one) for place, one in enumerate(inner, start=1)]
    return [leaf for place, one in numbered if isinstance(one, Message) for leaf in _leaves(one, place)]


def _octets(part: Message) -> bytes:
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _text(part: Message) -> str:
    try:
        return _octets(part).decode(part.get_content_charset("utf-8"), "replace")
    except LookupError:
        return _octets(part).decode("utf-8", "replace")


def _part(number: str, part: Message) -> Part:
    content_id = str(part.get("Content-ID", "")).strip().strip("<>")
    name = _UNSAFE_NAME.sub("_", decoded(part.get_filename() or "")).strip(" .")
    inline = bool(content_id) and part.get_content_disposition() != "attachment"
    return Part(number, part.get_content_type(), name or f"part-{number}", content_id, _octets(part), inline)


def framed_html(message: Opened) -> str:
    """The HTML as a frame shows it: its links open outside the frame, and its own pictures stand in it."""
    pictures = {part.content_id: part for part in message.parts if part.content_id}
    markup = _CID.sub(_with_data(pictures), message.html)
    begin = _HEAD.match(markup)
    place = begin.end() if begin else 0
    return f'{markup[:place]}<base target="_blank">{markup[place:]}'


def _with_data(pictures: Mapping[str, Part]) -> Callable[[re.Match[str]], str]:
    def replaced(found: re.Match[str]) -> str:
        part = pictures.get(html.unescape(found["id"]))
        if part is None or not _IMAGE.fullmatch(part.content_type):
            return found[0]
        return f"{found['before']}data:{part.content_type};base64,{base64.b64encode(part.octets).decode()}"

    return replaced
