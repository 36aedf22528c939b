"""Which header fields are signed, and which of them once more than they are there. Pure.

A field that is signed once more than it is there cannot be added on the way without breaking the signature (RFC 6376
section 8.15): no second From or Subject that a reader would see instead, and no way to unsubscribe but ours.
`Sender` is not among them, since the server that mail is submitted to may add it (RFC 6409 section 8.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from email.utils import getaddresses
from functools import lru_cache

import idna

OVERSIGNED = (
    b"from",
    b"reply-to",
    b"subject",
    b"date",
    b"message-id",
    b"to",
    b"cc",
    b"mime-version",
    b"content-type",
    b"list-unsubscribe",
    b"list-unsubscribe-post",
    b"list-id",
    b"list-help",
    b"list-post",
    b"list-subscribe",
    b"list-owner",
    b"list-archive",
)
SIGNED_IF_THERE = frozenset(
    (
        b"sender",
        b"in-reply-to",
        b"references",
        b"content-transfer-encoding",
        b"content-id",
        b"content-description",
        b"content-disposition",
        b"content-language",
        b"feedback-id",
        b"precedence",
        b"auto-submitted",
    )
)
_LIST = b"list-"
_OVERSIGNED = frozenset(OVERSIGNED)


def signed_fields(names: Sequence[bytes]) -> list[bytes]:
    """What `h=` says of a message whose fields have these names, in lower case.

    All `List-` fields are among them: RFC 8058 section 4 asks for both that tell how to unsubscribe.
    """
    there = [name for name in names if name in _OVERSIGNED or name in SIGNED_IF_THERE or name.startswith(_LIST)]
    return [*there, *OVERSIGNED]


@lru_cache(maxsize=256)
def author_domain(value: bytes) -> str | None:
    """The domain of the author in the value of a From field, in lower case and ASCII; None: it names not just one."""
    text = value.decode("utf-8", "replace").replace("\r", "").replace("\n", "")
    addresses = [address for _, address in getaddresses([text])]
    if len(addresses) != 1 or "@" not in addresses[0]:
        return None
    domain = addresses[0].rpartition("@")[2]
    try:
        return domain.lower() if domain.isascii() else idna.encode(domain, uts46=True).decode()
    except idna.IDNAError:
        return None
