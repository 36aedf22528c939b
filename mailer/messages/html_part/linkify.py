"""Where web and mail addresses stand in plain text, and where they end.

Ours, because linkify-it-py, the field's library, takes 12 seconds for 100 KB of `https://x.org/((((((`, and knows
neither placeholders nor character references. Placeholders need no rule here: their brackets are balanced and of a
URL's characters.
"""

from __future__ import annotations

import html
import re

from mailer.messages.addresses import MAX_ADDRESS, envelope_address

_SIGNS = r"[^\s<>\"`\\\x00-\x1f\x7f“”„‟«»‹›「」『』【】《》〈〉。、，！？；：…]*"
URL = rf"(?:(?<![A-Za-z0-9])(?i:https?)://{_SIGNS}|\[Site_URL\](?:[/?#]{_SIGNS})?)"
EMAIL = r"(?<![\w.+%~&@\]-])\w[\w.+%~'-]{0,63}@(?:[\w-]{1,63}\.){1,20}\w{2,63}(?![\w@\[])"

_PAIRS = {")": "(", "]": "[", "}": "{", "）": "（", "］": "［"}
_TRAILING = ".,;:!?'’‘*_~|(（[{#&،؛؟।۔"
_REFERENCE_END = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,8});?\Z")
_BRACKETS = {"<": ">", '"': '"', "'": "'", "«": "»", "“": "”", "„": "“", "‘": "’"}
_REFERENCE = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_CLOSERS = "<>\"'\xa0”’»›"


def trimmed(candidate: str, before: str = "") -> str:
    """`candidate` without what belongs to the sentence: a bracket without its partner, punctuation, an escaped quote.

    `before` is what stands before the URL. Where that ends with a reference to a bracket or quote, such as `&lt;`, the
    URL ends at its partner.
    """
    opened = _REFERENCE.search(before[-12:])
    if opened and before.endswith(opened[0]) and (partner := _BRACKETS.get(html.unescape(opened[0]))):
        for reference in _REFERENCE.finditer(candidate):
            if html.unescape(reference[0]) == partner:
                candidate = candidate[: reference.start()]
                break
    return _without_end(candidate[: _balanced(candidate)])


def _balanced(text: str) -> int:
    """The length of `text` up to the first closing bracket that has no opening one."""
    open_brackets: list[str] = []
    for place, sign in enumerate(text):
        if sign in "([{（［":
            open_brackets.append(sign)
        elif sign in _PAIRS and (not open_brackets or open_brackets.pop() != _PAIRS[sign]):
            return place
    return len(text)


def _without_end(url: str) -> str:
    end = len(url)
    while end:
        reference = _REFERENCE_END.search(url, max(0, end - 12), end)
        if reference and html.unescape(reference[0].rstrip(";") + ";") in _CLOSERS:
            end = reference.start()
        elif url[end - 1] in _TRAILING:
            end -= 1
        else:
            break
    return url[:end]


def is_url(text: str) -> bool:
    """Whether what `trimmed` left has a host."""
    return text.startswith("[Site_URL]") or re.match(r"(?i:https?)://(?:[^\s/?#@]*@)?[\w\[]", text) is not None


def is_email(text: str) -> bool:
    """Whether `text` is a valid e-mail address."""
    return len(text) <= MAX_ADDRESS and envelope_address(text) is not None
