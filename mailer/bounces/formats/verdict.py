"""Whom a bounce is about, and whether for good: by the table that judges refusals in SMTP, and a few rows before it.

The rows here are for what only a report says: a mail system's own words, without a reply of another host. A report is
written after days of trying, so it may have a permanent code for what was a soft failure each time. Whatever says that
it was one is believed: a bounce that counts by mistake would have an address suppressed.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from mailer.bounces.formats.phrases import EXPIRED, compile_rows
from mailer.text import one_line
from transports.answers.blame import VAGUE, Rule, blame
from transports.answers.replies import Phase, Reply
from transports.answers.wording import DETAIL, own_words
from transports.base import About

MAX_REPLY = 500  # characters of a reply that are kept

NO_DETAIL = VAGUE + r"|1\.[12]|4\.[34]"  # a code of the sender's system, X.1.8, is not about the recipient's

RULES = (
    Rule(
        About.ADDRESS,
        "RFC 7505, RFC 7504: the domain takes no mail",
        words=r"no smtp service|null mx|does not accept mail(?! from)",
        detail=NO_DETAIL,
    ),
    Rule(
        About.ADDRESS,
        "qmail, Sendmail, Exim, Courier, DragonFly: no such domain",
        words=r"any host named|no such domain|host (?:unknown|not found)|unknown host|host \S+ not found"
        r"|unrouteable (?:mail )?(?:domain|address)|mx records point to non-existent"
        r"|domain (?:name )?(?:does not|doesn't) exist",
        unless=r"try again|temporar\w+",
        detail=NO_DETAIL,
    ),
    Rule(
        About.ADDRESS,
        "Exchange, Mimecast, IMail, Notes: nobody has the name",
        words=r"recipient name is not recognized|recipfournotfound|resolver\.adr\.\S+|recip(?:ient)?notfound"
        r"|address is possibly incorrect|invalid final delivery userid|no valid recipients?"
        r"|not listed in (?:\S+ ){0,4}(?:directory|address book)",
        unless=r"resolver\.adr\.(?:ambiguous|recipsizelimit|exrecipsizelimit)\S*",
        detail=NO_DETAIL,
    ),
    Rule(
        About.ADDRESS,
        "Gmail: nobody has it, or there is no such domain",
        words=r"(?:address|domain \S+) couldn't be found",
        detail=NO_DETAIL,
    ),
    Rule(
        About.MAILBOX,
        "KDDI, vpopmail, Exim: it is full",
        words=r"mailbox is full|exceeded (?:\w+ )?quota|quota exceeded",
        detail=NO_DETAIL,
    ),
)
"""Tried in this order before the table; `code` and `detail` hold as they do there."""

_EXPIRED = compile_rows(EXPIRED)
_CODE = r"(?:421|4[2-7]\d|5[0-7]\d)"
_REPLY = re.compile(
    rf"(?<![\w.:/#=-])({_CODE})(?: {_CODE})?(?:(?:[ -]+|: ?)(?=[245]\.\d|[A-Za-z<\"'\[({{:#]|\S+@)|(?=\s*$))"
)
_ENHANCED = re.compile(r"(?<![\w.])([45]\.\d{1,3}\.\d{1,3})(?![\w]|\.\d)", re.ASCII)
_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}", re.ASCII)
_MORE_LINES = re.compile(rf"\s{_CODE}-(?:[245]\.\d{{1,3}}\.\d{{1,3}}\b)?")
_DERIVED = re.compile(r"[45]\.(?:0\.0|1\.[136]|5\.0|3\.0)")  # what MTAs write where the reply has no code of its own
_TO_MAIL = re.compile(
    r"(?:after|reply to|response to|following|>>>) (?:\w+ ){0,2}(?:mail from|ehlo|helo|initial connection)"
    r"|sender was rejected|my name was rejected",
    re.IGNORECASE,
)
_TO_DATA = re.compile(r"end of data|after i sent the message|final data|>>> data\b", re.IGNORECASE)


class Verdict(NamedTuple):
    """What a bounce means: whom it is about, whether for good, its status (RFC 3463), its words in one line."""

    about: About
    permanent: bool
    status: str
    reply: str


def judge(words: str, status: str = "", context: str = "") -> Verdict:
    """Judge a bounce by what it says about a recipient, and the status code that the report gives, if any.

    `words` are another host's reply, or text in which there may be one. `context` is what else is said of it, such as
    the command that it answered.
    """
    paragraphs = [re.sub(r"\s+", " ", each).strip() for each in re.split(r"\n[ \t]*\n", words)]
    text = next((each for each in paragraphs if _REPLY.search(each)), " ".join(paragraphs).strip())
    found = _REPLY.search(text)
    status = status if _STATUS.fullmatch(status) else ""
    own = _ENHANCED.search(text, found.start() if found else 0) or _ENHANCED.search(text)
    status = own[1] if own and (not status or _DERIVED.fullmatch(status)) else status
    reply = (text[found.start() :] if found else text)[:MAX_REPLY]
    code = found[1] if found else {"4": "451"}.get(status[:1], "554")
    soft = status.startswith("4") or code.startswith("4") or _EXPIRED.search(words) is not None
    return Verdict(_about(_phase(text, context), reply, code, status), not soft, status, one_line(reply).strip())


def has_reply(text: str) -> bool:
    """Whether there is a reply of a host, or a status code, in `text`."""
    return (_REPLY.search(text) or _ENHANCED.search(text)) is not None


def _phase(text: str, context: str) -> Phase:
    """The command that the reply answered, as far as the text says; most answer RCPT."""
    if _TO_MAIL.search(f"{text} {' '.join(context.split())}"):
        return Phase.MAIL
    return Phase.END if _TO_DATA.search(text) else Phase.RCPT


def _about(phase: Phase, reply: str, code: str, status: str) -> About:
    said = _MORE_LINES.sub(" ", reply.removeprefix(code).lstrip(" -:"))
    if status and not _detail(said) and not (reply.startswith(code) and _DERIVED.fullmatch(status) and _speaks(said)):
        said = f"{status} {said}"
    words, detail = own_words(said), _detail(said)
    for rule in RULES:
        if rule.matches(phase, code, detail, words):
            return rule.about
    return blame(phase, Reply(int(code), (said,)))


def _detail(said: str) -> str:
    found = DETAIL.search(own_words(said))
    return found[1] if found else ""


def _speaks(said: str) -> bool:
    """Whether a host's reply says anything but its code: then a status that is derived from the code tells no more."""
    return re.search(r"[a-z]{3}", own_words(said), re.IGNORECASE) is not None
