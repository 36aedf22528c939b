"""Charts that are drawn on the server, as the numbers of an SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mailer.delivery.minutes import MINUTE
from mailer.delivery.tallies.domains import DomainCounts

MOST_BARS = 60


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars of equal width, as percentages of the highest. `each` is how many minutes a bar stands for.

    `counts` are the numbers of the bars. `first` is when the first begins, in ms since 1970; `highest` is the number
    that the highest stands for.
    """

    heights: tuple[float, ...]
    counts: tuple[int, ...]
    first: int
    each: int
    highest: int

    def begins(self, number: int) -> int:
        """When the bar with this number begins, in ms since 1970."""
        return self.first + number * self.each * MINUTE


def bars(counted: Sequence[tuple[int, int]]) -> Bars | None:
    """Sum numbers by minute up to at most `MOST_BARS` bars. `counted` has pairs of a time and a number, earliest first.

    Minutes without a number count as 0. None: there is nothing to show, as in a single minute.
    """
    if len(counted) < 2:
        return None
    first, last = counted[0][0], counted[-1][0]
    each = -(-((last - first) // MINUTE + 1) // MOST_BARS)
    sums = [0] * ((last - first) // (each * MINUTE) + 1)
    for moment, number in counted:
        sums[(moment - first) // (each * MINUTE)] += number
    highest = max(sums)
    if highest == 0 or len(sums) < 2:
        return None
    heights = tuple(round(100 * each_sum / highest, 2) for each_sum in sums)
    return Bars(heights, tuple(sums), first, each, highest)


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a bar: its class in the style sheet, and where it begins and how wide it is, in percent."""

    kind: str
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class DomainBar:
    """The bar of one domain, and its parts. An empty `domain` stands for all others."""

    counts: DomainCounts
    total: int
    segments: tuple[Segment, ...]

    @property
    def waiting(self) -> int:
        """How many are to be tried again, or may have it already."""
        return self.counts.deferred + self.counts.uncertain


def domain_bars(found: Sequence[DomainCounts]) -> tuple[DomainBar, ...]:
    """The bars of the domains, each as long as its share of the largest number."""
    totals = [one.sent + one.failed + one.deferred + one.uncertain + one.skipped for one in found]
    scale = 100 / max(totals, default=1)
    return tuple(_domain_bar(one, total, scale) for one, total in zip(found, totals, strict=True))


def _domain_bar(one: DomainCounts, total: int, scale: float) -> DomainBar:
    counts = {"sent": one.sent, "failed": one.failed, "waiting": one.deferred + one.uncertain, "skipped": one.skipped}
    segments, x = [], 0.0
    for kind, count in counts.items():
        if count:
            segments.append(Segment(kind, round(x, 2), round(count * scale, 2)))
            x += count * scale
    return DomainBar(one, total, tuple(segments))
