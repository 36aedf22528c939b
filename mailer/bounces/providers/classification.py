"""What a provider's own word for a bounce means here: looked up in the table, and refined by the status code. Pure."""

from __future__ import annotations

import re
from typing import Any

from mailer.bounces.providers.judgements import ROWS, Row
from mailer.bounces.report import Kind, Report
from transports.base import About

_TABLE = {(row.provider, row.word.lower()): row for row in ROWS}

# RFC 3463 section 3 and IANA's registry of enhanced status codes: what follows the class. The first that matches whole
# decides. Codes that say as little as the provider's word are left out.
_BY_STATUS = (
    (r"1\.[789]", About.SENDER),  # 3.2: the sender's address
    (r"1\.(?:[1-6]|10)", About.ADDRESS),  # 3.2: the destination's address
    (r"2\.1", About.ADDRESS),  # 3.3: a mailbox that is disabled
    (r"2\.2", About.MAILBOX),  # 3.3: a mailbox that is full
    (r"2\.3|3\.4", About.MESSAGE),  # 3.3, 3.4: a message that is too long
    (r"3\.[0-35]|4\.[0-46]", About.TRANSPORT),  # 3.4, 3.5: the system there, or the way to it
    (r"4\.5", About.RATE),  # 3.5: congestion
    (r"6\.\d+", About.MESSAGE),  # 3.7: its content
    (r"7\.(?:8|9|2[0-7]|515)", About.SENDER),  # RFC 7372, and the registry: authentication of the sender
    (r"7\.28", About.RATE),  # the registry: a flood
    (r"7\.\d+", About.MESSAGE),  # 3.8: a policy
)


def judge(provider: str, *words: str, status: str = "", permanent: bool = True) -> Row | None:
    """What the provider means by the first of `words` that the table has; None: that needs no report.

    A word that the table lacks is a bounce that counts against nobody, and `permanent` as the event says otherwise.
    """
    row = next(filter(None, (_TABLE.get((provider, word.lower())) for word in words)), None)
    if row is None:
        return Row(provider, words[0], Kind.BOUNCED, About.MESSAGE, permanent, "")
    if row.kind is None:
        return None
    refined = _about(status) if row.vague else None
    return row if refined is None else row._replace(about=refined)


def report_of(row: Row, **told: Any) -> Report:
    """The report of an event that was judged by `row`; `told` are the other fields."""
    assert row.kind is not None  # noqa: S101 - judge gives no such row
    return Report(kind=row.kind, about=row.about, permanent=row.permanent, source=row.provider, **told)


def _about(status: str) -> About | None:
    detail = status.partition(".")[2]
    return next((about for pattern, about in _BY_STATUS if re.fullmatch(pattern, detail)), None)
