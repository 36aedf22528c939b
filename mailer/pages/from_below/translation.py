"""The way from an English sentence of the rooms below to the same in the reader's language."""

from __future__ import annotations

import re

from flask_babel import get_locale, gettext

from mailer.pages.from_below.explanations import EXPLANATIONS
from mailer.pages.from_below.queries import QUERIES
from mailer.pages.from_below.reasons import REASONS
from mailer.pages.from_below.refusals import REFUSALS
from mailer.pages.from_below.replies import REPLIES
from mailer.pages.from_below.template import Template
from mailer.pages.from_below.transports import TRANSPORTS
from mailer.pages.words import WORDS

SENTENCES = (*REFUSALS, *QUERIES, *REASONS, *TRANSPORTS, *REPLIES, *EXPLANATIONS)
SAID = frozenset({"action", "answer", "error", "expected", "meant", "means", "most", "people", "problem", "reason"})
SAID |= {"state", "time", "unit", "what", "why", "words"}
"""The places in which another sentence of ours may stand. What stands in others, such as a name, is left as it is."""
DEPTH = 5  # a sentence may quote another as its reason, and so on
LONGEST = 4000  # characters; what is longer is not ours

_FIXED = frozenset(text for text in SENTENCES if "%(" not in text)
_OPEN = sorted(map(Template.of, set(SENTENCES) - _FIXED), key=lambda one: one.certainty, reverse=True)
_LISTS = ("; ", ", ")  # between sentences that were put together
_ABOUT = re.compile(r"(\S+): (.+)", re.DOTALL)  # the name of what a sentence is about, and the sentence
_ANSWER = re.compile(r"\d{3}[ -]")  # a mail server's own words follow


def translated(sentence: str | None) -> str:
    """The sentence in the language of this request.

    What nobody here has said, such as the answer of a mail server or a reason that a person has typed, stays as it is.
    """
    if not sentence or len(sentence) > LONGEST or _is_english():
        return sentence or ""
    made = _made(sentence, DEPTH)
    return sentence if made is None else made


def _made(sentence: str, depth: int) -> str | None:
    """The translation; None: it is none of ours."""
    if depth == 0 or _ANSWER.match(sentence):
        return None
    if sentence in _FIXED:
        return str(gettext(sentence))
    if sentence in WORDS:
        return str(WORDS[sentence])
    return _filled(sentence, depth) or _list(sentence, depth) or _about(sentence, depth)


def _filled(sentence: str, depth: int) -> str | None:
    """The sentence by the template of which it has most."""
    for template in _OPEN:
        values = template.values(sentence)
        if values is not None:
            said = {name: _made(value, depth - 1) if name in SAID else None for name, value in values.items()}
            return str(gettext(template.text, **{name: said[name] or value for name, value in values.items()}))
    return None


def _list(sentence: str, depth: int) -> str | None:
    """The same of sentences that stand in one, if all are ours, such as `2 paused, 1 resting`."""
    for joint in _LISTS:
        made = [_made(part, depth - 1) for part in sentence.split(joint)] if joint in sentence else []
        if made and None not in made:
            return joint.join(filter(None, made))
    return None


def _about(sentence: str, depth: int) -> str | None:
    """The same of a sentence behind a name, such as `smtp://mail.example.com: timed out`."""
    found = _ABOUT.fullmatch(sentence)
    return f"{found[1]}: {_made(found[2], depth - 1) or found[2]}" if found else None


def _is_english() -> bool:
    locale = get_locale()
    return locale is None or locale.language == "en"
