"""Part 5: memory and cost per message as the audience grows, without a wire."""

from __future__ import annotations

from bench import directory
from bench.figures import Figure, Part, Ratio
from bench.scale import Bench
from bench.service import Sent, serving

TITLE = "5. Memory and cost per message, by size of the audience"
REFERENCE = 10_000


def _run(bench: Bench, count: int) -> Sent:
    database = directory.create(bench.work / f"users-{count}.db", count)
    with serving(database) as service:
        sent = service.send(service.headers())
    for path in bench.work.glob(f"users-{count}.db*"):
        path.unlink()
    return sent


def measure(bench: Bench) -> Part:
    """One whole campaign for each size; the small sizes once a round, the largest once."""
    sizes = bench.scale.sizes
    runs = {size: [_run(bench, size) for _ in range(1 if size == sizes[-1] else bench.scale.rounds)] for size in sizes}
    figures = []
    for size, sent in runs.items():
        figures.append(Figure(f"{size:,} recipients: time", "us/message", tuple(1e6 / run.rate for run in sent)))
        figures.append(Figure(f"{size:,} recipients: CPU", "us/message", tuple(run.cpu_us for run in sent)))
        figures.append(Figure(f"{size:,} recipients: peak memory", "MB", tuple(run.peak_mb for run in sent)))
    part = Part("growth", TITLE, figures=tuple(figures))
    return Part("growth", TITLE, _ratios(part, sizes), part.figures, _notes(sizes))


def _ratios(part: Part, sizes: tuple[int, ...]) -> tuple[Ratio, ...]:
    least, most = sizes[0], sizes[-1]
    usual = REFERENCE if REFERENCE in sizes else least

    def median(size: int, what: str) -> float:
        return part.figure(f"{size:,} recipients: {what}").median

    grown = median(most, "peak memory") - median(least, "peak memory")
    return (
        Ratio(f"MB more for {most:,} than for {least:,}", grown, 50.0, at_most=True),
        Ratio(f"time per message: {most:,} / {usual:,}", median(most, "time") / median(usual, "time"), 1.1, True),
        Ratio(f"CPU per message: {most:,} / {usual:,}", median(most, "CPU") / median(usual, "CPU"), 1.1, True),
    )


def _notes(sizes: tuple[int, ...]) -> tuple[str, ...]:
    notes = ["Transport `memory:`, one worker process, one delivery thread; peak resident memory of the process."]
    if sizes[-1] < 1_000_000:
        notes.append(f"Left out: 1,000,000 recipients; the largest here is {sizes[-1]:,}.")
    return tuple(notes)
