"""What somebody looks for in the mailbox, in Mailpit's words, as conditions of the database.

    invoice "spring sale" to:ann@example.com -from:news is:unread after:2026-11-01

Each word must be there; with `-` or `!` before it, it must not. Capitals do not matter. A word without a name is looked
for in addresses, in the subject and in how the text begins.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import ColumnElement, and_, false, not_, or_, true

from mailer.errors import InvalidParams
from mailer.mailbox.heads import ANSWERS
from mailer.messages.template import delivery_id
from mailer.storage.models import MailboxMessage as Kept
from mailer.times import EPOCH, MILLISECOND

MOST_WORDS = 20  # words that somebody looks for at once
_WORD = re.compile(r'([-!]?)(?:([a-zA-Z-]+):)?(?:"([^"]*)"|(\S+))')
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s?(|k|kb|m|mb)", re.IGNORECASE)
_UNITS = {"": 1, "k": 1024, "m": 1024 * 1024}

_FLAGS: Mapping[str, ColumnElement[bool]] = {
    "is:read": and_(true(), Kept.read),
    "is:unread": not_(Kept.read),
    "is:tagged": false(),
    "has:attachment": Kept.attachments > 0,
    "has:attachments": Kept.attachments > 0,
    "has:inline": false(),  # no message is kept with any for lists
    "has:inlines": false(),
}


@dataclass(frozen=True, slots=True)
class Search:
    """Which messages are meant: those that meet all `conditions`. None at all: every message."""

    conditions: Sequence[ColumnElement[bool]] = ()


def of_delivery(campaign_id: str, user_id: str | None = None) -> Search:
    """The messages of a campaign, or those of it to one user; there may be two copies."""
    if user_id is None:
        return Search((Kept.campaign_id == campaign_id,))
    message_id = delivery_id(campaign_id, user_id)
    return Search((Kept.person == message_id.rpartition(".")[2], Kept.message_id == message_id))


def parse(text: str, timezone: str = "") -> Search:
    """Read what somebody looks for. Dates without an offset are in `timezone`, or else in UTC.

    Raises `InvalidParams` that names the field `query` or `tz`.
    """
    words = list(_words(text, _zone(timezone)))
    if len(words) > MOST_WORDS:
        raise InvalidParams(f"query: More than {MOST_WORDS} words.", field="query")
    return Search(words)


def _words(text: str, zone: ZoneInfo) -> Iterator[ColumnElement[bool]]:
    for word in _WORD.finditer(text):
        without, name, quoted, bare = word.groups()
        value = quoted if quoted is not None else bare
        if value.strip("-! "):
            condition = _condition((name or "").lower(), value.strip(), zone)
            yield not_(condition) if without else condition


def _condition(name: str, value: str, zone: ZoneInfo) -> ColumnElement[bool]:
    flag = _FLAGS.get(f"{name}:{value.lower()}")
    if flag is not None:
        return flag
    if name in _NAMED:
        return _NAMED[name](value)
    if name in ("after", "before"):
        moment = _moment(name, value, zone)
        return Kept.received_at >= moment if name == "after" else Kept.received_at <= moment
    return _anywhere(f"{name}:{value}" if name else value)


def _anywhere(word: str) -> ColumnElement[bool]:
    return Kept.words.contains(word.lower(), autoescape=True)


def _to(word: str) -> ColumnElement[bool]:
    columns = (Kept.addressee, Kept.recipient, Kept.address)
    return or_(*(column.icontains(word, autoescape=True) for column in columns))


def _addressed(word: str) -> ColumnElement[bool]:
    return or_(_to(word), Kept.author.icontains(word, autoescape=True), _answers(word))


def _answers(word: str) -> ColumnElement[bool]:
    escaped = re.sub(r"([/%_])", r"/\1", word.lower())
    return Kept.words.like(f"%{ANSWERS}%{escaped}%", escape="/")


def _message_id(word: str) -> ColumnElement[bool]:
    """A Message-ID as the message has it, with a host and brackets or without."""
    wanted = word.strip("<>").partition("@")[0]
    return and_(Kept.person == wanted.rpartition(".")[2], Kept.message_id == wanted)


def _larger(value: str) -> ColumnElement[bool]:
    return Kept.size > _octets("larger", value)


def _smaller(value: str) -> ColumnElement[bool]:
    return Kept.size < _octets("smaller", value)


_NAMED: Mapping[str, Callable[[str], ColumnElement[bool]]] = {
    "to": _to,
    "from": lambda word: Kept.author.icontains(word, autoescape=True),
    "addressed": _addressed,
    "subject": lambda word: Kept.subject.icontains(word, autoescape=True),
    "message-id": _message_id,
    "larger": _larger,
    "smaller": _smaller,
    "reply-to": _answers,
    **dict.fromkeys(("cc", "bcc", "tag"), lambda _word: false()),  # no message is kept with any for lists
}


def _octets(name: str, value: str) -> int:
    found = _SIZE.fullmatch(value)
    if found is None:
        raise InvalidParams(f"query: {name}: is not followed by a size such as 100kb.", field="query")
    return int(float(found[1]) * _UNITS[found[2].lower()[:1]])


def _moment(name: str, value: str, zone: ZoneInfo) -> int:
    try:
        moment = datetime.fromisoformat(value)
        return ((moment if moment.tzinfo else moment.replace(tzinfo=zone)) - EPOCH) // MILLISECOND
    except (ValueError, OverflowError) as error:
        raise InvalidParams(f"query: {name}: is not followed by a date such as 2026-11-29.", field="query") from error


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidParams("tz: No time zone of this name.", field="tz") from error
