"""One half of a flight record as bytes: which checkpoint it is about, and one byte for each of its recipients.

A record has two halves, one for the checkpoint in hand and one for the next, which is written before the commit that
makes it the one in hand. Each checkpoint has a number of its own, drawn by lot. The batch's row has the number of the
last that was committed, so the row says which half counts. No other half, of whatever age and database, has it too.

There are no addresses and no user ids in a record: places are in the order of the ids in the batch's row.
"""

from __future__ import annotations

import secrets
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from mailer.delivery.flight.places import are_sound

MAGIC = b"mflight1"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
PAGE = 4096

_ABOUT = struct.Struct("<8s16sQQQI64s")  # magic, boot, number, fence, batch, how many places, campaign
_SUM = struct.Struct("<I")
HEAD = _ABOUT.size + _SUM.size


@dataclass(frozen=True, slots=True)
class Half:
    """The checkpoint `number` of a batch that was held with `fence`. `places` has a byte for each recipient."""

    campaign_id: str
    batch: int
    fence: int
    number: int
    places: bytes


def new_number() -> int:
    """A number that no checkpoint has had: 1 to 2^63 - 1."""
    return secrets.randbits(63) or 1


def boot_id() -> bytes:
    """Sixteen bytes that name the run of this machine since it booted, and no other machine's.

    Where it cannot be read, they are some that nobody else has: what is written under them is read by nobody.
    """
    try:
        return bytes.fromhex(BOOT_ID.read_text("ascii").strip().replace("-", ""))
    except OSError:
        return secrets.token_bytes(16)


def half_size(most: int) -> int:
    """How many bytes a half takes that has room for `most` places: whole pages."""
    return -(-(HEAD + most) // PAGE) * PAGE


def to_bytes(half: Half, boot: bytes) -> bytes:
    """The half as it is written."""
    campaign = half.campaign_id.encode()
    about = _ABOUT.pack(MAGIC, boot, half.number, half.fence, half.batch, len(half.places), campaign)
    return about + _SUM.pack(zlib.crc32(about)) + half.places


def from_bytes(raw: bytes, boot: bytes) -> Half | None:
    """What stands in a half; None: nothing, or it is damaged, or from before this machine booted."""
    about, places = raw[: _ABOUT.size], raw[HEAD:]
    if len(raw) < HEAD or _SUM.unpack_from(raw, _ABOUT.size)[0] != zlib.crc32(about):
        return None
    magic, run, number, fence, batch, count, campaign = _ABOUT.unpack(about)
    if magic != MAGIC or run != boot or count > len(places) or not are_sound(places[:count]):
        return None
    return Half(campaign.rstrip(b"\0").decode(), batch, fence, number, places[:count])


def halves_of(content: bytes, boot: bytes) -> list[Half]:
    """The halves of a record that can be read."""
    middle = len(content) // 2
    found = (from_bytes(part, boot) for part in (content[:middle], content[middle:]))
    return [half for half in found if half is not None]


def is_blank(content: bytes) -> bool:
    """Whether the record is about nothing: its thread had no batch."""
    return not any(content[start : start + HEAD].strip(b"\0") for start in (0, len(content) // 2))
