"""What an SMTP reply means, and whom a refusal is about: one table, read from above; the first row that holds decides.

Codes come first (RFC 3463 and IANA's registry, what providers document), and words only where senders are known to lie
in the code or say nothing in it. Who is named here by mistake would be suppressed, so what is not plain is `message`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

from transports.base import About
from transports.smtp import wording as said
from transports.smtp.replies import Phase, Reply, Verdict

ALL = frozenset(Phase)
MAIL = frozenset({Phase.MAIL})
RCPT = frozenset({Phase.RCPT})
END = frozenset({Phase.DATA, Phase.END})
AFTER_MAIL = ALL - MAIL
VAGUE = r"|[0-7]\.0|0\.\d+|[3457]\.\d+|1\.0"  # codes that do not say who
UNPLAIN = r"(?!1\.(?:[12346]|10)$).*"
NEVER = re.compile(r"(?!)")


@dataclass(frozen=True, slots=True)
class Rule:
    """Holds for a reply to one of `phases` with such a code, such a subject and detail, and such words in it.

    `detail` is what follows the class in the enhanced code, `1.1` of 5.1.1, and empty when there is none.
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
        object.__setattr__(self, "_words", said.phrase(self.words) if self.words else re.compile(""))
        object.__setattr__(self, "_unless", said.phrase(self.unless) if self.unless else NEVER)

    def holds(self, phase: Phase, code: str, detail: str, text: str) -> bool:
        """Whether this row is about such a reply."""
        return (
            phase in self.phases
            and self._code.fullmatch(code) is not None
            and self._detail.fullmatch(detail) is not None
            and self._words.search(text) is not None
            and self._unless.search(text) is None
        )


A, B, M, S, R, T = About.ADDRESS, About.MAILBOX, About.MESSAGE, About.SENDER, About.RATE, About.TRANSPORT
RFC5321, RFC3463 = "RFC 5321 4.2.3", "RFC 3463"
EXCHANGE, GMAIL = "Exchange Online NDR codes", "Gmail SMTP errors and codes"

