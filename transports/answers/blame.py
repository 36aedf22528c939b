"""What an SMTP reply means, and whom a refusal is about: one table, of which the first row that matches decides.

Codes come first (RFC 3463, IANA's registry and what providers document). Wording counts only where servers are known to
send a wrong code, or one that says nothing. A reply that is about the address by mistake would have it suppressed, so
whatever is not plain is about the message.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

from transports.answers import wording
from transports.answers.replies import Phase, Reply, Verdict
from transports.base import About

ALL = frozenset(Phase)
MAIL = frozenset({Phase.MAIL})
RCPT = frozenset({Phase.RCPT})
END = frozenset({Phase.DATA, Phase.END})
AFTER_MAIL = ALL - MAIL
VAGUE = r"|[0-7]\.0|0\.\d+|[3457]\.\d+|1\.0"  # details that do not tell whom the reply is about
NOT_AN_ADDRESS = r"(?!1\.(?:[12346]|10)$).*"  # details that do not plainly name the recipient's address
NEVER = re.compile(r"(?!)")


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of the table: it matches replies to one of `phases` by their code, enhanced code and wording.

    `code` and `detail` are regular expressions that match whole; `detail` is what follows the class in the enhanced
    status code, `1.1` of 5.1.1, and empty when there is none. `words` must occur in the text, `unless` must not.
    """

    about: About
    source: str
    phases: frozenset[Phase] = ALL
    code: str = "[45].."
    detail: str = ".*"
    words: str = ""
    unless: str = ""
    _code: re.Pattern[str] = field(init=False, repr=False)
    _detail: re.Pattern[str] = field(init=False, repr=False)
    _words: re.Pattern[str] = field(init=False, repr=False)
    _unless: re.Pattern[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_code", re.compile(self.code))
        object.__setattr__(self, "_detail", re.compile(self.detail))
        object.__setattr__(self, "_words", wording.compile_phrase(self.words) if self.words else re.compile(""))
        object.__setattr__(self, "_unless", wording.compile_phrase(self.unless) if self.unless else NEVER)

    def matches(self, phase: Phase, code: str, detail: str, text: str) -> bool:
        """Whether this row decides about such a reply."""
        return (
            phase in self.phases
            and self._code.fullmatch(code) is not None
            and self._detail.fullmatch(detail) is not None
            and self._words.search(text) is not None
            and self._unless.search(text) is None
        )


ADDRESS, MAILBOX, MESSAGE = About.ADDRESS, About.MAILBOX, About.MESSAGE
SENDER, RATE, TRANSPORT = About.SENDER, About.RATE, About.TRANSPORT
RFC5321, RFC3463 = "RFC 5321 4.2.3", "RFC 3463"
EXCHANGE, GMAIL = "Exchange Online NDR codes", "Gmail SMTP errors and codes"

RULES = (
    # the session itself
    Rule(RATE, "RFC 5321 3.8: the service is closing", code="421"),
    Rule(TRANSPORT, RFC5321 + ": not implemented, bad sequence", code="50[23]"),
    Rule(TRANSPORT, "RFC 4954 6, RFC 3207 4: log in first, encrypt first", code="53[0458]"),
    # codes that say it plainly, whatever the wording
    Rule(SENDER, RFC3463 + " X.1.7, X.1.8: the sender's mailbox, the sender's system", detail=r"1\.[78]"),
    Rule(SENDER, "RFC 7372, RFC 7505: DKIM, SPF, reverse DNS, null MX of the sender", detail=r"7\.2[0-7]"),
    Rule(SENDER, GMAIL + ": 4.7.30 DKIM, 4.7.32 DMARC alignment", detail=r"7\.3[02]"),
    Rule(SENDER, EXCHANGE + ": banned sender, DMARC, authentication level", detail=r"7\.(50[1239]|515|750)"),
    Rule(SENDER, EXCHANGE + ": SendAsDenied, invalid licence", detail=r"7\.60|2\.25[23]"),
    Rule(RATE, RFC3463 + " X.4.5, X.5.3: congestion, too many recipients; Gmail's quotas", detail=r"4\.5|5\.3"),
    Rule(RATE, "RFC 8617's registry X.7.28: mail flood; Gmail's rate limit", detail=r"7\.28"),
    Rule(RATE, EXCHANGE + ": limits a day of mailbox and tenant, thresholds", detail=r"1\.90|7\.(23[236]|508|705)"),
    Rule(RATE, EXCHANGE + ": server busy, rate limited by reputation", code="4..", detail=r"7\.(500|65\d)"),
    Rule(
        TRANSPORT, EXCHANGE + ": this address or connector is not let in", detail=r"7\.(57|64|506|511|6[0-4]\d|708|711)"
    ),
    Rule(MAILBOX, EXCHANGE + ": what one recipient takes an hour", detail=r"2\.12[12]"),
    Rule(ADDRESS, EXCHANGE + ": the recipient is not valid or not to be written to", detail=r"7\.50[45]"),
    Rule(ADDRESS, EXCHANGE + ": directory-based edge blocking", RCPT, detail=r"4\.1", words="access denied"),
    Rule(MESSAGE, EXCHANGE + ": the recipient takes mail of some only", detail=r"7\.(12\d?|13\d|507|513)"),
    Rule(MESSAGE, RFC3463 + " X.2.3, X.3.4, X.6: size and form", detail=r"2\.3|3\.4|6\.\d+"),
    # wording that is believed against the code
    Rule(
        MAILBOX,
        "Gmail, Yahoo, Yandex: 4.2.1, 5.2.1, 450 for too fast to one user",
        AFTER_MAIL,
        words=wording.ARRIVES_TOO_FAST,
    ),
    Rule(
        RATE,
        "relays' limits under 450, 452, 550 5.7.0, 552, 554 5.7.1",
        words=wording.TOO_MUCH,
        unless=wording.NOT_TOO_MUCH,
    ),
    Rule(RATE, "Postfix and policy services", code="4..", words="too many", unless=wording.NOT_TOO_MUCH),
    Rule(RATE, "Exchange Online 4.3.2: sender thread limit", code="4..", words="sender thread limit"),
    Rule(
        MAILBOX,
        "Orange, Comcast: a full mailbox under X.1.1",
        AFTER_MAIL,
        detail=r"1\.\d+",
        words=wording.FULL_AGAINST_THE_CODE,
    ),
    Rule(
        SENDER,
        "Postfix, Exim, SES, Exchange: the sender under 550, 553, 554, X.1.0, X.7.1",
        detail=NOT_AN_ADDRESS,
        words=wording.SENDER,
    ),
    Rule(TRANSPORT, "Postfix, Spamhaus and the like", detail=VAGUE, words=wording.HOST, unless=wording.BY_RECIPIENT),
    # MAIL: there is no recipient yet
    Rule(
        RATE, "relays' quotas under 552", MAIL, words=r"quotas?|limits? (?:\w+ ){0,2}exceeded", unless=wording.TOO_BIG
    ),
    Rule(MESSAGE, "RFC 1870 6.1: the declared size", MAIL, "552", ""),
    Rule(RATE, RFC3463 + " X.2.2, where it can be nobody's mailbox but the sender's", MAIL, detail=r"2\.2"),
    Rule(
        TRANSPORT,
        RFC5321 + ": local error, storage, parameters",
        MAIL,
        "45[125]|504|555",
        r"|[34]\.\d+",
        unless="sender",
    ),
    Rule(
        TRANSPORT, RFC3463 + " X.3, X.4, X.5.1: the system, the network, the dialogue", MAIL, detail=r"[34]\.\d+|5\.1"
    ),
    Rule(RATE, RFC3463 + " 4.7.0: their throttle", MAIL, "4..", r"7\.0"),
    Rule(SENDER, "RFC 5321 3.3: what else refuses MAIL refuses the sender", MAIL),
    # codes about the recipient and the message
    Rule(ADDRESS, RFC3463 + " X.1.1 to X.1.4, X.1.6; RFC 7505 X.1.10", AFTER_MAIL, detail=r"1\.([12346]|10|351)"),
    Rule(ADDRESS, RFC3463 + " X.2.1: disabled", AFTER_MAIL, "5..", r"2\.1"),
    Rule(ADDRESS, RFC3463 + " X.4.4: the address leads nowhere", AFTER_MAIL, detail=r"4\.(4|310)"),
    Rule(MAILBOX, RFC3463 + " X.2.2: full; what else a mailbox has", AFTER_MAIL, detail=r"2\.[1-9]\d*"),
    # wording, where the code does not tell
    Rule(RATE, "throttling in one word", detail=VAGUE, words=wording.TOO_MUCH_LOOSELY, unless=wording.NOT_TOO_MUCH),
    Rule(
        SENDER,
        "DMARC, SPF, DKIM, reverse DNS under X.7.1, X.2.0 or nothing",
        detail=VAGUE,
        words=wording.SENDER_LOOSELY,
    ),
    Rule(
        SENDER,
        "qmail, Exim, cPanel: the envelope's sender under 550 and 553",
        RCPT,
        detail=VAGUE,
        words=wording.SENDER_AT_RCPT,
        unless=wording.BY_RECIPIENT,
    ),
    Rule(
        SENDER,
        "SES: the account is paused, once the recipient was taken",
        END,
        detail=VAGUE,
        words=wording.ACCOUNT_STOPPED,
    ),
    Rule(MAILBOX, "full, without saying X.2.2", AFTER_MAIL, detail=VAGUE, words=wording.FULL),
    Rule(TRANSPORT, "RFC 5321 4.2.3: 452 is the server's storage", AFTER_MAIL, "452", "", unless=wording.MAILBOX),
    Rule(MESSAGE, "RFC 6647: greylisting; policy on one recipient", AFTER_MAIL, "4..", r"7\.1"),
    Rule(RATE, RFC3463 + " 4.7: their throttle", AFTER_MAIL, "4..", r"7\.\d+"),
    Rule(TRANSPORT, RFC3463 + " 4.3: their system", AFTER_MAIL, "4..", r"3\.\d+"),
    Rule(MAILBOX, RFC5321 + ": 450, mailbox unavailable", RCPT, "45[02]", "", words=wording.MAILBOX),
    Rule(MAILBOX, RFC3463 + " X.2.0 before the message was seen", RCPT, detail=r"2\.0"),
    Rule(MESSAGE, "too big, without saying so in a code", AFTER_MAIL, "5..", VAGUE, words=wording.TOO_BIG),
    Rule(ADDRESS, "nobody there, without saying X.1.1", AFTER_MAIL, "5..", VAGUE, words=wording.NOBODY),
    Rule(MESSAGE, "policy, relaying, content", AFTER_MAIL, "5..", VAGUE, words=wording.POLICY),
    Rule(
        MESSAGE,
        "of whoever asks, of itself, of the mail: a bare 550 says it of all",
        RCPT,
        "55.",
        "",
        words=wording.NO_MAILBOX,
    ),
    Rule(ADDRESS, RFC3463 + " X.1.0 to RCPT: its address", RCPT, "5..", r"1\.0"),
    Rule(ADDRESS, RFC5321 + ": no such mailbox, not local, name not allowed", RCPT, "55[013]", ""),
    Rule(MAILBOX, RFC5321 + ": 552, storage allocation, before the message was seen", RCPT, "552", ""),
    Rule(MESSAGE, "neither code nor wording tells"),
)


def classify_reply(phase: Phase, reply: Reply) -> tuple[Verdict, About]:
    """What `reply` to the command `phase` means for the message, and, if it refuses or defers it, whom it is about."""
    if reply.code == 354 if phase is Phase.DATA else 200 <= reply.code < 300:
        return Verdict.ACCEPTED, About.MESSAGE
    if reply.code < 400:
        return Verdict.OUT_OF_SEQUENCE, About.TRANSPORT
    about = blame(phase, reply)
    if about in (About.RATE, About.TRANSPORT):
        return Verdict.UNAVAILABLE, about
    return (Verdict.DEFERRED if reply.code < 500 else Verdict.REFUSED), about


def blame(phase: Phase, reply: Reply) -> About:
    """Whom `reply`, a refusal or deferral of the command `phase`, is about. Every such reply has a row."""
    text = wording.own_words(reply.text)
    found = wording.DETAIL.search(text)
    return _look_up(phase, str(reply.code), found[1] if found else "", text)


@lru_cache(maxsize=512)  # once addresses are taken out of the text, the same replies come again and again
def _look_up(phase: Phase, code: str, detail: str, text: str) -> About:
    return next(rule.about for rule in RULES if rule.matches(phase, code, detail, text))


def blame_on_record(reply: str) -> About:
    """As `blame`, for a reply that was kept as text, such as `550 5.1.1 no such user`, taken as one to RCPT.

    What is no SMTP reply, such as our own `not sent: …`, is about the message.
    """
    code, _, text = reply.partition(" ")
    if not re.fullmatch(r"[45]\d\d", code, re.ASCII):
        return About.MESSAGE
    return blame(Phase.RCPT, Reply(int(code), (text,)))
