"""The placeholders that a campaign may hold, and those that somebody probably meant. Pure."""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import lru_cache

NAMES = ("unsubscribe", "name", "fname", "lname", "email", "Site_Name", "Site_URL")
UNSUBSCRIBE = "[unsubscribe]"  # every body must have it
PLACEHOLDER = re.compile(rf"\[({'|'.join(NAMES)})\]")

_CANDIDATE = re.compile(r"\[((?:[^\[\]<>\r\n]|<[^<>\[\]]{0,200}>){1,60})\]")
_TAG = re.compile(r"<[^<>]*>")
_NOT_LETTERS = re.compile(r"[\W_]+")
_IF = r"\[if\b[^\]<>]{0,200}\]"
# begins with what can be searched for quickly
_CONDITION = re.compile(rf"<!(?:--\s{{0,9}}{_IF}>(?:<!-->|-->)?|(?:--<!)?(?:{_IF}|\[endif\])(?:--)?>)", re.IGNORECASE)
_UNSEEN = re.compile(r"<!--.*?(?:-->|\Z)|<(style|script)\b.*?(?:</\1|\Z)", re.IGNORECASE | re.DOTALL)
_LIKE = 0.7  # difflib's least ratio: `nam`, `emial` and `unsubscribe link` are near enough, and so is `game` to `name`
_ENOUGH = 1000  # different words that are looked at in a text
_ORDINARY = {"sic", "at", "dot", "etc", "ok"}
_MEANT = {name.replace("_", "").lower(): name for name in NAMES} | {
    "fullname": "name", "username": "name", "firstname": "fname", "givenname": "fname", "forename": "fname",
    "lastname": "lname", "surname": "lname", "familyname": "lname", "mail": "email", "emailaddress": "email",
    "unsub": "unsubscribe", "optout": "unsubscribe", "unsubscribelink": "unsubscribe", "unsubscribeurl": "unsubscribe",
    "site": "Site_Name", "siteaddress": "Site_URL", "siteurl": "Site_URL", "url": "Site_URL",
}  # fmt: skip


def unknown_placeholders(*texts: str) -> list[tuple[str, str | None]]:
    """Find each `[word]` that was probably meant as a placeholder and would be sent as it stands.

    Beside each word stands the placeholder nearest to it, or None. Found are words that resemble a placeholder, and
    words that look like a name: a lower-case identifier of two letters or more. Comments (but for what Outlook shows of
    them), style sheets and scripts are passed over. Each word comes once, in the order of `texts`, as it is written
    between its brackets.
    """
    found: dict[str, str | None] = {}
    for text in texts:
        shown = _UNSEEN.sub(" ", _CONDITION.sub(" ", text))
        for word in list(dict.fromkeys(_CANDIDATE.findall(shown)))[:_ENOUGH]:
            nearest = _nearest(_TAG.sub("", word))
            if word not in NAMES and (nearest or _is_name(word)):
                found[word] = nearest
    return list(found.items())


@lru_cache(maxsize=1024)  # comparing takes a fifth of accepting a campaign, and most words come again
def _nearest(word: str) -> str | None:
    first = re.split(r"\W", word.strip(), maxsplit=1)[0].lower()  # `fname` of `fname|there`
    letters = _NOT_LETTERS.sub("", word).lower()
    near = [first] if first in _MEANT else get_close_matches(letters, _MEANT, 1, _LIKE)
    return _MEANT[near[0]] if near and letters not in _ORDINARY else None


def _is_name(word: str) -> bool:
    return len(word) > 1 and word.isidentifier() and word == word.lower() and word not in _ORDINARY
