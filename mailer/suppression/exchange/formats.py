"""Which program has written a list, told by its headings, and what the reasons in it are called. Pure.

The columns are those that the services document for what they export and for what their APIs answer: Amazon SES
(`list-suppressed-destinations`), Mailgun (bounces, complaints, unsubscribes), SendGrid (bounces, invalid addresses,
spam reports, global and group unsubscribes) and Postmark (suppressions of a message stream).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from mailer.suppression.exchange.entries import Why


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of list. It has the columns `needed`, and no others than `also`; `also` None: whichever others.

    All of its rows have the same reason, `why`; None: the column `stated` says it.
    """

    name: str
    needed: frozenset[str]
    why: Why | None = None
    stated: str = ""
    also: frozenset[str] | None = None


def _columns(names: str) -> frozenset[str]:
    return frozenset(names.split())


OURS = "mailer"  # what this service itself exports
FORMATS = (
    Format(OURS, _columns("reason since"), stated="reason"),
    Format("Postmark", _columns("emailaddress suppressionreason"), stated="suppressionreason"),
    Format("Amazon SES", _columns("emailaddress reason"), stated="reason"),
    Format("SendGrid, bounces", _columns("email reason status"), Why.BOUNCED),
    Format("SendGrid, invalid addresses", _columns("email reason created"), Why.BOUNCED, also=_columns("ip")),
    Format("SendGrid, spam reports", _columns("email ip created"), Why.COMPLAINED, also=frozenset()),
    Format("SendGrid, group unsubscribes", _columns("email groupid"), Why.UNSUBSCRIBED),
    Format("SendGrid, unsubscribes", _columns("email created"), Why.UNSUBSCRIBED, also=frozenset()),
    Format("Mailgun, bounces", _columns("address code"), Why.BOUNCED),
    Format("Mailgun, bounces", _columns("address error"), Why.BOUNCED),
    Format("Mailgun, unsubscribes", _columns("address tags"), Why.UNSUBSCRIBED),
    Format("Mailgun, unsubscribes", _columns("address tag"), Why.UNSUBSCRIBED),
    Format("Mailgun, complaints", _columns("address createdat"), Why.COMPLAINED, also=_columns("count")),
)
UNANSWERED = ("SendGrid, invalid addresses",)  # formats of which the words are no answer of a mail server
WITHOUT_CODE = ("SendGrid, bounces",)  # formats with a code in each row; one without it is a block, about the sender
WRAPPERS = ("SuppressedDestinationSummaries", "Suppressions", "items")  # fields of JSON in which the rows stand

ADDRESS = ("address", "email", "emailaddress", "recipient")
SINCE = ("since", "created", "createdat", "lastupdatetime", "lastupdatedtime", "unsubscribedat")
WORDS = ("why", "error", "reason")

_STATED = {
    "bounce": Why.BOUNCED, "hardbounce": Why.BOUNCED, "complaint": Why.COMPLAINED, "spamcomplaint": Why.COMPLAINED,
    "manualsuppression": Why.BLOCKED, "unsubscribe": Why.UNSUBSCRIBED,
}  # fmt: skip
_OWN = {why.value: why for why in Why}
_THE_PERSON = "recipient"  # who made a manual suppression of Postmark's: then it is a wish


def format_of(columns: Collection[str]) -> Format | None:
    """The format that has these columns, folded as `headings.folded` does it; None: it is not known."""
    given = frozenset(columns)
    return next((one for one in FORMATS if _fits(one, given)), None)


def reason_of(stated: str, origin: str = "") -> Why | None:
    """The reason that a row states in the words of a service or in ours; None: it is not known."""
    text = stated.strip().lower()
    why = _OWN.get(text) or _STATED.get("".join(filter(str.isalnum, text)))
    return Why.UNSUBSCRIBED if why is Why.BLOCKED and origin.strip().lower() == _THE_PERSON else why


def _fits(one: Format, given: frozenset[str]) -> bool:
    return one.needed <= given and (one.also is None or given - one.needed <= one.also)
