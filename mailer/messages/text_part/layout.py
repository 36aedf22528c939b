"""The layout of a text part: what a reader sees of an HTML document, as lines of plain text."""

from __future__ import annotations

from collections.abc import Sequence

from justhtml import Element

from mailer.messages.text_part.links import Link
from mailer.messages.text_part.tables import Cell, Table, data_tables, span
from mailer.messages.text_part.tree import attribute
from mailer.messages.text_part.visible import Event, Open, Text
from mailer.messages.text_part.writer import TextWriter, collapsed

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
    """Give the lines of a document. `links` are those of `events`, as `links.links_of` finds them."""
    return _Layout(events, links).lines()


class _Layout:
    def __init__(self, events: Sequence[Event], links: Sequence[Link]) -> None:
        self._events = events
        self._data = data_tables(events)
        self._links = {link.closes: link for link in links}
        self._unsaid = _unsaid(links)
        self._writers = [TextWriter()]
        self._tables: list[Table | None] = []  # None for a table that is for layout
        self._lists: list[int | None] = []  # the number of the next item
        self._since = {link.opens: 0 for link in links}

    def lines(self) -> list[str]:
        for place, event in enumerate(self._events):
            if isinstance(event, Text):
                if place not in self._unsaid:
                    self._writer.text(event.text, event.spaces)
            elif isinstance(event, Open):
                self._break(event.element, event.display)
                self._open(event.element, place)
            else:
                self._announce(place)
                self._close(event.element)
                self._break(event.element, event.display)
        return self._writers[0].lines()

    @property
    def _writer(self) -> TextWriter:
        return self._writers[-1]

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
            self._writer.block(gap)
        elif display in _ASIDE or name in _SEPARATE or name.startswith("v:"):
            self._writer.blank()

    def _open(self, element: Element, place: int) -> None:
        if place in self._since:
            self._since[place] = self._writer.count()
        name = element.name
        if name in ("img", "area", "input"):
            self._picture(element)
        elif name == "br":
            self._writer.line_end()
        elif name == "hr":
            self._writer.text(_RULE)
        elif name == "q":
            self._writer.text("“")
        elif name in ("blockquote", "dd"):
            lead = "> " if name == "blockquote" else "  "
            self._writer.indent(lead, lead)
        elif name in _LISTS or name == "li":
            self._list(element)
        elif name in ("table", "tr", "td", "th"):
            self._table(name, place)

    def _close(self, element: Element) -> None:
        name = element.name
        if name == "q":
            self._writer.text("”")
        elif name in ("blockquote", "dd", "li"):
            self._writer.outdent()
        elif name in _LISTS:
            self._lists.pop()
        elif name == "table":
            table = self._tables.pop()
            if table is not None:
                self._writer.block(2)
                self._writer.written(table.lines())
        elif name in ("td", "th") and self._in_data():
            self._end_cell(element)

    def _picture(self, element: Element) -> None:
        kind = (attribute(element, "type") or "").strip().lower()
        names = "alt" if element.name != "input" or kind == "image" else "value"
        is_shown = element.name != "input" or kind in ("image", "submit", "button", "reset")
        text = collapsed(attribute(element, names) or "").strip()
        if text and is_shown:
            self._writer.apart(f"[{text}]")

    def _list(self, element: Element) -> None:
        if element.name in _LISTS:
            self._lists.append(_number(element, "start", 1) if element.name == "ol" else None)
            return
        number = self._lists[-1] if self._lists else None
        if number is None:
            self._writer.indent("* ", "  ")
            return
        number = _number(element, "value", number)
        self._lists[-1] = number + 1
        self._writer.indent(f"{number}. ", " " * len(f"{number}. "))

    def _table(self, name: str, place: int) -> None:
        if name == "table":
            self._tables.append(Table() if place in self._data else None)
        elif self._tables and (table := self._tables[-1]) is not None:
            if name == "tr":
                table.rows.append([])
            else:
                self._writers.append(TextWriter())

    def _end_cell(self, element: Element) -> None:
        table = self._tables[-1]
        lines = self._writers.pop().lines()
        if table is not None:
            cell = Cell(lines, span(element, "colspan"), span(element, "rowspan"))
            table.rows[-1].append(cell)

    def _announce(self, place: int) -> None:
        link = self._links.get(place)
        if link is None or link.is_dropped:
            return
        if link.is_replaced:
            self._writer.text(link.target)
        elif link.is_announced:
            self._writer.attach(f"<{link.target}>", self._since[link.opens])


def _unsaid(links: Sequence[Link]) -> frozenset[int]:
    """The places of texts that are left out, because a link's target or the link beside it says the same."""
    quiet = [link for link in links if link.is_dropped or link.is_replaced]
    return frozenset(place for link in quiet for place in range(link.opens, link.closes))


def _number(element: Element, name: str, default: int) -> int:
    text = (attribute(element, name) or "").strip()
    digits = text.removeprefix("-")
    return int(text) if digits.isdecimal() and digits.isascii() and len(digits) < 10 else default
