"""What stands where in a provider's JSON: of the type that is wanted, or nothing. Pure.

A genuine event may still lack a field or have another type in it than its documentation says. It is then read as far as
it goes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mailer.text import one_line
from mailer.times import from_iso

LONGEST_ADDRESS = 320  # characters; RFC 5321 section 4.5.3.1 allows 64 + 1 + 255
LONGEST_REPLY = 1000
LATEST = 253_402_300_799_000  # ms; the end of the year 9999

# as in "550 5.1.1 no such user", and not within an IP address or a version
_STATUS = re.compile(r"(?<![\d.])[245]\.\d{1,3}\.\d{1,3}(?!\.?\d)")
_CAMPAIGN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FRACTION = re.compile(r"(\.\d{1,6})\d*")


def at(found: Any, *path: str) -> Any:
    """What stands at `path` in nested objects; None: nothing."""
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def text_at(found: Any, *path: str) -> str:
    """The text, or the number as text, at `path` in one line; empty: there is none."""
    value = at(found, *path)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return one_line(str(value)).strip()


def objects_at(found: Any, *path: str) -> Iterator[Mapping[str, Any]]:
    """The objects in the list at `path`; an object that stands there by itself counts as a list of one."""
    value = at(found, *path)
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, Mapping):
            yield one


def address_of(text: str) -> str | None:
    """A bare address; None for what is none. Angle brackets around it are left out."""
    bare = text.strip().removeprefix("<").removesuffix(">").strip()
    return bare if "@" in bare[1:] and " " not in bare and len(bare) <= LONGEST_ADDRESS else None


def addresses_of(*texts: str) -> tuple[str, ...]:
    """Those of the texts that are addresses."""
    return tuple(found for found in map(address_of, texts) if found)


def message_id_of(text: str) -> str | None:
    """A Message-ID without its brackets."""
    return text.strip().removeprefix("<").removesuffix(">").strip()[:LONGEST_REPLY] or None


def campaign_of(text: str) -> str | None:
    """The campaign's id; None for what cannot be one."""
    return text if _CAMPAIGN_ID.fullmatch(text) else None


def campaign_of_headers(headers: Iterable[tuple[str, str]]) -> str | None:
    """The campaign that the returned message's Feedback-ID names first; None: there is no such header."""
    for name, value in headers:
        if name.lower() == "feedback-id":
            return campaign_of(value.partition(":")[0].strip())
    return None


def reply_of(*texts: str) -> str:
    """The first of the texts that says something, as the other side's words."""
    return next(filter(None, texts), "")[:LONGEST_REPLY]


def status_of(*texts: str) -> str:
    """The first enhanced status code (RFC 3463) in the texts; empty: there is none."""
    found = next(filter(None, map(_STATUS.search, texts)), None)
    return found[0] if found else ""


def time_of(text: str) -> int | None:
    """Seconds since 1970, or a time in ISO 8601, as ms since 1970; None for anything else."""
    try:
        moment = int(float(text) * 1000) if re.fullmatch(r"\d{1,12}(\.\d+)?", text) else from_iso(_shorter(text))
    except (ValueError, OverflowError):
        return None
    return moment if 0 <= moment <= LATEST else None


def _shorter(text: str) -> str:
    return _FRACTION.sub(r"\1", text.strip(), count=1)  # more than microseconds Python does not read
