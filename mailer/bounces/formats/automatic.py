"""Whether a mail was written by a machine (RFC 3834 and the customs beside it), and which machine. Pure.

What is automatic is nobody's wish: an auto-reply to the address of List-Unsubscribe unsubscribes nobody.
"""

from __future__ import annotations

import re

from mailer.bounces.formats.fields import Fields
from mailer.bounces.formats.phrases import FAILURES, Phrase, compile_rows

# An answer that a person's mailbox gives: it says nothing of delivery, whatever words are in it.
AUTO_REPLIES = (
    Phrase(
        r"^\W{0,3}(?:auto(?:matic|mated)?[- _]?(?:reply|response|answer|mail)|autoreply|auto:)",
        "Exchange, many",
        "Automatic reply: News",
    ),
    Phrase(
        r"out of (?:the )?office|\booo\b|on vacation|vacation (?:reply|notice|message)|away from (?:my|the)",
        "many",
        "Out of office",
    ),
    Phrase(
        r"abwesenheit|automatische antwort|automatisch beantwortet|nicht im (?:büro|haus)",
        "German",
        "Abwesenheitsnotiz",
    ),
    Phrase(
        r"réponse automatique|absence du bureau|respuesta automática|resposta automática|risposta automatica",
        "Romance languages",
        "Réponse automatique : nouvelles",
    ),
    Phrase(
        r"automatisch antwoord|afwezig|automatiskt svar|autosvar|автоответ|automatyczna odpowied",
        "Dutch, Swedish, Russian, Polish",
        "Automatisch antwoord",
    ),
    Phrase(
        r"^\W{0,3}(?:ich bin|wir sind) (?:\w+ ){0,4}(?:im urlaub|in elternzeit|auf dienstreise|nicht erreichbar)",
        "German",
        "Ich bin im Urlaub",
    ),
    Phrase(
        r"^\W{0,3}(?:i am|i'm|we are|currently) (?:\w+ ){0,3}(?:on (?:\w+ )?leave|on holidays?|away|travell?ing)\b",
        "English",
        "I am on leave",
    ),
    Phrase(
        r"fuera de (?:la |mi )?oficina|fora d[oe] escrit[óo]rio|fuori (?:sede|ufficio)|en cong[ée]s? (?:du|jusqu)"
        r"|^\W{0,3}(?:estoy|estou|sono|je suis) (?:\w+ ){0,3}(?:de vacaciones|de f[ée]rias|in ferie|en (?:cong[ée]s?"
        r"|vacances)|ausente|assente|absente?)\b",
        "Spanish, Portuguese, Italian, French",
        "Fuera de la oficina",
    ),
    Phrase(  # alone, or with what they leave before a colon or a dash: a wish has more words
        r"^\W{0,3}(?:ausente|ausencia|ausência|absence|absent|absente|assente|assenza|abwesend|urlaub"
        r"|on leave|on holiday|vacaciones|vacances|férias|ferie|afwezig|nieobecność|отпуск|poissa)\s*"
        r"(?:$|[:–—!.(-]|(?:du|bis|vom|until|till|from|hasta|del|até|dal|fino|do|с|до) |\d)",
        "many languages",
        "Ausente",
    ),
    Phrase(
        r"semester ?svar|frånvaro|fravær|ude af kontoret|lomalla|poissaolo|poza biurem|mimo kancelář|házon kívül"
        r"|вне офиса|в отпуске|ofis dışında|부재중|자동 ?(?:회신|응답)|خارج المكتب",
        "Swedish, Danish, Norwegian, Finnish, Polish, Czech, Hungarian, Russian, Turkish, Korean, Arabic",
        "Frånvaro",
    ),
    Phrase(r"自動(?:応答|返信|回覆)|自动(?:回复|答复)|不在通知", "Japanese, Chinese", "自動応答"),
)

# It asks to prove that the sender is a person.
CHALLENGES = (
    Phrase(
        r"(?:confirm|verify|prove) (?:that )?(?:you|your) (?:\w+ ){0,6}(?:human|person|identity|real)",
        "Spam Arrest, others",
        "Please confirm that you are a human",
    ),
    Phrase(
        r"confirm (?:that )?your (?:message|e-?mail|mail|delivery)|confirmation (?:is )?required",
        "TMDA, qconfirm",
        "Please confirm your message",
    ),
    Phrase(
        r"challenge[/ -]response|sender (?:verification|confirmation)", "many", "This is a challenge-response system"
    ),
    Phrase(
        r"(?:is|are) using (?:\w+ ){0,3}(?:boxbe|spam ?arrest|bluebottle)", "Boxbe, Spam Arrest", "Bo is using Boxbe"
    ),
    Phrase(
        r"(?:click|reply to) (?:\w+ ){0,8}(?:so that|to (?:have|get|let|release|deliver|confirm|approve))",
        "TMDA and others",
        "Click here to have your mail delivered",
    ),
)

