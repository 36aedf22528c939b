"""Bounces in free words: what a mail system writes to people, in whatever form and language.

There is no format to recognise a bounce by, so three things have to come together: a sender that is a mail system, a
phrase that says that something was not delivered (`phrases.py`), and an address that the notice or the returned message
names. Only then is it a bounce. A bounce that passes unseen does less harm than a person's mail that is taken for one.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from mailer.bounces.formats.fields import ADDRESS, addresses
from mailer.bounces.formats.found import MAX_REPORTS, bounced
from mailer.bounces.formats.mime import Letter
from mailer.bounces.formats.phrases import DELAYS, FAILURES, compile_rows
from mailer.bounces.formats.returned import Returned
from mailer.bounces.formats.verdict import has_reply
from mailer.bounces.report import Report

_FAILURE, _DELAY = compile_rows(FAILURES), compile_rows(DELAYS)
_GENERATED_FROM = re.compile(r"generated from <?([^\s<>()]{1,254})")  # Exim's word for an alias
_ENTRY = re.compile(r"^[ \t*>]*(?:(?:recipient|to|address|user)s?[ \t]*:)?[ \t]*[<\"']?$", re.IGNORECASE)
_TO = re.compile(r".*(?:\bto|rcpt to|recipient)[ \t]*:?[ \t]*[<\"']?$", re.IGNORECASE)
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
    """What the notice says of `address`: the text behind it, up to the next address that begins a line."""
    where = notice.lower().find(address.lower()) if address else -1
    if where < 0:
        return notice[: _MAX_PASSAGE * 2].strip()
    start, end = where + len(address or ""), len(notice)
    for found in ADDRESS.finditer(notice, start, start + _MAX_PASSAGE):
        if found[0].lower() != (address or "").lower() and _ENTRY.match(
            notice[notice.rfind("\n", 0, found.start()) + 1 : found.start()][-80:]
        ):
            end = found.start()
            break
    return notice[start : min(end, start + _MAX_PASSAGE)].strip(" \t\r\n<>:\"'")


def _words(notice: str, address: str, *, alone: bool) -> str:
    """What is said of `address`: behind it, or, where it is alone and nothing comes behind it, anywhere."""
    passage = passage_about(notice, address)
    if alone and not has_reply(passage) and (has_reply(notice) or len(passage) < 4):
        return notice
    return passage


def _named(notice: str, returned: Returned, own: Collection[str]) -> list[str]:
    """The recipients that a notice is about: who stands at the start of a line, or whom the message was to."""
    sent_to = {each.lower() for each in returned.recipients}
    not_them = {each.lower() for each in (*own, *returned.senders)} - sent_to
    everybody = list({each.lower(): each for each in reversed(addresses(notice))}.values())[::-1]
    named = [each for each in everybody if each.lower() not in not_them]
    begun = [each for each in named if _stands_behind(_ENTRY, notice, each)]
    known = [each for each in named if each.lower() in sent_to]
    if known and not sent_to.isdisjoint(each.lower() for each in begun):
        return begun
    to = [each for each in named if _stands_behind(_TO, notice, each)]
    return known or begun or to or [each for each in everybody if _stands_behind(_ENTRY, notice, each)]


def _stands_behind(words: re.Pattern[str], notice: str, address: str) -> bool:
    """Whether one of the places of `address` has these words before it, in its line."""
    places = [found.start() for found in re.finditer(re.escape(address), notice)][:10]
    return any(words.match(notice[notice.rfind("\n", 0, each) + 1 : each][-80:]) for each in places)


def _original(notice: str, address: str) -> str:
    """The address that `address` is an alias's target of, where the notice says so: it is the one that we wrote to."""
    found = _GENERATED_FROM.search(passage_about(notice, address)[:300])
    return found[1] if found and ADDRESS.fullmatch(found[1]) else address
