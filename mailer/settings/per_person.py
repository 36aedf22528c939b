"""How many campaigns one person may get in a time, such as `1/day`. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

_FORM = re.compile(r"([1-9][0-9]{0,3})\s*/\s*(hour|day|week)", re.ASCII)
# the times that a cap may name; a month has no fixed length, and a minute is for machines
_SPANS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}


@dataclass(frozen=True, slots=True)
class FrequencyCap:
    """At most `count` campaigns for one person within any `span` ms; `unit` is that time's name.

    The time slides: with `1/day`, somebody who had a campaign at noon gets none before the next noon. So a limit does
    not end at midnight, when everything that waits would come at once.
    """

    count: int
    unit: str

    @classmethod
    def parse(cls, text: str) -> FrequencyCap:
        """Read such as `1/day` or `3/week`. Raises ValueError, in words for people."""
        found = _FORM.fullmatch(text.strip())
        if found is None:
            raise ValueError("Not a number and a time such as 1/day: the times are hour, day and week.")
        return cls(int(found[1]), found[2])

    @property
    def span(self) -> int:
        """How long the time is, in ms."""
        return _SPANS[self.unit] // timedelta(milliseconds=1)

    def __str__(self) -> str:
        """As it is written in the setting."""
        return f"{self.count}/{self.unit}"