RULES = (
    # the dialogue itself
    Rule(R, "RFC 5321 3.8: the service is closing", code="421"),
    Rule(T, RFC5321 + ": not implemented, bad sequence", code="50[23]"),
    Rule(T, "RFC 4954 6, RFC 3207 4: log in first, encrypt first", code="53[0458]"),
    # codes that say it plainly, whatever the words
    Rule(S, RFC3463 + " X.1.7, X.1.8: the sender's mailbox, the sender's system", detail=r"1\.[78]"),
    Rule(S, "RFC 7372, RFC 7505: DKIM, SPF, reverse DNS, null MX of the sender", detail=r"7\.2[0-7]"),
    Rule(S, GMAIL + ": 4.7.30 DKIM, 4.7.32 DMARC alignment", detail=r"7\.3[02]"),
    Rule(S, EXCHANGE + ": banned sender, DMARC, authentication level", detail=r"7\.(50[1239]|515|750)"),
    Rule(S, EXCHANGE + ": SendAsDenied, invalid licence", detail=r"7\.60|2\.25[23]"),
    Rule(R, RFC3463 + " X.4.5, X.5.3: congestion, too many recipients; Gmail's quotas", detail=r"4\.5|5\.3"),
    Rule(R, "RFC 8617's registry X.7.28: mail flood; Gmail's rate limit", detail=r"7\.28"),
    Rule(R, EXCHANGE + ": limits a day of mailbox and tenant, thresholds", detail=r"1\.90|7\.(23[236]|508|705)"),
    Rule(R, EXCHANGE + ": server busy, rate limited by reputation", code="4..", detail=r"7\.(500|65\d)"),
    Rule(T, EXCHANGE + ": this address or connector is not let in", detail=r"7\.(57|64|506|511|6[0-4]\d|708|711)"),
    Rule(B, EXCHANGE + ": what one recipient takes an hour", detail=r"2\.12[12]"),
    Rule(A, EXCHANGE + ": the recipient is not valid or not to be written to", detail=r"7\.50[45]"),
    Rule(A, EXCHANGE + ": directory-based edge blocking", RCPT, detail=r"4\.1", words="access denied"),
    Rule(M, EXCHANGE + ": the recipient takes mail of some only", detail=r"7\.(12\d?|13\d|507|513)"),
    Rule(M, RFC3463 + " X.2.3, X.3.4, X.6: size and form", detail=r"2\.3|3\.4|6\.\d+"),
    # words that are believed against the code
    Rule(
        B, "Gmail, Yahoo, Yandex: 4.2.1, 5.2.1, 450 for too fast to one user", AFTER_MAIL, words=said.ARRIVES_TOO_FAST
    ),
    Rule(R, "relays' limits under 450, 452, 550 5.7.0, 552, 554 5.7.1", words=said.TOO_MUCH, unless=said.NOT_TOO_MUCH),
    Rule(R, "Postfix and policy services", code="4..", words="too many", unless=said.NOT_TOO_MUCH),
    Rule(R, "Exchange Online 4.3.2: sender thread limit", code="4..", words="sender thread limit"),
    Rule(
        B, "Orange, Comcast: a full mailbox under X.1.1", AFTER_MAIL, detail=r"1\.\d+", words=said.FULL_AGAINST_THE_CODE
    ),
    Rule(
        S,
        "Postfix, Exim, SES, Exchange: the sender under 550, 553, 554, X.1.0, X.7.1",
        detail=UNPLAIN,
        words=said.SENDER,
    ),
    Rule(T, "Postfix, Spamhaus and the like", detail=VAGUE, words=said.HOST, unless=said.BY_RECIPIENT),
    # MAIL: there is no recipient yet
    Rule(R, "relays' quotas under 552", MAIL, words=r"quotas?|limits? (?:\w+ ){0,2}exceeded", unless=said.TOO_BIG),
    Rule(M, "RFC 1870 6.1: the declared size", MAIL, "552", ""),
    Rule(R, RFC3463 + " X.2.2, where it can be nobody's mailbox but the sender's", MAIL, detail=r"2\.2"),
    Rule(T, RFC5321 + ": local error, storage, parameters", MAIL, "45[125]|504|555", r"|[34]\.\d+", unless="sender"),
    Rule(T, RFC3463 + " X.3, X.4, X.5.1: the system, the network, the dialogue", MAIL, detail=r"[34]\.\d+|5\.1"),
    Rule(R, RFC3463 + " 4.7.0: their throttle", MAIL, "4..", r"7\.0"),
    Rule(S, "RFC 5321 3.3: what else refuses MAIL refuses the sender", MAIL),
    # codes about the recipient and the message
    Rule(A, RFC3463 + " X.1.1 to X.1.4, X.1.6; RFC 7505 X.1.10", AFTER_MAIL, detail=r"1\.([12346]|10|351)"),
    Rule(A, RFC3463 + " X.2.1: disabled", AFTER_MAIL, "5..", r"2\.1"),
    Rule(A, RFC3463 + " X.4.4: the address leads nowhere", AFTER_MAIL, detail=r"4\.(4|310)"),
    Rule(B, RFC3463 + " X.2.2: full; what else a mailbox has", AFTER_MAIL, detail=r"2\.[1-9]\d*"),
    # words where the code does not say who
    Rule(R, "throttling in one word", detail=VAGUE, words=said.TOO_MUCH_LOOSELY, unless=said.NOT_TOO_MUCH),
    Rule(S, "DMARC, SPF, DKIM, reverse DNS under X.7.1, X.2.0 or nothing", detail=VAGUE, words=said.SENDER_LOOSELY),
    Rule(
        S,
        "qmail, Exim, cPanel: the envelope's sender under 550 and 553",
        RCPT,
        detail=VAGUE,
        words=said.SENDER_AT_RCPT,
        unless=said.BY_RECIPIENT,
    ),
    Rule(S, "SES: the account is paused, once the recipient was taken", END, detail=VAGUE, words=said.ACCOUNT_STOPPED),
    Rule(B, "full, without saying X.2.2", AFTER_MAIL, detail=VAGUE, words=said.FULL),
    Rule(T, "RFC 5321 4.2.3: 452 is the server's storage", AFTER_MAIL, "452", "", unless=said.MAILBOX),
    Rule(M, "RFC 6647: greylisting; policy on one recipient", AFTER_MAIL, "4..", r"7\.1"),
    Rule(R, RFC3463 + " 4.7: their throttle", AFTER_MAIL, "4..", r"7\.\d+"),
    Rule(T, RFC3463 + " 4.3: their system", AFTER_MAIL, "4..", r"3\.\d+"),
    Rule(B, RFC5321 + ": 450, mailbox unavailable", RCPT, "45[02]", "", words=said.MAILBOX),
    Rule(B, RFC3463 + " X.2.0 before the message was seen", RCPT, detail=r"2\.0"),
    Rule(M, "too big, without saying so in a code", AFTER_MAIL, "5..", VAGUE, words=said.TOO_BIG),
    Rule(A, "nobody there, without saying X.1.1", AFTER_MAIL, "5..", VAGUE, words=said.NOBODY),
    Rule(M, "policy, relaying, content", AFTER_MAIL, "5..", VAGUE, words=said.POLICY),
    Rule(
        M, "of whoever asks, of itself, of the mail: a bare 550 says it of all", RCPT, "55.", "", words=said.NO_MAILBOX
    ),
    Rule(A, RFC3463 + " X.1.0 to RCPT: its address", RCPT, "5..", r"1\.0"),
    Rule(A, RFC5321 + ": no such mailbox, not local, name not allowed", RCPT, "55[013]", ""),
    Rule(B, RFC5321 + ": 552, storage allocation, before the message was seen", RCPT, "552", ""),
    Rule(M, "neither code nor wording tells"),
)


def judge(phase: Phase, reply: Reply) -> tuple[Verdict, About]:
    """What `reply`, given to the command `phase`, means for the message in hand, and whom it is about if it is a no."""
    if reply.code == 354 if phase is Phase.DATA else 200 <= reply.code < 300:
        return Verdict.ACCEPTED, About.MESSAGE
    if reply.code < 400:
        return Verdict.OUT_OF_STEP, About.TRANSPORT
    about = blame(phase, reply)
    if about in (About.RATE, About.TRANSPORT):
        return Verdict.UNAVAILABLE, about
    return (Verdict.DEFERRED if reply.code < 500 else Verdict.REFUSED), about


def blame(phase: Phase, reply: Reply) -> About:
    """Whom `reply`, a refusal or deferral of the command `phase`, is about. Every such reply has a row."""
    text = said.spoken(reply.text)
    found = said.DETAIL.search(text)
    return _look_up(phase, str(reply.code), found[1] if found else "", text)


@lru_cache(maxsize=512)  # without names the same words come again and again
def _look_up(phase: Phase, code: str, detail: str, text: str) -> About:
    return next(rule.about for rule in RULES if rule.holds(phase, code, detail, text))


def blame_on_record(reply: str) -> About:
    """The same of a reply that was kept as text, `550 5.1.1 no such user`; the command is taken to be RCPT.

    What is no SMTP reply, such as our own `not sent: …`, is about the message.
    """
    code, _, text = reply.partition(" ")
    if not re.fullmatch(r"[45]\d\d", code, re.ASCII):
        return About.MESSAGE
    return blame(Phase.RCPT, Reply(int(code), (text,)))
