"""The text part of a message: an HTML template laid out as plain text, its placeholders kept."""

from __future__ import annotations

import html
import re
from html.entities import html5
from typing import Any

from inscriptis import get_text
from inscriptis.css_profiles import CSS_PROFILES
from inscriptis.model.config import ParserConfig
from inscriptis.model.html_document_state import HtmlDocumentState
from inscriptis.model.tag import CustomHtmlTagHandlerMapping

_MARKUP = re.compile(r"<[A-Za-z/!?]|&(?:#\d+|#[xX][0-9A-Fa-f]+|[A-Za-z][A-Za-z0-9]*);")
_INSTRUCTION = re.compile(r"<\?[^<>]*+>")  # a comment to a browser; inscriptis would lose the text after it
_SHOWN_TWICE = re.compile(r"(?<!\S)(\S++) <\1>")  # a link whose text is its target
_LINE_END = re.compile(r"\r\n|\r|\n")
_PRIVATE_USE = range(0xF0000, 0xFFFFE)
_UNENDED = "|".join(name for name in html5 if not name.endswith(";"))  # as in `&copy 2024`
_REFERENCE = rf"(?:#|[A-Za-z][A-Za-z0-9]*;|(?:{_UNENDED})(?![A-Za-z0-9=]))"
_AMPERSAND = re.compile(rf"&(?:amp;|amp(?![A-Za-z0-9=])|#0*38;|#[xX]0*26;|(?!{_REFERENCE}))")


def is_markup(text: str) -> bool:
    """Whether `text` is HTML, which is to say: has a tag or a character reference."""
    return _MARKUP.search(text) is not None


def to_html(text: str) -> str:
    """Give plain text as HTML: line ends become `<br>`."""
    return _LINE_END.sub("<br>\n", html.escape(text, quote=False))


def lay_out(segments: list[str], required: str) -> list[str]:
    """Lay out an HTML template as text. Literals stand at even places, names of placeholders at odd ones, in both.

    A link's target is shown after its text. `required` is added at the end if the layout
    shows it nowhere (it may stand in a comment, or in a form's target).
    """
    names = sorted(set(segments[1::2]))
    ampersand, *characters = _unused_characters("".join(segments[::2]), 1 + len(names))
    marks = dict(zip(names, characters, strict=True))
    # inscriptis reads references a second time, which would make ©=2 of a link's &amp;copy=2
    literals = [_AMPERSAND.sub(ampersand, part) for part in segments[::2]]
    marked = "".join([marks[part] if place % 2 else literals[place // 2] for place, part in enumerate(segments)])
    document = "<html>" + _INSTRUCTION.sub("", marked)  # so that no XML declaration can come first
    shown = get_text(document, _config(set(marks.values()))).replace(ampersand, "&")
    text = _SHOWN_TWICE.sub(r"\1", shown.strip())
    if required in marks and marks[required] not in text:
        text = f"{text}\n\n{marks[required]}".lstrip()
    return _split(text + "\n", {mark: name for name, mark in marks.items()})


def _unused_characters(literals: str, count: int) -> list[str]:
    """Pick characters without a meaning that the text does not hold, as themselves or as references."""
    taken = set(literals) | set(html.unescape(literals))
    return [mark for code in _PRIVATE_USE[: count + len(taken)] if (mark := chr(code)) not in taken][:count]


def _split(text: str, names: dict[str, str]) -> list[str]:
    if not names:
        return [text]
    parts = re.split(f"([{''.join(names)}])", text)
    return [names[part] if place % 2 else part for place, part in enumerate(parts)]


def _config(marks: set[str]) -> ParserConfig:
    def open_link(state: HtmlDocumentState, attributes: dict[str, str]) -> None:
        state.link_target = attributes.get("href", "").strip()

    def close_link(state: HtmlDocumentState) -> None:
        target = str(state.link_target)
        if target.startswith(("https:", "http:")) or any(mark in target for mark in marks):
            state.tags[-1].write(f" <{target}>")
        state.link_target = ""

    links: Any = CustomHtmlTagHandlerMapping({"a": open_link}, {"a": close_link})
    return ParserConfig(css=CSS_PROFILES["strict"].copy(), custom_html_tag_handler_mapping=links)
