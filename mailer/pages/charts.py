"""Charts that are drawn on the server, as the numbers of an SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mailer.delivery.minutes import MINUTE

MOST_BARS = 60


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars of equal width, as percentages of the highest. `each` is how many minutes a bar stands for.

    `first` is when the first begins, in ms since 1970; `highest` is the number that the highest stands for.
    """

    heights: tuple[float, ...]
    first: int
    each: int
    highest: int


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
    return Bars(tuple(round(100 * each_sum / highest, 2) for each_sum in sums), first, each, highest)
