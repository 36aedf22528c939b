"""How many people a campaign's caller expects: `minRecipients` and `maxRecipients` of a POST.

They stand in the stored selector, under `$recipients`, and the planner looks at them. Nobody can write this name in a
query. A version that does not know it refuses such a campaign, where it would otherwise write to however many there
are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

RECIPIENTS = "$recipients"
MOST = 2**31 - 1  # people that can be expected


@dataclass(frozen=True, slots=True)
class Bounds:
    """At least `least` people and at most `most`, each of which may be None: any number."""

    least: int | None = None
    most: int | None = None

    def contain(self, count: int) -> bool:
        """Whether so many people were expected."""
        return (self.least is None or count >= self.least) and (self.most is None or count <= self.most)

    def __str__(self) -> str:
        """In words, such as `150 to 250`."""
        if self.least == self.most:
            return f"{self.least:,}" if self.least is not None else "any number"
        if self.least is None:
            return f"at most {self.most:,}"
        return f"at least {self.least:,}" if self.most is None else f"{self.least:,} to {self.most:,}"


ANY_NUMBER = Bounds()


def bounded(query: Mapping[str, Any], bounds: Bounds) -> Mapping[str, Any]:
    """The selector with the bounds beside it, as it is stored."""
    stored = {name: value for name, value in (("min", bounds.least), ("max", bounds.most)) if value is not None}
    return {**query, RECIPIENTS: stored} if stored else query


def bounds_of(query: Mapping[str, Any]) -> Bounds:
    """The bounds in a stored selector."""
    return read_bounds(query.get(RECIPIENTS))


def read_bounds(stored: Mapping[str, Any] | None) -> Bounds:
    """The bounds as they are stored; None: there are none."""
    return Bounds(stored.get("min"), stored.get("max")) if stored else ANY_NUMBER


def objection(bounds: Bounds, count: int) -> str | None:
    """Why a campaign for so many people waits for a person; None: so many were expected."""
    if bounds.contain(count):
        return None
    found = "1 person" if count == 1 else f"{count:,} people" if count else "nobody"
    return f"{found} would receive it, and its caller expects {bounds}"
