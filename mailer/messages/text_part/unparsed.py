"""The text of markup that has too many tags for a parser: its words and links in their order, in one pass, no tree."""

from __future__ import annotations

import html
import re

from mailer.messages.html_part.markup import Token, tokens
from mailer.messages.text_part.links import readable
from mailer.messages.text_part.writer import collapsed

_BLOCK = re.compile(
    "address|article|aside|blockquote|body|br|caption|center|d[dlt]|details|div|fieldset|figure|footer|form|h[1-6r]|"
    "header|li|main|nav|[ou]l|p|pre|section|summary|table|tr"
)
_CELLS = frozenset(("td", "th"))
_BLANKS = re.compile(r"[ \t]*+\n\s*|[ \t]+")


def unparsed_text(markup: str, marks: frozenset[str]) -> str:
    """Give the text of `markup`, one line for each block. `marks` stand for placeholders, whose value may be a URL."""
    written: list[str] = []
    target = ""
    for token in tokens(markup):
        source = markup[token.start : token.end]
        if token.conditional:
            continue
        if token.kind == "text":
            written.append(collapsed(html.unescape(source)))
        elif token.name == "a":
            if target:
                written.append(f" <{target}> ")
            target = _target(markup, token, marks)
        elif token.kind in ("start", "end") and _BLOCK.fullmatch(token.name):
            written.append("\n")
        elif token.name in _CELLS:
            written.append(" ")
    return _BLANKS.sub(lambda run: "\n" if "\n" in run[0] else " ", "".join(written)).strip()


def _target(markup: str, token: Token, marks: frozenset[str]) -> str:
    """Where the link leads that opens here; empty where one ends."""
    found = next((one.value for one in token.attributes if one.name == "href" and one.value), None)
    return readable(html.unescape(markup[slice(*found)]), marks) if found and token.kind == "start" else ""
