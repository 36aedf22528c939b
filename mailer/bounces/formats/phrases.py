"""What notices say in words: each row a phrase and who writes it. A new system's wording is a row here, no code.

Phrases are regular expressions, found in any case. A blank in one matches any run of blanks and line ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple


class Phrase(NamedTuple):
    """A row: a regular expression, and the systems or languages that say so."""

    pattern: str
    source: str


def compile_rows(rows: Iterable[Phrase]) -> re.Pattern[str]:
    """One expression that finds any of the rows."""
    alternatives = (_BLANK_OR_CLASS.sub(_blanks, row.pattern) for row in rows)
    return re.compile("|".join(f"(?:{each})" for each in alternatives), re.IGNORECASE | re.MULTILINE)


_BLANK_OR_CLASS = re.compile(r"\[[^\]]*\]| ")


def _blanks(found: re.Match[str]) -> str:
    return r"(?:[\s>]{1,10})" if found[0] == " " else found[0]


_NOT = r"(?:not|n't|never|cannot)"
_SENT = r"(?:deliver(?:ed)?|sent|send|relay(?:ed)?|transmitted|processed|routed)"

# It was not delivered. Only beside a sender that is a mail system's: a person may say so too.
FAILURES = (
    Phrase(
        rf"(?:could|can|was|were|has|have|had|is|be) ?{_NOT} (?:\w+ ){{0,2}}(?:be )?{_SENT}",
        "Exim, Exchange, Gmail, many",
    ),
    Phrase(
        r"(?:unable|failed|inability|not able|n't able|failure|impossible) to (?:deliver|send|relay)", "qmail, many"
    ),
    Phrase(r"(?:error|trouble|problems?|difficulty) (?:\w+ )?(?:delivering|sending)", "DragonFly, MDaemon, others"),
    Phrase(
        r"(?:delivery|sending) (?:\w+ ){0,6}(?:failed|\(?failure|has been suspended|error)", "Gmail, Exchange, many"
    ),
    Phrase(r"(?:error|problem) (?:has )?occurred (?:\w+ ){0,3}(?:to deliver|delivering)", "OpenSMTPD, Amazon"),
    Phrase(r"(?:message|e-?mail) not (?:delivered|sent)", "Google Workspace"),
    Phrase(
        r"(?:unknown|invalid|no such) (?:user|recipient|mailbox)|(?:user|recipient|mailbox) unknown", "Verizon, many"
    ),
    Phrase(r"undeliver(?:able|ed)|nondeliverable|non-delivery|non delivery", "Postfix, Exchange, IMail, many"),
    Phrase(r"(?:failure|failed|error) (?:notice|notification|message|report|recipient)s?", "qmail and others"),
    Phrase(r"returned mail|returning (?:your )?(?:message|mail)|mail (?:was )?returned|returned to sender", "Sendmail"),
    Phrase(
        r"did not re(?:ach|ceive) (?:the following|a copy|your|this)|failure reasons|mail system error",
        "Exchange, Notes, KDDI",
    ),
    Phrase(r"failed (?:addresses|recipients?)", "Smail, MDaemon"),
    Phrase(
        r"(?:address(?:es)?|recipients?) (?:\w+ ){0,5}(?:failed|had (?:\w+ ){0,3}errors)",
        "Sendmail, Exim, many",
    ),
    Phrase(r"rejected (?:the )?recipient|recipients? (?:was|were) rejected", "CommuniGate, Sun, others"),
    Phrase(r"mail (?:delivery )?failed|mail failure|message rejected|rejected mail", "many"),
    Phrase(
        r"(?:送信|配信|配送|配達|送達|お届け)(?:に失敗|でき|されません)|届けられません|宛先不明|エラーのため",
        "Japanese",
    ),
    Phrase(r"konnte nicht (?:\w+ )?(?:zugestellt|gesendet|übermittelt|ausgeliefert)|unzustellbar", "German"),
    Phrase(r"nicht zugestellt|zustellung (?:\w+ ){0,4}fehlgeschlagen", "German"),
    Phrase(
        r"(?:pas|pu) (?:pu )?(?:être )?(?:remis|délivré|distribué|livré)|non remis|échec de (?:la )?remise", "French"
    ),
    Phrase(r"no se (?:ha |pudo |puede )?(?:podido )?entreg|no entregado|error de entrega", "Spanish"),
    Phrase(r"não (?:pôde|foi|pode) (?:possível )?(?:ser )?entreg|falha na entrega", "Portuguese"),
    Phrase(r"impossibile (?:recapitare|consegnare)|mancat[oa] (?:recapito|consegna)|non recapitabile", "Italian"),
    Phrase(r"onbestelbaar|niet (?:worden )?(?:bezorgd|afgeleverd)|kan niet worden", "Dutch"),
    Phrase(r"не может быть доставлено|не доставлено|недоставлен|невозможно доставить", "Russian"),
    Phrase(r"не вдалося доставити|не доставлено", "Ukrainian"),
    Phrase(r"nie (?:mo[żz]e|mog[łl]a|zosta[łl]a) (?:\w+ )?dostarczon|niedostarczon", "Polish"),
    Phrase(r"退信|无法投递|無法投遞|无法送达|無法傳送|未能送达|投递失败|发送失败", "Chinese"),
    Phrase(r"kunde inte levereras|kunne ikke leveres|ei voitu toimittaa", "Swedish, Danish, Norwegian, Finnish"),
)

# It is still being tried.
DELAYS = (
    Phrase(
        r"will be (?:retried|re-?attempted)|will (?:continue|keep) (?:\w+ ){0,3}(?:try|attempt|retry)", "Postfix, Exim"
    ),
    Phrase(
        r"(?:still|being) (?:being )?(?:retried|trying|queued)|warning only|warning\W{1,3}could not",
        "Postfix, Sendmail",
    ),
    Phrase(
        r"(?:delivery|message|mail) (?:\S+ ){0,3}(?:is |was |has been )?delayed|delayed (?:mail|delivery)",
        "many",
    ),
    Phrase(r"delivery attempts will continue", "Exim"),
    Phrase(r"(?:delivery|status) (?:\w+ )?\(?delay\)?|do not need to (?:resend|re-send)", "Gmail, Exchange, Sendmail"),
)

# It gave up for now: so it is no word about the address.
EXPIRED = (
    Phrase(
        r"retry time(?:out)? (?:not reached|exceeded)|(?:in the )?queue (?:for )?too long|too long in (?:the )?queue",
        "Exim, qmail",
    ),
    Phrase(
        r"(?:message|queue|delivery)[ .](?:\w+ )?expired|envelope expired",
        "Exchange, OpenSMTPD",
    ),
    Phrase(r"all hosts (?:\w+ )?(?:have been|were) failing", "Exim"),
    Phrase(
        r"connection (?:timed out|refused|reset|failed|dropped)|operation timed out|timed out while",
        "Postfix, Sendmail",
    ),
    Phrase(
        r"no route to host|not reachable|network (?:is )?unreachable|socket error",
        "Postfix, Gmail",
    ),
    Phrase(
        r"malformed or unexpected name server reply|n't able to establish",
        "Postfix, qmail",
    ),
    Phrase(
        r"did not accept our requests? to connect|delivery failed \d+ attempts|could not be reached", "Gmail, IMail"
    ),
    Phrase(
        r"temporar(?:y|ily)|transient|try (?:again )?later|try (?:it )?again in|will retry"
        r"|(?:days|hours) (?:\w+ )?old|for more than \d",
        "many",
    ),
)

# Below this line comes the returned message.
MARKERS = (
    Phrase(r"^-* ?below this line is a copy of the message\.?.*$", "qmail"),
    Phrase(
        r"^-* ?(?:enclosed|included|attached|this|here|below) is a copy of (?:the|your) (?:\w+ )?(?:message|mail).*$",
        "qmail, Exim, MXLogic",
    ),
    Phrase(r"^[-= ]*(?:the )?headers? of the original message.*$", "GMX"),
    Phrase(
        r"^[-=_ ]*(?:original|returned|undelivered|unsent) (?:mail|message)(?: headers?)?"
        r"(?: (?:follows|text|info))?\W*$",
        "Gmail, Notes, Sendmail",
    ),
    Phrase(r"^[-= ]*(?:message|mail) (?:headers?|text|contents?)? ?follows?\W*$", "DragonFly, IMail"),
    Phrase(r"^[-= ]*(?:original|message) (?:mail|message|header)s?:? (?:info|headers?)?\W*$", "Exchange, m-FILTER"),
    Phrase(r"^-+ ?(?:unsent|start of|copy of|begin) (?:\w+ ){0,3}(?:message|mail|header).*$", "Sendmail, others"),
)

# An answer that a person's mailbox gives: it says nothing of delivery, whatever words are in it.
AUTO_REPLIES = (
    Phrase(r"^\W{0,3}(?:auto(?:matic|mated)?[- _]?(?:reply|response|answer|mail)|autoreply|auto:)", "Exchange, many"),
    Phrase(
        r"out of (?:the )?office|\booo\b|on vacation|vacation (?:reply|notice|message)|away from (?:my|the)", "many"
    ),
    Phrase(r"abwesenheit|automatische antwort|automatisch beantwortet|nicht im (?:büro|haus)", "German"),
    Phrase(
        r"réponse automatique|absence du bureau|respuesta automática|resposta automática|risposta automatica",
        "Romance languages",
    ),
    Phrase(
        r"automatisch antwoord|afwezig|automatiskt svar|autosvar|автоответ|automatyczna odpowied",
        "Dutch, Swedish, Russian, Polish",
    ),
    Phrase(r"自動(?:応答|返信|回覆)|自动(?:回复|答复)|不在通知", "Japanese, Chinese"),
)

# It asks to prove that the sender is a person.
CHALLENGES = (
    Phrase(
        r"(?:confirm|verify|prove) (?:that )?(?:you|your) (?:\w+ ){0,6}(?:human|person|identity|real)",
        "Spam Arrest, others",
    ),
    Phrase(r"confirm (?:that )?your (?:message|e-?mail|mail|delivery)|confirmation (?:is )?required", "TMDA, qconfirm"),
    Phrase(r"challenge[/ -]response|sender (?:verification|confirmation)", "many"),
    Phrase(r"(?:is|are) using (?:\w+ ){0,3}(?:boxbe|spam ?arrest|bluebottle)", "Boxbe, Spam Arrest"),
    Phrase(
        r"(?:click|reply to) (?:\w+ ){0,8}(?:so that|to (?:have|get|let|release|deliver|confirm|approve))",
        "TMDA and others",
    ),
)
