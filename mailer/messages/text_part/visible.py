"""What a reader of an HTML document sees, as events in its order: text, and the elements around it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from justhtml import Comment, Element, Node, NodeType
from justhtml import Text as TextNode

from mailer.messages.text_part.stylesheets import Cascade
from mailer.messages.text_part.tree import attribute, office_buttons, text_of

_NEVER_SHOWN = frozenset(
    ("head", "title", "style", "script", "noscript", "template", "meta", "link", "base", "select", "datalist", "xml")
) | {"iframe", "noembed", "noframes", "meter", "progress", "param", "source", "track"}
_NEVER_SHOWN_IN_SVG = frozenset(("title", "desc", "defs", "style", "script", "metadata", "symbol"))
_ZERO = re.compile(r"[+-]?(?:0+(?:\.0*)?|\.0+)(?:%|[a-z]+)?")
_TINY = re.compile(r"\+?[01](?:\.0*)?(?:px)?")
_SIZES_OF_PARENT = re.compile(r"inherit|unset|smaller|larger|[\d.]+(?:em|%)")
_SPACES = {"pre": "pre", "pre-wrap": "pre", "break-spaces": "pre", "pre-line": "lines", "normal": "", "nowrap": ""}


class Text(NamedTuple):
    """Text as it is written.

    `spaces` is "" where runs of blanks become one, "lines" where line ends stay, "pre" where all white space stays.
    """

    text: str
    spaces: str


class Open(NamedTuple):
    """An element begins. `display` is what a style says of it, or empty."""

    element: Element
    display: str


class Close(NamedTuple):
    """An element ends."""

    element: Element
    display: str


Event = Text | Open | Close


@dataclass(frozen=True, slots=True)
class _Inherited:
    shown: bool = True
    sized: bool = True  # whether letters have a size
    spaces: str = ""


def shown(root: Node) -> Iterator[Event]:
    """Give what a desktop program with pictures shows, and the VML buttons that Outlook shows instead of links."""
    cascade = Cascade(root)
    stack: list[tuple[NodeType, _Inherited] | Close] = [(root, _Inherited())]
    while stack:
        entry = stack.pop()
        if isinstance(entry, Close):
            yield entry
            continue
        node, inherited = entry
        if isinstance(node, TextNode):
            if inherited.shown and inherited.sized and node.data:
                yield Text(node.data, inherited.spaces)
        elif isinstance(node, Comment):
            yield from _buttons(str(node.data or ""))
        elif isinstance(node, Element):
            yield from _element(node, cascade.of(node), inherited, stack)
        else:
            stack += [(child, inherited) for child in reversed(node.children or ())]


def _element(
    node: Element, style: dict[str, str], inherited: _Inherited, stack: list[tuple[NodeType, _Inherited] | Close]
) -> Iterator[Event]:
    display = style.get("display") or _own_display(node)
    if display == "none" or _is_never_shown(node, style):
        return
    own = _inherit(node, style, inherited)
    children = () if _is_hidden(style) else node.children or ()
    if own.shown or children:
        yield Open(node, display)
        stack.append(Close(node, display))
        stack += [(child, own) for child in reversed(children)]


def _buttons(comment: str) -> Iterator[Event]:
    for button in office_buttons(comment):
        yield Open(button, "inline-block")
        yield Text(text_of(button), "")
        yield Close(button, "inline-block")


def _is_never_shown(node: Element, style: dict[str, str]) -> bool:
    """Whether the element is of a kind that is never shown."""
    if node.name == "img":
        return _is_pixel(node, style)
    foreign = node.namespace not in (None, "html")
    return node.name in (_NEVER_SHOWN_IN_SVG if foreign else _NEVER_SHOWN)


def _is_hidden(style: dict[str, str]) -> bool:
    """Whether nothing inside the element can be seen, although it takes its place on the page.

    `mso-hide` does not count: it hides from Outlook what everybody else sees, such as the link beside a VML button.
    """
    if _is_zero(style.get("opacity", "")) or _is_zero(style.get("max-height", "")):
        return True
    clipped = any(
        style.get(name, "").startswith(("hidden", "clip")) for name in ("overflow", "overflow-x", "overflow-y")
    )
    return clipped and any(_is_zero(style.get(name, "")) for name in ("height", "width", "max-width"))


def _own_display(node: Element) -> str:
    closed = node.name == "dialog" and "open" not in node.attrs
    kind = (attribute(node, "type") or "").strip().lower() if node.name == "input" else ""
    return "none" if closed or kind == "hidden" or "hidden" in node.attrs else ""


def _is_pixel(node: Element, style: dict[str, str]) -> bool:
    """Whether an image is a tracking pixel."""
    sides = [style.get(side) or (attribute(node, side) or "").strip().lower() for side in ("width", "height")]
    return all(_TINY.fullmatch(side) for side in sides) or any(_ZERO.fullmatch(side) for side in sides)


def _is_zero(value: str) -> bool:
    return _ZERO.fullmatch(value) is not None


def _inherit(node: Element, style: dict[str, str], inherited: _Inherited) -> _Inherited:
    visibility, spaces = style.get("visibility", ""), style.get("white-space", "")
    size = style.get("font-size") or next(
        (part for part in re.split(r"[\s/]", style.get("font", "")) if _ZERO.fullmatch(part)), ""
    )
    own = inherited
    if visibility in ("hidden", "collapse", "visible"):
        own = replace(own, shown=visibility == "visible")
    if size and not _SIZES_OF_PARENT.fullmatch(size):
        own = replace(own, sized=not _is_zero(size))
    elif _is_zero(size):
        own = replace(own, sized=False)
    if spaces in _SPACES:
        own = replace(own, spaces=_SPACES[spaces])
    elif node.name in ("pre", "textarea", "listing", "xmp", "plaintext"):
        own = replace(own, spaces="pre")
    return own
