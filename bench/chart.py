"""The end-to-end rates as a bar chart, where matplotlib is installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from bench.figures import Part, number

OURS = "#1f6f8b"
OTHERS = "#a9b4bc"


def draw(part: Part, target: Path) -> bool:
    """Write a PNG of the part's rates; False when matplotlib is missing or there is nothing to show."""
    rates = sorted((f for f in part.figures if f.unit == "messages/s"), key=lambda figure: figure.median)
    if not rates or find_spec("matplotlib") is None:
        return False
    from matplotlib.figure import Figure as Canvas  # noqa: PLC0415 - may not be installed

    canvas = Canvas(figsize=(8, 0.36 * len(rates) + 1.2), layout="constrained")
    axes = canvas.subplots()
    medians = [figure.median for figure in rates]
    low = [figure.median - min(figure.values) for figure in rates]
    high = [max(figure.values) - figure.median for figure in rates]
    colours = [OURS if figure.name.startswith("mailer") else OTHERS for figure in rates]
    bars = axes.barh([figure.name for figure in rates], medians, color=colours, xerr=[low, high], ecolor="#555555")
    axes.bar_label(bars, [f"  {number(value)}" for value in medians], fontsize=8)
    axes.set_xlabel("messages/s: median, and the range of the rounds")
    axes.set_title(part.title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.12)
    canvas.savefig(target, dpi=100)
    return True
