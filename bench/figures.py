"""What a benchmark measured: figures with their rounds, ratios between them, and how they are shown. Pure."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Figure:
    """One quantity, measured once a round."""

    name: str
    unit: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return median(self.values)

    @property
    def spread(self) -> float:
        """Largest less smallest, as a share of the median."""
        return (max(self.values) - min(self.values)) / self.median if self.median else 0.0


@dataclass(frozen=True, slots=True)
class Ratio:
    """How two medians compare. `target` is the least that is wanted, or the most when `at_most`; None: no target."""

    name: str
    value: float
    target: float | None = None
    at_most: bool = False

    @property
    def verdict(self) -> str:
        """`reached`, `missed`, or nothing when there is no target."""
        if self.target is None:
            return ""
        return "reached" if (self.value <= self.target if self.at_most else self.value >= self.target) else "missed"

    @property
    def wanted(self) -> str:
        """The target as people write it."""
        return "" if self.target is None else f"{'at most' if self.at_most else 'at least'} {self.target:g}"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the benchmark: its ratios, its figures, and what a reader must know, such as what was left out."""

    key: str
    title: str
    ratios: tuple[Ratio, ...] = ()
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def figure(self, name: str) -> Figure:
        """The figure of that name; `KeyError` if it was not measured."""
        for figure in self.figures:
            if figure.name == name:
                return figure
        raise KeyError(name)


def in_turn(rounds: int, contestants: Mapping[str, Callable[[], T]]) -> dict[str, list[T]]:
    """Run everyone once a round, so that a slow minute of the machine hits all; nobody pays for another's garbage."""
    results: dict[str, list[T]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            gc.collect()
            results[name].append(run())
    return results


def number(value: float) -> str:
    """Three significant digits and no exponent."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def spread(figure: Figure) -> str:
    """In per cent; of one round nobody knows it."""
    return f"{figure.spread:.0%}" if len(figure.values) > 1 else "?"


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table whose columns line up; all but the first to the right."""
    widths = [max(len(row[place]) for row in (head, *rows)) for place in range(len(head))]

    def line(cells: tuple[str, ...]) -> str:
        padded = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
        return f"| {' | '.join([cells[0].ljust(widths[0]), *padded[1:]])} |"

    rule = "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])])
    return "\n".join([line(head), f"|{rule}|", *map(line, rows)])


def report(part: Part) -> str:
    """The part as Markdown: ratios first."""
    blocks = [f"## {part.title}"]
    if part.ratios:
        rows = [(ratio.name, number(ratio.value), ratio.wanted, ratio.verdict) for ratio in part.ratios]
        blocks.append(table(("ratio", "measured", "wanted", ""), rows))
    if part.figures:
        measured = [(f.name, number(f.median), f.unit, spread(f), str(len(f.values))) for f in part.figures]
        blocks.append(table(("measured", "median", "unit", "spread", "rounds"), measured))
    blocks += [f"- {note}" for note in part.notes]
    return "\n\n".join(blocks)
