"""The last net: addresses, tokens and unsubscribe links are replaced in whatever is logged. Pure.

The modules that log take care by themselves. This is for what they do not see: the words of a library, of a mail server
or of a defect. All of it takes time in proportion to the length of the text.
"""

from __future__ import annotations

import re
from typing import Any

ADDRESS, TOKEN = "<address>", "<token>"
LEAST = 32  # characters; tokens of this service and of Rocket.Chat have 43, campaigns' ids 23

# as it stands in text, in addresses of pages (encoded once or more), in HTML, in JSON, and as wide letters
_AT = re.compile(r"@|%(?:25)*40|&#0*64;|&#x0*40;|&commat;|\\u0040|\\x40|\uff20|\ufe6b", re.IGNORECASE)
_WORD = re.compile(r"\S+")
_QUOTED = re.compile(r'"[^"\n]*"@')  # a local part may have blanks between quotation marks
_LINK = re.compile(r"(/mailer/unsubscribe/)[^\s\"'<>]+")
_RUN = re.compile(rf"(?:[A-Za-z0-9_-]+\.)?[A-Za-z0-9_-]{{{LEAST},}}")  # before the dot: whose token it is
_NAMED = re.compile(
    r"""((?:x-auth-token|authorization)["']?\s*[:=]\s*["']?(?:(?:basic|bearer)\s+)?
    |\b(?:\w*token|secret|password|passwd)=["']?
    |["'](?:\w*token|secret|password|passwd)["']:\s*["']?)
    [^\s"'&,;<>]+""",
    re.IGNORECASE | re.VERBOSE,
)


def without_addresses(text: str) -> str:
    """Return `text` with every word that has an `@`, in whatever spelling, replaced."""
    if _AT.search(text) is None:
        return text
    return _WORD.sub(_word, _QUOTED.sub("@", text))


def masked(text: str) -> str:
    """Return `text` without addresses, unsubscribe links and what looks like a token.

    That is: a run of 32 or more letters, digits, `_` and `-` that is no plain word, and what a header or a parameter
    for a secret holds.
    """
    return _RUN.sub(_run, _NAMED.sub(rf"\1{TOKEN}", _LINK.sub(rf"\1{TOKEN}", without_addresses(text))))


def masked_value(value: Any) -> Any:
    """Return a value of a log line masked: text, also inside lists and mappings; numbers and the like stay."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, dict):
        return {masked(str(name)): masked_value(held) for name, held in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [masked_value(held) for held in value]
    return masked(value if isinstance(value, str) else str(value))


def _word(found: re.Match[str]) -> str:
    return ADDRESS if _AT.search(found[0]) else found[0]


def _run(found: re.Match[str]) -> str:
    """A name of the code, such as that of a function in a traceback, has small letters only, and is left."""
    secret = found[0].rpartition(".")[2]
    return TOKEN if any(one.isdigit() or one.isupper() for one in secret) else found[0]
