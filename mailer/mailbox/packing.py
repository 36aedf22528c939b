"""Many messages as one value: a line of JSON that says whose they are and how long, then their bytes, compressed. Pure.

Messages of a campaign are alike, so a hundred of them become as small as three. To compress them takes less time than
to write them as they are.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import orjson

from transports.base import Message

_LEVEL = 1  # the quickest


class Packed(NamedTuple):
    """A message as it was packed: what is kept of its envelope, and its bytes."""

    message_id: str
    recipient: str
    content: bytes


def pack(messages: Sequence[Message]) -> bytes:
    """Pack them in their order."""
    envelopes = [(message.id, message.recipient, len(message.content)) for message in messages]
    return zlib.compress(b"".join([orjson.dumps(envelopes), b"\n", *[message.content for message in messages]]), _LEVEL)


def unpack(packed: bytes) -> Iterator[Packed]:
    """The messages again, in the same order."""
    line, _, contents = zlib.decompress(packed).partition(b"\n")
    begin = 0
    for message_id, recipient, length in orjson.loads(line):
        yield Packed(message_id, recipient, contents[begin : begin + length])
        begin += length


def campaign_and_person(message_id: str) -> tuple[str, str]:
    """The two halves of `messages.template.delivery_id`: the campaign's id, and what tells the user."""
    campaign_id, _, person = message_id.rpartition(".")
    return campaign_id, person
