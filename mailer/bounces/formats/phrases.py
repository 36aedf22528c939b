"""What notices say in words: each row a phrase and who writes it. A new system's wording is a row here, no code.

Phrases are regular expressions, found in any case. A blank in one matches any run of blanks and line ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple


class Phrase(NamedTuple):
    """A row: a regular expression, the systems or languages that say so, and what one of them says."""

    pattern: str
    source: str
    example: str


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
        "Your message could not be delivered",
    ),
    Phrase(
        r"(?:unable|failed|inability|not able|n't able|failure|impossible) to (?:deliver|send|relay)",
        "qmail, many",
        "I wasn't able to deliver your message",
    ),
    Phrase(
        r"(?:error|trouble|problems?|difficulty) (?:\w+ )?(?:delivering|sending)",
        "DragonFly, MDaemon, others",
        "There was an error delivering your mail",
    ),
    Phrase(
        r"(?:delivery|sending) (?:\w+ ){0,6}(?:failed|\(?failure|has been suspended|error)",
        "Gmail, Exchange, many",
        "Delivery to the following recipient failed",
    ),
    Phrase(
        r"(?:error|problem) (?:has )?occurred (?:\w+ ){0,3}(?:to deliver|delivering)",
        "OpenSMTPD, Amazon",
        "An error has occurred while attempting to deliver a message",
    ),
    Phrase(r"(?:message|e-?mail) not (?:delivered|sent)", "Google Workspace", "Message not delivered"),
    Phrase(
        r"(?:unknown|invalid|no such) (?:user|recipient|mailbox)|(?:user|recipient|mailbox) unknown",
        "Verizon, many",
        "Error: Invalid user address",
    ),
    Phrase(
        r"undeliver(?:able|ed)|nondeliverable|non-delivery|non delivery",
        "Postfix, Exchange, IMail, many",
        "Undeliverable: News",
    ),
    Phrase(
        r"(?:failure|failed|error) (?:notice|notification|message|report|recipient)s?",
        "qmail and others",
        "failure notice",
    ),
    Phrase(
        r"returned mail|returning (?:your )?(?:message|mail)|mail (?:was )?returned|returned to sender",
        "Sendmail",
        "Returned mail: see transcript",
    ),
    Phrase(
        r"did not re(?:ach|ceive) (?:the following|a copy|your|this)|failure reasons|mail system error",
        "Exchange, Notes, KDDI",
        "did not reach the following recipient(s)",
    ),
    Phrase(r"failed (?:addresses|recipients?)", "Smail, MDaemon", "Failed addresses follow"),
    Phrase(
        r"(?:address(?:es)?|recipients?) (?:\w+ ){0,5}(?:failed|had (?:\w+ ){0,3}errors)",
        "Sendmail, Exim, many",
        "The following addresses had permanent fatal errors",
    ),
    Phrase(
        r"rejected (?:the )?recipient|recipients? (?:was|were) rejected",
        "CommuniGate, Sun, others",
        "rejected recipient",
    ),
    Phrase(r"mail (?:delivery )?failed|mail failure|message rejected|rejected mail", "many", "Mail delivery failed"),
    Phrase(
        r"(?:送信|配信|配送|配達|送達|お届け)(?:に失敗|でき|されません)|届けられません|宛先不明|エラーのため",
        "Japanese",
        "メールの送信に失敗しました",
    ),
    Phrase(
        r"konnte nicht (?:\w+ )?(?:zugestellt|gesendet|übermittelt|ausgeliefert)|unzustellbar",
        "German",
        "konnte nicht zugestellt werden",
    ),
    Phrase(
        r"nicht (?:zugestellt|zustellbar)|zustellung (?:\w+ ){0,4}fehlgeschlagen",
        "German",
        "Die Zustellung ist fehlgeschlagen",
    ),
    Phrase(
        r"(?:pas|pu) (?:pu )?(?:être )?(?:remis|délivré|distribué|livré)|non remis|échec de (?:la )?remise",
        "French",
        "n'a pas pu être remis",
    ),
    Phrase(
        r"no se (?:ha |pudo |puede )?(?:podido )?entreg|no entregado|error de entrega", "Spanish", "No se pudo entregar"
    ),
    Phrase(
        r"não (?:pôde|foi|pode|é) (?:possível )?(?:ser )?entreg|não entregue|falha na entrega",
        "Portuguese",
        "não pôde ser entregue",
    ),
    Phrase(
        r"impossibile (?:recapitare|consegnare)|mancat[oa] (?:recapito|consegna)|non recapitabile",
        "Italian",
        "Impossibile recapitare",
    ),
    Phrase(r"onbestelbaar|niet (?:worden )?(?:bezorgd|afgeleverd)|kan niet worden", "Dutch", "Onbestelbaar: nieuws"),
    Phrase(
        r"не может быть доставлено|не уда(?:ется|лось) доставить|не доставлено|недоставлен|невозможно доставить",
        "Russian",
        "Письмо не может быть доставлено",
    ),
    Phrase(r"не вдалося доставити|не доставлено", "Ukrainian", "Не вдалося доставити"),
    Phrase(
        r"nie (?:mo[żz]e|mog[łl]a|zosta[łl]a) (?:\w+ )?dostarczon|niedostarczon",
        "Polish",
        "nie mogła zostać dostarczona",
    ),
    Phrase(r"退信|无法(?:投递|传递)|無法(?:投遞|傳遞)|无法送达|無法傳送|未能送达|投递失败|发送失败", "Chinese", "退信"),
    Phrase(
        r"kun(?:de|ne) (?:inte|ikke) (?:levereras?|leveres)|kan (?:inte|ikke) lever|olevererbar"
        r"|ikke leveret|ei voitu toimittaa",
        "Swedish, Danish, Norwegian, Finnish",
        "kunde inte levereras",
    ),
    Phrase(r"nedoručiteln|doručení (?:\w+ ){0,3}(?:nezdařilo|selhalo)|nelze doručit", "Czech", "Nedoručitelné: zprávy"),
    Phrase(r"kézbesíthetetlen|nem (?:sikerült )?kézbesít", "Hungarian", "Kézbesíthetetlen: hírek"),
    Phrase(r"teslim edil(?:e)?me|iletilemedi", "Turkish", "Teslim edilemedi: haber"),
    Phrase(r"배달되지|배달하지 못|전송(?:하지 못| 실패)|반송", "Korean", "메시지가 배달되지 않았습니다"),
    Phrase(r"(?:was|been) automatically rejected", "Dovecot, KDDI", "was automatically rejected"),
)

# It is still being tried.
DELAYS = (
    Phrase(
        r"will be (?:retried|re-?attempted)|will (?:continue|keep) (?:\w+ ){0,3}(?:try|attempt|retry)|will retry for",
        "Postfix, Exim",
        "It will be retried until it is 4 days old",
    ),
    Phrase(
        r"(?:still|being) (?:being )?(?:retried|trying|queued)|warning only|warning\W{1,3}could not",
        "Postfix, Sendmail",
        "Delayed Mail (still being retried)",
    ),
    Phrase(
        r"(?:delivery|message|mail) (?:\S+ ){0,3}(?:is |was |has been )?delayed|delayed (?:mail|delivery)",
        "many",
        "message 1kSH9f-0005xf delayed 24 hours",
    ),
    Phrase(r"delivery attempts will continue", "Exim", "Delivery attempts will continue to be made"),
    Phrase(
        r"(?:delivery|status) (?:\w+ )?\(?delay\)?|do not need to (?:resend|re-send)",
        "Gmail, Exchange, Sendmail",
        "Delivery Status Notification (Delay)",
    ),
)

# It gave up for now: so it is no word about the address.
EXPIRED = (
    Phrase(
        r"retry time(?:out)? (?:not reached|exceeded)|(?:in the )?queue (?:for )?too long|too long in (?:the )?queue",
        "Exim, qmail",
        "this message has been in the queue too long",
    ),
    Phrase(
        r"(?:message|queue|delivery)[ .](?:\w+ )?expired|envelope expired",
        "Exchange, OpenSMTPD",
        "QUEUE.Expired; message expired",
    ),
    Phrase(r"all hosts (?:\w+ )?(?:have been|were) failing", "Exim", "all hosts have been failing for a long time"),
    Phrase(
        r"connection (?:timed out|refused|reset|failed|dropped)|operation timed out|timed out while",
        "Postfix, Sendmail",
        "Connection timed out",
    ),
    Phrase(
        r"no route to host|not reachable|network (?:is )?unreachable|socket error", "Postfix, Gmail", "No route to host"
    ),
    Phrase(
        r"malformed or unexpected name server reply|n't able to establish",
        "Postfix, qmail",
        "Malformed or unexpected name server reply",
    ),
    Phrase(
        r"did not accept our requests? to connect|delivery failed \d+ attempts|could not be reached",
        "Gmail, IMail",
        "did not accept our requests to connect",
    ),
    Phrase(
        r"temporar(?:y|ily)|transient|try (?:again )?later|try (?:it )?again in|will retry"
        r"|(?:days|hours) (?:\w+ )?old|for more than \d",
        "many",
        "is temporarily unavailable",
    ),
)
