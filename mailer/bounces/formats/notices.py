"""Bounces in free words: what a mail system writes to people, in whatever form and language.

There is no format to recognise a bounce by, so three things have to come together: a sender that is a mail system, a
phrase that says that something was not delivered (`phrases.py`), and an address that the notice or the returned message
names. Only then is it a bounce. A bounce that passes unseen does less harm than a person's mail that is taken for one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Set

from mailer.bounces.formats.fields import ADDRESS, addresses
from mailer.bounces.formats.found import MAX_REPORTS, bounced
from mailer.bounces.formats.mime import Letter
from mailer.bounces.formats.phrases import DELAYS, FAILURES, compile_rows
from mailer.bounces.formats.returned import Returned
from mailer.bounces.formats.verdict import has_reply
from mailer.bounces.report import Report

_FAILURE, _DELAY = compile_rows(FAILURES), compile_rows(DELAYS)
_GENERATED_FROM = re.compile(r"generated from <?([^\s<>()]{1,254})")  # Exim's word for an alias
_CODE = re.compile(r"[45]\d\d ")
_ENTRY = re.compile(r"^[ \t*>]*(?:[45]\d\d )?(?:(?:recipient|to|address|user)s?[ \t]*:)?[ \t]*[<\"']?$", re.IGNORECASE)
_TO = re.compile(r".*(?:\bto|rcpt to|recipient)[ \t]*:?[ \t]*[<\"']?$", re.IGNORECASE)
_QUOTED = re.compile(r"(?:^[ \t]*(?:To|Cc|From|Subject|Sent|Date)[ \t]*:.*\n){2,}", re.IGNORECASE | re.MULTILINE)
_MAX_PASSAGE = 1500


def read_notice(
    letter: Letter, notice: str, returned: Returned, own: Collection[str], *, guess: bool = False
) -> list[Report] | None:
    """A report for each recipient that the notice names; None: it does not say that something was not delivered.

    `own` are the addresses that the mail is from and to: they are not whom it is about, unless the message was sent to
    them too. With `guess` it is about whom the returned message was to, or else about the only address in the text.
    """
    subject = letter.fields.get("Subject")
    failed = letter.fields.addresses("X-Failed-Recipients")
    if not (failed or _FAILURE.search(notice) or _FAILURE.search(subject) or _DELAY.search(subject)):
        return None
    failed = failed or _named(notice, returned, own)
    if guess and not failed:
        failed = returned.recipients[:1] or [each for each in addresses(notice) if each not in own][:1]
    delayed = (_DELAY.search(notice) or _DELAY.search(subject)) is not None
    return [
        bounced(_original(notice, each), _words(notice, each, alone=len(failed) == 1) or subject, delayed=delayed)
        for each in failed[:MAX_REPORTS]
    ]


def passage_about(notice: str, address: str | None) -> str:
    """What the notice says of `address`: the text behind it, up to the next address that begins a line.

    In a transcript of Sendmail it is the one line, from the code at its start. Where nothing comes behind the address,
    it is what comes before.
    """
    places = [found.start() for found in re.finditer(re.escape(address), notice, re.IGNORECASE)][:10] if address else []
    if not places:
        return notice[: _MAX_PASSAGE * 2].strip()
    for line in (notice.rfind("\n", 0, each) + 1 for each in places):
        if _CODE.match(notice, line):
            return notice[line:].partition("\n")[0]
    where = places[0]
    start = where + len(address or "")
    behind = notice[start : _next_entry(notice, start, address)].strip(" \t\r\n<>:\"',.")
    return behind or notice[max(0, where - 300) : where].strip(" \t\r\n<").rpartition("\n\n")[2]


def _next_entry(notice: str, start: int, address: str | None) -> int:
    for found in ADDRESS.finditer(notice, start, start + _MAX_PASSAGE):
        before = notice[notice.rfind("\n", 0, found.start()) + 1 : found.start()][-80:]
        if found[0].lower() != (address or "").lower() and _ENTRY.match(before):
            return found.start()
    return start + _MAX_PASSAGE


def _words(notice: str, address: str, *, alone: bool) -> str:
    """What is said of `address`: behind it, or, where it is alone and nothing comes behind it, anywhere."""
    passage = passage_about(notice, address)
    if alone and not has_reply(passage) and (has_reply(notice) or len(passage) < 4):
        return notice
    return passage


def _named(notice: str, returned: Returned, own: Collection[str]) -> list[str]:
    """The recipients that a notice is about. Those in the header that it may quote come last."""
    sent_to = {each.lower() for each in returned.recipients}
    not_them = {each.lower() for each in (*own, *returned.senders)} - sent_to
    for text, wrong in ((_QUOTED.sub("", notice), not_them), (notice, not_them), (notice, set())):
        found = _listed(text, sent_to, wrong)
        if found:
            return found
    return []


def _listed(text: str, sent_to: Set[str], wrong: Set[str]) -> list[str]:
    """Who begins a line if one of them got the message, else whom the message was to, else who stands behind a `to`."""
    once = {each.lower(): each for each in reversed(addresses(text)[: MAX_REPORTS * 2])}
    named = [each for each in reversed(once.values()) if each.lower() not in wrong]
    begun = [each for each in named if _stands_behind(_ENTRY, text, each)]
    known = [each for each in named if each.lower() in sent_to]
    if not sent_to.isdisjoint(each.lower() for each in begun):
        return begun
    return known or begun or [each for each in named if _stands_behind(_TO, text, each)]


def _stands_behind(words: re.Pattern[str], notice: str, address: str) -> bool:
    """Whether one of the places of `address` has these words before it, in its line."""
    places = [found.start() for found in re.finditer(re.escape(address), notice)][:10]
    return any(words.match(notice[notice.rfind("\n", 0, each) + 1 : each][-80:]) for each in places)


def _original(notice: str, address: str) -> str:
    """The address that `address` is an alias's target of, where the notice says so: it is the one that we wrote to."""
    found = _GENERATED_FROM.search(passage_about(notice, address)[:300])
    return found[1] if found and ADDRESS.fullmatch(found[1]) else address
