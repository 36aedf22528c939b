"""The person a message is for, as every room above messages passes them on."""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

DIGEST_SIZE = 8  # octets: two of a million users have the same in one of 37 million directories


class Recipient(NamedTuple):
    """One user of the directory, or whoever a dry run is sent to.

    `name` may be empty. `address` is in its envelope form (`mailer.messages.addresses.envelope_address`) and empty
    where a user has none.
    """

    user_id: str
    name: str
    address: str


def user_digest(user_id: str) -> str:
    """What stands for a user where an id has no room, in 16 hexadecimal digits: the first of those in a Message-ID."""
    return blake2b(user_id.encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()[: 2 * DIGEST_SIZE]
