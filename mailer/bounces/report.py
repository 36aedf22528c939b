"""What one report says about one recipient of one message, whichever way it came: by mail or from a provider."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from transports.base import About

MAIL = "mail"  # the source of what anybody may have written


class Kind(StrEnum):
    """What a report tells."""

    BOUNCED = "bounced"  # the message was not delivered
    DELAYED = "delayed"  # it is still being tried, so that nothing follows from it yet
    COMPLAINED = "complained"  # the recipient marked it as spam (RFC 5965)
    UNSUBSCRIBED = "unsubscribed"  # the recipient wrote to the address of List-Unsubscribe (RFC 2369 section 3.2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One report, as it was read and not yet believed: what it names is compared with what was sent.

    `sent_to` are the addresses that the report itself went to. Where one is ours, it holds the token of the delivery.
    Whoever cannot give it tells the delivery by its campaign and the recipient's address.
    """

    kind: Kind
    address: str | None = None  # the recipient's, as the report names it; None: it names nobody
    about: About = About.MESSAGE  # whom a bounce is about, by the table that refusals are judged by
    permanent: bool = True  # False: a soft bounce, given up for now
    status: str = ""  # the enhanced status code (RFC 3463), such as 5.1.1; empty: none was given
    reply: str = ""  # the other side's words, in one line
    sent_to: tuple[str, ...] = ()
    campaign_id: str | None = None  # from the returned message's header; None: it has none
    message_id: str | None = None  # of the returned message, without brackets
    unsubscribe: str = ""  # the returned message's List-Unsubscribe, which is signed
    at: int | None = None  # when it happened, in ms since 1970; None: the report does not say
    source: str = MAIL  # or the provider's name


class Recorded(NamedTuple):
    """What became of some reports, each counted once."""

    bounced: int = 0
    complained: int = 0
    unsubscribed: int = 0
    delayed: int = 0  # nothing to record yet
    repeated: int = 0  # known already: nothing has changed
    unknown: int = 0  # of no message of ours, or forged: nothing has changed


# Compares reports with what was sent, and records those that are true, in one transaction.
Record = Callable[[Sequence[Report]], Recorded]
