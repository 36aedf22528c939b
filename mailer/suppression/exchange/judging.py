"""Whether a bounce on a service's list is about the address and for good, by the table that judges refusals. Pure.

Services list everything that came back: also full mailboxes, blocked senders and refused messages. Such an answer
counts against nobody when it comes here by SMTP, so it does not count from a list either.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from mailer.suppression.exchange.entries import Entry, Why
from mailer.suppression.exchange.formats import UNANSWERED, WITHOUT_CODE
from transports.answers.blame import blame
from transports.answers.replies import Phase, Reply
from transports.answers.wording import DETAIL, own_words
from transports.base import About

MAX_EXAMPLE = 120  # characters of an answer that are told

_SMTP = re.compile(r"([45]\d\d)(?:[ -]+|$)", re.ASCII)
_ENHANCED = re.compile(r"([45])\.\d{1,3}\.\d{1,3}", re.ASCII)
_BEFORE = {"605", "607"}  # Mailgun's own: it bounced, or complained, before, so it was not written to


class Sieve:
    """Passes on `entries`, without the bounces of services that are not about the address, or not for good.

    `left_out` counts these, and `example` is what the first of them said, without addresses. With `everything` all
    entries pass.
    """

    def __init__(self, entries: Iterable[Entry], *, everything: bool = False) -> None:
        self._entries, self._everything = entries, everything
        self.left_out = 0
        self.example = ""

    def __iter__(self) -> Iterator[Entry]:
        """The entries that count."""
        for entry in self._entries:
            if self._everything or counts(entry):
                yield entry
                continue
            said = " ".join(own_words(f"{entry.rule} {entry.words}").split())[:MAX_EXAMPLE]
            self.left_out += 1
            self.example = self.example or said


def counts(entry: Entry) -> bool:
    """Whether the entry holds as it stands; only a service's bounces are judged, and only by what they say.

    A bounce without any answer says nothing against the list that it is on, unless such lists always have a code.
    """
    if entry.reason is not Why.BOUNCED or not entry.provider:
        return True
    if entry.provider in UNANSWERED and not _SMTP.match(entry.words):
        return True
    if not entry.rule and not entry.words:
        return entry.provider not in WITHOUT_CODE
    if entry.rule in _BEFORE:
        return True
    return _is_about_the_address(entry.rule, entry.words)


def _is_about_the_address(code: str, words: str) -> bool:
    """By the reply as it came; where `code`, which stands beside it, and the words differ, one that is soft decides."""
    said = _SMTP.match(words)
    text = words[said.end() :] if said else words
    classes = {
        found[1][:1] for found in (_SMTP.match(code), _ENHANCED.match(code), said, _ENHANCED.match(text)) if found
    }
    if "4" in classes:
        return False
    if _ENHANCED.match(code) and not DETAIL.search(own_words(text)):
        text = f"{code} {text}"
    number = said[1] if said else code if _SMTP.match(code) else "554"
    return blame(Phase.RCPT, Reply(int(number), (text,))) is About.ADDRESS
