"""HTML as a tree of elements, by a parser that follows the HTML standard and whose work stays bounded."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from justhtml import Element, JustHTML, Node, NodeType, Text

_STRAY = re.compile(r"<(?![A-Za-z/!?])")  # a character of the text, no tag; the parser is slow with a million of them
_FORMATTING = re.compile(r"<(/?)(b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u)(?=[\s/>])", re.IGNORECASE)
_MAX_REOPENED = 300_000  # elements
_OFFICE = re.compile(r"\s*\[if\s[^\]]*\]>(.*)<!\[endif\]\s*", re.DOTALL)


def parse(markup: str) -> Node:
    """Give the root of the document. Any text is a document; its elements may be nested without limit.

    The HTML standard opens unclosed formatting elements again in each block, so that a hostile megabyte would become
    billions of elements. Where there would be too many, they are read as `span`, which ends with the block around it.
    """
    markup = _STRAY.sub("&lt;", markup)
    if _unclosed_formatting(markup) * markup.count("<") > _MAX_REOPENED:
        markup = _FORMATTING.sub(r"<\1span", markup)
    return JustHTML(markup, sanitize=False).root


def _unclosed_formatting(markup: str) -> int:
    """The most formatting elements that are open at once."""
    opened: Counter[str] = Counter()
    total = most = 0
    for tag in _FORMATTING.finditer(markup):
        name = tag[2].lower()
        if not tag[1]:
            opened[name] += 1
            total += 1
            most = max(most, total)
        elif opened[name]:
            opened[name] -= 1
            total -= 1
    return most


def descendants(root: NodeType) -> Iterator[NodeType]:
    """Every node below `root`, in the order of the document."""
    stack = [*reversed(root.children or ())]
    while stack:
        node = stack.pop()
        yield node
        stack += reversed(node.children or ())


def elements(root: NodeType) -> Iterator[Element]:
    """Every element below `root`, in the order of the document."""
    return (node for node in descendants(root) if isinstance(node, Element))


def text_of(root: NodeType) -> str:
    """All text below `root`, hidden or not."""
    return "".join(node.data or "" for node in descendants(root) if isinstance(node, Text))


def attribute(element: Element, name: str) -> str | None:
    """The value of an element's attribute: "" for one without a value, None where it is missing."""
    if name not in element.attrs:
        return None
    return element.attrs[name] or ""


def office_buttons(comment: str) -> list[Element]:
    """The VML shapes that lead somewhere, of a conditional comment that only Outlook reads (`<!--[if mso]>`)."""
    found = _OFFICE.fullmatch(comment)
    if found is None or "<v:" not in found[1].lower():
        return []
    buttons: list[Element] = []
    stack: list[NodeType] = [parse(found[1])]
    while stack:
        node = stack.pop()
        if isinstance(node, Element) and node.name.startswith("v:") and attribute(node, "href"):
            buttons.append(node)
        else:
            stack += reversed(node.children or ())
    return buttons
