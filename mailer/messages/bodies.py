"""The two bodies of a campaign's message, HTML and plain text, with gaps where the placeholders stood."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from mailer.messages.html_part.html_body import html_template
from mailer.messages.html_part.markup import Token, is_html, tokens
from mailer.messages.html_part.plain_body import PlainBody
from mailer.messages.inlining.inlined import inlined
from mailer.messages.placeholders import PLACEHOLDER
from mailer.messages.segments import UNCLICKABLE, Segments
from mailer.messages.text_part.plaintext import has_many_tags, lay_out

LINK = "unsubscribe"

_SHOWN = "visibility:visible!important;opacity:1!important;font-size:medium!important"  # whatever a style sheet says
PARAGRAPH = (
    f'<p style="display:block!important;{_SHOWN}">Unsubscribe: '
    f'<a style="display:inline!important;{_SHOWN}" href="[unsubscribe]">[unsubscribe]</a></p>'
)
_PLACES = (("", ""), ("", PARAGRAPH), (PARAGRAPH, ""))

_HEAD = {"html", "head", "title", "meta", "link", "style", "base", "script"}
_REST_OF_CONDITION = re.compile(r"\s*<!--<!\[endif\]-->", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Bodies:
    """The content of text/plain and text/html: literals at even places, gaps at odd ones, as in `Segments.parts`."""

    text: list[str]
    html: list[str]


def compile_bodies(header: str, body: str, footer: str, site: Mapping[str, str]) -> Bodies:
    """Put the body, which is plain text or HTML, between header and footer, which are HTML.

    `site` has the values that are the same for everybody. Where no unsubscribe link is shown that a person can click,
    a short paragraph with one is added.
    """
    wanted = any(found[1] == LINK for found in PLACEHOLDER.finditer(header + body + footer))
    bodies = _of_html if is_html(body) else _of_plain_text
    places = _PLACES if wanted else _PLACES[:1]
    if wanted and has_many_tags(header + footer + (body if bodies is _of_html else "")):
        places = _PLACES[-1:]  # as it is not parsed, nobody knows whether it hides the link
    for before, after in places:
        made, shown = bodies(before + header, body, footer + after, site)
        if shown or not wanted:
            return made
    return Bodies([*made.text[:-1], f"{made.text[-1]}\nUnsubscribe: ", LINK, "\n"], made.html)


def with_styles_inlined(header: str, body: str, footer: str) -> tuple[str, str, str]:
    """The same with its style sheets inlined, also in header and footer; plain text has none. Raises `TooMuch`."""
    return ("", inlined(framed(header, body, footer)), "") if is_html(body) else (header, body, footer)


def shows_link(header: str, body: str, footer: str, site: Mapping[str, str]) -> bool | None:
    """Whether a person can see and click the unsubscribe link where it stands; otherwise a paragraph is added.

    None: there are too many tags to tell.
    """
    bodies = _of_html if is_html(body) else _of_plain_text
    if has_many_tags(header + footer + (body if bodies is _of_html else "")):
        return None
    return bodies(header, body, footer, site)[1]


def _of_html(header: str, body: str, footer: str, site: Mapping[str, str]) -> tuple[Bodies, bool]:
    template = html_template(framed(header, body, footer), site)
    text = _laid_out(template.layout) or ["\n"]
    return Bodies(_without_marks(text), _without_marks(template.markup.parts)), LINK in text[1::2]


def _of_plain_text(header: str, body: str, footer: str, site: Mapping[str, str]) -> tuple[Bodies, bool]:
    above, plain, below = html_template(header, site), PlainBody(body, site), html_template(footer, site)
    markup, layout, text = Segments(), Segments(), Segments()
    for part in (above.markup, plain.markup, below.markup):
        markup.extend(part.parts)
    layout.extend(above.layout.parts)
    if LINK in plain.text.parts[1::2]:  # of the body nothing else matters: it hides nothing
        layout.gap(LINK)
    layout.extend(below.layout.parts)
    if top := _laid_out(above.layout, end="\n\n"):
        text.extend(top)
    text.extend(plain.text.parts)
    if bottom := _laid_out(below.layout):
        text.add("\n" if body.endswith(("\r", "\n")) else "\n\n")
        text.extend(bottom)
    return Bodies(_without_marks(text.parts), _without_marks(markup.parts)), LINK in lay_out(layout.parts)[1::2]


def _laid_out(layout: Segments, end: str = "\n") -> list[str]:
    """The text of some markup, with `end` as its end; nothing where it shows nothing."""
    text = lay_out(layout.parts)
    text[-1] = text[-1].rstrip("\n")
    return [*text[:-1], text[-1] + end] if len(text) > 1 or text[-1] else []


def _without_marks(parts: list[str]) -> list[str]:
    return [part.removesuffix(UNCLICKABLE) if place % 2 else part for place, part in enumerate(parts)]


def framed(header: str, body: str, footer: str) -> str:
    """Put header and footer around markup: inside its <body> if it is a whole document."""
    if not header and not footer:
        return body
    found = [token for token in tokens(body) if not token.conditional]
    start = _body_start(body, found)
    closings = {token.name: token.start for token in found if token.kind == "end" and token.start >= start}
    end = closings.get("body", closings.get("html", len(body)))
    return f"{body[:start]}{header}{body[start:end]}{footer}{body[end:]}"


def _body_start(body: str, found: list[Token]) -> int:
    """Where the content begins: after <body>, or where a parser would think it."""
    opened = next((token.end for token in found if token.kind == "start" and token.name == "body"), None)
    if opened is not None:
        rest = _REST_OF_CONDITION.match(body, opened)
        return rest.end() if rest else opened
    place, is_document = 0, False
    for token in found:
        if token.kind == "text" and not body[token.start : token.end].strip():
            continue
        if token.kind not in ("comment", "doctype") and token.name not in _HEAD:
            break
        place = token.end
        is_document = is_document or token.kind == "doctype" or token.name in ("html", "head")
    return place if is_document else 0
