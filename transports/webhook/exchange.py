"""What the webhook transport sends and receives: a batch as JSON, and the outcomes in the response."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import requests

from transports.base import About, Message, Outcome, Status

MAX_RESPONSE = 1 << 20  # bytes
MAX_REPLY = 500  # characters


@dataclass(frozen=True, slots=True)
class WebhookResponse:
    """The response; `content` is None when it was not read, did not end in time or was too long."""

    status: int
    headers: Mapping[str, str]
    content: bytes | None


class Body:
    """A request's body that knows whether all of it was written to the connection."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self._position = 0

    @property
    def handed_over(self) -> bool:
        """Whether all of it was read from here, so that the receiver may have taken the batch; with less it cannot."""
        return self._position >= len(self.content)

    def __len__(self) -> int:
        return len(self.content)

    def read(self, size: int = -1) -> bytes:
        """The next `size` bytes, as from a file."""
        end = len(self.content) if size < 0 else self._position + size
        piece = self.content[self._position : end]
        self._position += len(piece)
        return piece


def as_json(batch: Sequence[Message]) -> bytes:
    """The batch as JSON; `content` in base64."""
    messages = [
        {
            "id": message.id,
            "sender": message.sender,
            "recipient": message.recipient,
            "content": base64.b64encode(message.content).decode("ascii"),
        }
        for message in batch
    ]
    return json.dumps({"messages": messages}).encode("ascii")


def outcomes_in(response: WebhookResponse, batch: Sequence[Message]) -> list[Outcome]:
    """One outcome for each message of `batch`.

    With an empty response all are sent; a message that the response does not name is uncertain.
    """
    if response.content == b"":
        return [Outcome(message.id, Status.SENT, f"answered {response.status}") for message in batch]
    found = _parse(response.content)
    return [found.get(message.id) or _not_named(message) for message in batch]


def uncertain(batch: Sequence[Message], reply: str) -> list[Outcome]:
    """Outcomes for a batch that was handed over whole and got no response."""
    return [Outcome(message.id, Status.UNCERTAIN, reply, About.TRANSPORT) for message in batch]


def read_limited(response: requests.Response, deadline: float) -> bytes | None:
    """The body, or None if it is longer than `MAX_RESPONSE` or has not ended by `deadline` (monotonic seconds)."""
    content = bytearray()
    for piece in response.iter_content(16):  # small, as each piece waits for all of its bytes before the clock is read
        content += piece
        if len(content) > MAX_RESPONSE or time.monotonic() > deadline:
            return None
    return bytes(content)


def seconds_of(retry_after: str, now: float) -> float | None:
    """Retry-After (RFC 9110 section 10.2.3) as seconds from `now`; None if there is none that can be read."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - now)
    except ValueError:
        return None


def _parse(content: bytes | None) -> dict[str, Outcome]:
    try:
        document: Any = json.loads(content or b"")
    except (ValueError, RecursionError):
        return {}
    entries = document.get("outcomes") if isinstance(document, dict) else None
    outcomes = map(_outcome, entries if isinstance(entries, list) else ())
    return {outcome.id: outcome for outcome in outcomes if outcome}


def _outcome(entry: Any) -> Outcome | None:
    if not isinstance(entry, dict) or entry.get("status") not in tuple(Status):
        return None
    status, reply = Status(entry["status"]), str(entry.get("reply", ""))[:MAX_REPLY]
    return Outcome(str(entry.get("id")), status, reply, _about(entry.get("about"), status))


def _about(word: Any, status: Status) -> About:
    """What `word` says; where that is no known word, the transport for an uncertain outcome, else the message."""
    if word in tuple(About):
        return About(word)
    return About.TRANSPORT if status is Status.UNCERTAIN else About.MESSAGE


def _not_named(message: Message) -> Outcome:
    return Outcome(message.id, Status.UNCERTAIN, "the answer does not name it", About.TRANSPORT)