_SYSTEM = re.compile(
    r"(?:^|[\s<\"'])(?:[\w.-]{0,20}daemon@|mail(?:er)?[- ]?daemon|post_?master|mmdf|mailadmin|mail(?:\W| )?deliver\w*"
    r"|(?:mail\W)?delivery\W(?:sub)?system|mail (?:delivery )?(?:sub)?system|system\W?administrator"
    r"|mail\W?administrator|microsoft ?exchange\w*|mail-?system)(?![\w-])",
    re.IGNORECASE,
)
_SERVICE = re.compile(r"(?:^|[\s<\"'])(?:no-?reply|do-?not-?reply|bounces?|auto-?notify)(?![\w-])", re.IGNORECASE)
_PRECEDENCE = {"bulk", "junk", "list", "auto_reply", "auto-reply"}
_PRESENT = ("X-Autoreply", "X-Autorespond", "X-Autoresponder", "X-Auto-Response-Suppress", "X-Failed-Recipients")
_VACATION = ("X-Autoreply", "X-Autorespond", "X-Autoresponder", "X-Apple-Action", "X-Vacation", "Vacation")
_REPLY, _CHALLENGE, _FAILURE = compile_rows(AUTO_REPLIES), compile_rows(CHALLENGES), compile_rows(FAILURES)
_PLAINLY = compile_rows(CHALLENGES[:-1])  # what nobody else writes; "click here to get" is in many a newsletter
_ANSWERED = re.compile(r"\b(?:re|aw|antw|sv|vs|fwd?|wg|tr|rv) ?:", re.IGNORECASE)
_QUOTE = re.compile(r"^[ \t]*>", re.MULTILINE)


def is_from_a_mail_system(fields: Fields, *, returns: bool = False) -> bool:
    """Whether the mail says that no person sent it but a mail system: the only ones whose free words are read.

    A service's name, such as `no-reply`, is enough only where the mail `returns` a message, or may not be answered.
    """
    sender = fields.get("From")
    return (
        "@" not in sender.replace("<>", "")
        or _SYSTEM.search(sender) is not None
        or "X-Failed-Recipients" in fields
        or _SYSTEM.search(fields.get("Return-Path")) is not None
        or (_SERVICE.search(sender) is not None and (returns or has_no_return_path(fields)))
        or (_FAILURE.search(fields.get("Subject")) is not None and has_no_return_path(fields))
    )


def has_no_return_path(fields: Fields) -> bool:
    """Whether the envelope's sender is empty, so that nothing may be answered (RFC 5321 section 4.5.5)."""
    return any(each.strip() in ("<>", "") for each in fields.all("Return-Path")[:1])


def is_personal_reply(fields: Fields, notice: str) -> bool:
    """Whether a person's mailbox answers by itself: on holiday, or with a question to prove that one is human.

    `notice` is the text, if a question is looked for in it.
    """
    return (
        any(name in fields for name in _VACATION)
        or fields.get("Precedence").strip().lower() == "auto_reply"
        or _answers_by_itself(fields.get("Subject"))
        or _CHALLENGE.search(notice[:2000]) is not None
    )


def _answers_by_itself(subject: str) -> bool:
    """Whether the words before the subject that it answers say so; a bounce may quote one that has such words too."""
    own = _ANSWERED.split(subject, maxsplit=1)[0]
    reply, failure = _REPLY.search(own) or _CHALLENGE.search(own), _FAILURE.search(own)
    return reply is not None and not (failure and failure.start() <= reply.start())


def is_report(fields: Fields) -> bool:
    """Whether the mail says that it is a report (RFC 6522), of whatever kind."""
    return fields.get("Content-Type").lower().startswith("multipart/report")


def is_automatic(fields: Fields, notice: str) -> bool:
    """Whether nobody wrote this mail to be read by a person."""
    submitted = fields.get("Auto-Submitted").partition(";")[0].strip().lower()
    return (
        submitted not in ("", "no")
        or any(name in fields for name in _PRESENT)
        or fields.get("Precedence").strip().lower() in _PRECEDENCE
        or has_no_return_path(fields)
        or is_report(fields)
        or any(name in fields for name in ("List-Id", "List-Unsubscribe", "Feedback-ID"))
        or is_from_a_mail_system(fields, returns=True)
        or is_personal_reply(fields, "")
        or _PLAINLY.search(_QUOTE.split(notice[:1000], maxsplit=1)[0]) is not None
    )
