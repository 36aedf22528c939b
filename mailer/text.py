"""What text may hold, by the place where it is going: the one place for rules about characters. Pure.

Four kinds of characters make trouble:

- NUL (U+0000): PostgreSQL keeps no text that has one.
- Half of a surrogate pair (U+D800 to U+DFFF): JSON can spell it, UTF-8 cannot, so it can be neither kept nor sent.
- Control characters (U+0001 to U+001F, U+007F to U+009F): a line end among them would begin a new header field, an
  escape would steer a terminal.
- Line separators (U+2028, U+2029; U+0085 is a control character): some programs end a line there too.

A body and a column may hold all but the first two (`is_storable`). A header field, a name, an id and an address are one
line and may hold none of the four (`is_one_line`).

`transports` imports nothing of this package, so that it can be published on its own; it has checks of its own.
"""

from __future__ import annotations

import re

NUL = "\0"

INVISIBLE = "".join(
    map(chr, (*range(0x21), *range(0x7F, 0xA1), *range(0x2000, 0x2010), *range(0x2028, 0x2030), *range(0x205F, 0x2070)))
)
INVISIBLE += "\xad\u034f\u061c\u115f\u1160\u1680\u180e\u2800\u3000\u3164\ufeff"
"""Characters that a reader does not see: control characters, blanks of every width, soft hyphens, joiners, zero-width
and bidirectional marks, letters without a shape."""

INVISIBLE_CLASS = f"[{re.escape(INVISIBLE)}]"  # for a regular expression: any one of them

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_UNFIT_FOR_A_LINE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_UNFIT_RUN = re.compile(f"{_UNFIT_FOR_A_LINE.pattern}+")


def is_storable(text: str) -> bool:
    """Whether a column of either database can keep `text`, and a body can be sent: no NUL, no lone surrogate."""
    return text.isprintable() or _UNSTORABLE.search(text) is None  # nearly all text is printable, and that is quick


def is_one_line(text: str) -> bool:
    """Whether `text` may stand in a mail header: no control character, line separator or lone surrogate."""
    return text.isprintable() or _UNFIT_FOR_A_LINE.search(text) is None


def one_line(text: str) -> str:
    """Give `text` with one blank for each run of characters that `is_one_line` does not allow."""
    return text if text.isprintable() else _UNFIT_RUN.sub(" ", text)


def is_http_header_value(text: str) -> bool:
    """Whether `text` can be sent as the value of an HTTP header: printable ASCII, or nothing (RFC 9110 section 5.5)."""
    return text.isascii() and text.isprintable()
