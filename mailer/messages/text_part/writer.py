"""Lines of plain text as they are written: paragraphs, indentation, and no blank too many."""

from __future__ import annotations

import re
import unicodedata

_MAX_GAP = 3  # line ends: two blank lines
_MAX_INDENT = 24  # columns; what is nested deeper stays there
_SPACES = r" \t\n\r\f\u00a0\u1680\u2000-\u200a\u202f\u205f"
_UNSEEN = r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200d\u2060-\u2064\ufeff"
_BLANKS = re.compile(f"[{_SPACES}{_UNSEEN}]+")
_SEPARATING = re.compile(f"[{_SPACES}]")
_LINE_END = re.compile(r"\r\n?|\n")
_INVISIBLE = re.compile("[\u00ad\u034f\u200b\u2060\ufeff]")
JOINERS = "\u200c\u200d"
"""Invisible, but of meaning inside words of Persian, Hindi and others, and inside emoji."""


def collapsed(text: str) -> str:
    """Make each run of blanks one blank, and drop the invisible characters that mails are stuffed with."""
    return _BLANKS.sub(_blank, text)


def _blank(run: re.Match[str]) -> str:
    if _SEPARATING.search(run[0]):
        return " "
    return run[0] if run[0] in JOINERS else ""


class TextWriter:
    """Takes text piece by piece and makes lines of it, with the blanks, indentation and blank lines that are due."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._line: list[str] = []
        self._gap = 0
        self._is_blank_due = False
        self._is_closed = False  # whether the line ends with something that a word must not be joined to
        self._lead = ""  # what each line begins with: indentation, marks of quotations
        self._first: str | None = None  # what the next line begins with, where that differs
        self._last_lead = ""
        self._left: list[tuple[str, str | None, int]] = []

    def lines(self) -> list[str]:
        """End the last line and give all of them."""
        self._flush()
        return self._lines

    def text(self, text: str, spaces: str = "") -> None:
        """Write text. `spaces`: "" makes runs of blanks one, "lines" keeps line ends, "pre" keeps both."""
        if not spaces:
            self._flow(collapsed(text))
            return
        first, *rest = _LINE_END.split(text)
        self._kept(first, spaces)
        for line in rest:
            self.line_end()
            self._kept(line, spaces)

    def apart(self, text: str) -> None:
        """Write text with a blank between it and the words before and after it."""
        self._is_blank_due = True
        self._flow(text)
        self._is_closed = True

    def blank(self) -> None:
        """Put a blank before the next text."""
        self._is_blank_due = True

    def line_end(self) -> None:
        """End this line; an empty one becomes a blank line."""
        if self._line:
            self._flush()
            self._gap = 1
        else:
            self._gap = min(_MAX_GAP, self._gap + 1)

    def block(self, gap: int) -> None:
        """Begin on another line. `gap` is the least number of line ends before it: 1, or 2 for a blank line."""
        self._flush()
        self._gap = max(self._gap, gap)

    def written(self, lines: list[str]) -> None:
        """Write finished lines."""
        for line in lines:
            self._kept(line, "pre")
            self._flush()
            self._gap = 1

    def count(self) -> int:
        """The number of finished lines."""
        return len(self._lines)

    def attach(self, text: str, since: int) -> None:
        """Write `text` behind the last word, even on a finished line, if that is line `since` or a later one."""
        if self._line or len(self._lines) <= since:
            self.apart(text)
        else:
            self._lines[-1] = f"{self._lines[-1]} {text}".lstrip()

    def indent(self, first: str, rest: str) -> None:
        """Put `first` before the next line and `rest` before those that follow, until `outdent`."""
        self._flush()
        self._left.append((self._lead, self._first, len(self._lines)))
        if len(self._lead) + len(rest) <= _MAX_INDENT:
            self._first = (self._lead if self._first is None else self._first) + first
            self._lead += rest

    def outdent(self) -> None:
        """End what `indent` began."""
        self._flush()
        self._lead, first, count = self._left.pop()
        self._first = first if count == len(self._lines) else None

    def _flow(self, text: str) -> None:
        words = text.strip(" ")
        if not words:
            self._is_blank_due = self._is_blank_due or text != ""
            return
        if self._line and (self._is_blank_due or text[0] == " " or (self._is_closed and _begins_word(words))):
            self._line.append(" ")
        self._line.append(words)
        self._is_blank_due, self._is_closed = text[-1] == " ", False

    def _kept(self, text: str, spaces: str) -> None:
        text = _INVISIBLE.sub("", text).replace("\u00a0", " ")
        if spaces == "lines":
            self._flow(collapsed(text))
        elif text:
            if self._line and self._is_blank_due:
                self._line.append(" ")
            self._line.append(text)
            self._is_blank_due = self._is_closed = False

    def _flush(self) -> None:
        line = "".join(self._line)
        self._line.clear()
        self._is_blank_due = self._is_closed = False
        if not line.strip():
            return
        if self._lines and self._gap > 1:
            between = _shared(self._last_lead, self._lead)
            self._lines += [between] * (self._gap - 1)
        self._lines.append(((self._lead if self._first is None else self._first) + line).rstrip())
        self._last_lead, self._first, self._gap = self._lead, None, 0


def _begins_word(text: str) -> bool:
    return text[0].isalnum() or unicodedata.category(text[0]) == "Co"  # a private-use mark stands for a placeholder


def _shared(one: str, other: str) -> str:
    """The common beginning of both, such as the marks of a quotation that goes on."""
    length = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return one[:length].rstrip()
