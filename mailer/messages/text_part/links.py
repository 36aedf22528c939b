"""The links of a text part: where they lead, and which of them show their target. Each target is shown once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from justhtml import Element

from mailer.messages.text_part.tree import attribute
from mailer.messages.text_part.visible import Close, Event, Open, Text
from mailer.messages.text_part.writer import JOINERS

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_FOR_PROGRAMS = re.compile(r"(?:javascript|vbscript|data|about|blob|cid|mid|file):", re.IGNORECASE)
_CONTROL = re.compile(r"[\t\n\r\f]")
_UNSAFE = {" ": "%20", "<": "%3C", ">": "%3E", '"': "%22"}
_UNSAFE_SIGN = re.compile(r'[ <>"]')
_PHONE = re.compile(r"(?:tel|sms|callto):", re.IGNORECASE)
_DIGITS = re.compile(r"[^\d+]")
_LEFT_OUT = re.compile(r"(?:https?:)?//(?:www\.)?|mailto:|tel:|www\.", re.IGNORECASE)


def target_of(element: Element, marks: frozenset[str]) -> str:
    """Where `element` leads, as a person can use it; empty where it is no link, or leads nowhere outside the page.

    `marks` stand for placeholders, whose value may be a URL.
    """
    is_link = element.name in ("a", "area") or element.name.startswith("v:")
    return readable(attribute(element, "href") or "", marks) if is_link else ""


def readable(href: str, marks: frozenset[str]) -> str:
    """The target that the value of a `href` stands for, as `target_of` gives it."""
    target = _CONTROL.sub("", href).strip()
    if target.startswith("//"):
        target = f"https:{target}"
    scheme = _SCHEME.match(target)
    if scheme is None:
        leads = target[:1] != "#" and not marks.isdisjoint(target)
    else:
        leads = scheme.end() < len(target) and not _FOR_PROGRAMS.match(target)
    if not leads:
        return ""
    return _UNSAFE_SIGN.sub(lambda sign: _UNSAFE[sign[0]], target)


@dataclass(slots=True, eq=False)
class Link:
    """A link that is shown. `opens` and `closes` are the places of its events."""

    element: Element
    target: str
    opens: int
    before: Link | None  # the link before it, where only blanks stand between
    closes: int = 0
    words: list[str] = field(default_factory=list)
    has_picture: bool = False
    is_announced: bool = True
    is_dropped: bool = False  # the link beside it says the same
    is_replaced: bool = False  # the target says all that the text says

    @property
    def label(self) -> str:
        """Its text."""
        return " ".join("".join(self.words).split())

    @property
    def is_button(self) -> bool:
        """Whether only Outlook shows it."""
        return self.element.name.startswith("v:")

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to click on."""
        return not (self.has_picture or self.label.strip(JOINERS))


def links_of(events: Sequence[Event], marks: frozenset[str], limit: int) -> list[Link]:
    """Give the links in `events` that have something to show, in the order of their ends.

    Of neighbours with the same target the last one announces it. `limit`: the characters that may be spent on targets
    which have been announced before, so that the text does not outgrow its source.
    """
    found = _Finder(marks).links(events)
    for link in found:
        _compare_with_label(link)
        _compare_with_neighbour(link)
    announced: set[str] = set()
    for link in found:
        if link.is_announced and link.target in announced:
            limit -= len(link.target)
            link.is_announced = limit >= 0
        announced.add(link.target)
    return found


class _Finder:
    def __init__(self, marks: frozenset[str]) -> None:
        self._marks = marks
        self._open: list[Link] = []
        self._previous: Link | None = None
        self._found: list[Link] = []

    def links(self, events: Sequence[Event]) -> list[Link]:
        for place, event in enumerate(events):
            if isinstance(event, Text):
                self._text(event.text)
            elif isinstance(event, Open):
                self._begin(event.element, place)
            elif isinstance(event, Close) and self._open and self._open[-1].element is event.element:
                self._end(place)
        return self._found

    def _text(self, text: str) -> None:
        if self._open:
            self._open[-1].words.append(text)
        elif text.strip():
            self._previous = None

    def _begin(self, element: Element, place: int) -> None:
        if target := target_of(element, self._marks):
            self._open.append(Link(element, target, place, self._previous))
        if element.name in ("img", "input", "area", "hr"):
            alt = attribute(element, "alt") or ""
            if self._open:
                self._open[-1].words.append(alt)
                self._open[-1].has_picture = True
            elif alt or element.name == "hr":
                self._previous = None

    def _end(self, place: int) -> None:
        link = self._open.pop()
        link.closes = place
        if not link.is_empty:
            self._found.append(link)
            self._previous = link


def _compare_with_label(link: Link) -> None:
    label, target = link.label.rstrip("/"), link.target.rstrip("/")
    bare = _LEFT_OUT.sub("", target, count=1)
    if label == target or (target != link.target and label == link.target):
        link.is_announced = False
    elif _PHONE.match(target):
        link.is_announced = _DIGITS.sub("", label) != _DIGITS.sub("", target.replace("%20", ""))
    elif _LEFT_OUT.sub("", label, count=1).casefold() == bare.casefold() and not link.has_picture:
        link.is_announced = False
        link.is_replaced = not target.startswith("mailto:")


def _compare_with_neighbour(link: Link) -> None:
    before = link.before
    if before is None or before.target != link.target:
        return
    if (link.is_button or before.is_button) and link.label.casefold() == before.label.casefold():
        (link if link.is_button else before).is_dropped = True
    elif before.is_announced:
        before.is_announced = False
    else:
        link.is_announced = False  # the one before shows it as its text
