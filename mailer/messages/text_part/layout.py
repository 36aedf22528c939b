"""The layout of a text part: what a reader sees of an HTML document, as lines of plain text."""

from __future__ import annotations

from collections.abc import Sequence

from justhtml import Element

from mailer.messages.text_part.links import Link
from mailer.messages.text_part.page import Page, collapsed
from mailer.messages.text_part.tables import Cell, Table, data_tables, span
from mailer.messages.text_part.tree import attribute
from mailer.messages.text_part.visible import Event, Open, Text

_PARAGRAPHS = frozenset(
    ("p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "menu", "dir", "dl", "blockquote", "pre", "listing", "xmp")
) | {"plaintext", "table", "figure", "fieldset", "hr", "td", "th", "tr", "caption"}
_LINES = frozenset(
    ("div", "center", "section", "form", "article", "header", "footer", "main", "nav", "aside", "address", "details")
) | {"summary", "dt", "dd", "li", "legend", "figcaption", "hgroup", "search", "dialog", "optgroup", "option", "marquee"}
_LISTS = frozenset(("ul", "ol", "menu", "dir"))
_SEPARATE = frozenset(("button", "input", "img", "area", "label", "video", "audio"))
_ASIDE = frozenset(("inline-block", "inline-flex", "inline-grid", "inline-table"))
_RULE = "-" * 20


def laid_out(events: Sequence[Event], links: Sequence[Link]) -> list[str]:
    """Give the lines of a document. `links` are those of `events` (`mailer.text_links.links_of`)."""
    return _Layout(events, links).lines()


class _Layout:
    def __init__(self, events: Sequence[Event], links: Sequence[Link]) -> None:
        self._events = events
        self._data = data_tables(events)
        self._links = {link.closes: link for link in links}
        self._unsaid = _unsaid(links)
        self._pages = [Page()]
        self._tables: list[Table | None] = []  # None for those that only arrange
        self._lists: list[int | None] = []  # the number of the next item
        self._since = {link.opens: 0 for link in links}

    def lines(self) -> list[str]:
        for place, event in enumerate(self._events):
            if isinstance(event, Text):
                if place not in self._unsaid:
                    self._page.text(event.text, event.spaces)
            elif isinstance(event, Open):
                self._break(event.element, event.display)
                self._open(event.element, place)
            else:
                self._announce(place)
                self._close(event.element)
                self._break(event.element, event.display)
        return self._pages[0].lines()

    @property
    def _page(self) -> Page:
        return self._pages[-1]

    def _in_data(self) -> bool:
        return bool(self._tables) and self._tables[-1] is not None

    def _break(self, element: Element, display: str) -> None:
        name = element.name
        gap = 2 if name in _PARAGRAPHS else 1 if name in _LINES else 0
        if name in _LISTS and self._lists:
            gap = 1
        if display == "inline" and name != "table":
            gap = 0
        elif not gap and display and display not in _ASIDE and display not in ("inline", "contents"):
            gap = 1
        if self._in_data() and name in ("td", "th", "tr"):
            return
        if gap:
            self._page.block(gap)
        elif display in _ASIDE or name in _SEPARATE or name.startswith("v:"):
            self._page.blank()

    def _open(self, element: Element, place: int) -> None:
        if place in self._since:
            self._since[place] = self._page.count()
        name = element.name
        if name in ("img", "area", "input"):
            self._picture(element)
        elif name == "br":
            self._page.line_end()
        elif name == "hr":
            self._page.text(_RULE)
        elif name == "q":
            self._page.text("“")
        elif name in ("blockquote", "dd"):
            lead = "> " if name == "blockquote" else "  "
            self._page.indent(lead, lead)
        elif name in _LISTS or name == "li":
            self._list(element)
        elif name in ("table", "tr", "td", "th"):
            self._table(name, place)

    def _close(self, element: Element) -> None:
        name = element.name
        if name == "q":
            self._page.text("”")
        elif name in ("blockquote", "dd", "li"):
            self._page.outdent()
        elif name in _LISTS:
            self._lists.pop()
        elif name == "table":
            table = self._tables.pop()
            if table is not None:
                self._page.block(2)
                self._page.written(table.lines())
        elif name in ("td", "th") and self._in_data():
            self._end_cell(element)

    def _picture(self, element: Element) -> None:
        kind = (attribute(element, "type") or "").strip().lower()
        names = "alt" if element.name != "input" or kind == "image" else "value"
        is_shown = element.name != "input" or kind in ("image", "submit", "button", "reset")
        text = collapsed(attribute(element, names) or "").strip()
        if text and is_shown:
            self._page.apart(f"[{text}]")

    def _list(self, element: Element) -> None:
        if element.name in _LISTS:
            self._lists.append(_number(element, "start", 1) if element.name == "ol" else None)
            return
        number = self._lists[-1] if self._lists else None
        if number is None:
            self._page.indent("* ", "  ")
            return
        number = _number(element, "value", number)
        self._lists[-1] = number + 1
        self._page.indent(f"{number}. ", " " * len(f"{number}. "))

    def _table(self, name: str, place: int) -> None:
        if name == "table":
            self._tables.append(Table() if place in self._data else None)
        elif self._tables and (table := self._tables[-1]) is not None:
            if name == "tr":
                table.rows.append([])
            else:
                self._pages.append(Page())

    def _end_cell(self, element: Element) -> None:
        table = self._tables[-1]
        lines = self._pages.pop().lines()
        if table is not None:
            cell = Cell(lines, span(element, "colspan"), span(element, "rowspan"))
            table.rows[-1].append(cell)

    def _announce(self, place: int) -> None:
        link = self._links.get(place)
        if link is None or link.is_dropped:
            return
        if link.is_replaced:
            self._page.text(link.target)
        elif link.is_announced:
            self._page.attach(f"<{link.target}>", self._since[link.opens])


def _unsaid(links: Sequence[Link]) -> frozenset[int]:
    """The places of texts that a target or a neighbour says already."""
    quiet = [link for link in links if link.is_dropped or link.is_replaced]
    return frozenset(place for link in quiet for place in range(link.opens, link.closes))


def _number(element: Element, name: str, default: int) -> int:
    text = (attribute(element, name) or "").strip()
    digits = text.removeprefix("-")
    return int(text) if digits.isdecimal() and digits.isascii() and len(digits) < 10 else default
