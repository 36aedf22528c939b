"""The person a message is for, as every room above messages passes them on."""

from __future__ import annotations

from typing import NamedTuple


class Recipient(NamedTuple):
    """One user of the directory, or whoever a dry run is sent to.

    `name` may be empty. `address` is in its envelope form (`mailer.messages.addresses.envelope_address`) and empty
    where a user has none.
    """

    user_id: str
    name: str
    address: str
