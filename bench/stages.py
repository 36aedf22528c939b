"""Part 6: where the time of a message goes, one delivery thread in this process."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Self

from bench import directory
from bench.contestants import postfix_tool
from bench.figures import Figure, Part
from bench.processes import smtp_sink
from bench.road import Road
from bench.scale import Bench
from mailer.delivery.outbox import Outbox
from transports import from_url
from transports.base import Message, Outcome, Transport

TITLE = "6. Where the time goes"
STAGES = ("plan", "claim", "due_items", "checkpoint", "release", "link and render", "transport")


class Clock:
    """Wall and CPU seconds by stage."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = defaultdict(float)
        self.cpu: dict[str, float] = defaultdict(float)

    def timed(self, stage: str, call: Callable[[], Any]) -> Any:
        """Run and count."""
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            return call()
        finally:
            self.wall[stage] += time.perf_counter() - wall
            self.cpu[stage] += time.thread_time() - cpu


class TimedOutbox(Outbox):
    """An outbox on the clock."""

    clock: Clock

    def __getattribute__(self, name: str) -> Any:
        """Wrap the methods that are stages."""
        found = super().__getattribute__(name)
        if name not in STAGES:
            return found
        return lambda *args, **kwargs: self.clock.timed(name, lambda: found(*args, **kwargs))


class TimedTransport(Transport):
    """A transport on the clock; what it draws is rendering."""

    def __init__(self, inner: Transport, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Around the transport of that URL."""
        return cls(from_url(url), Clock())

    def send(self, messages: Iterable[Message]) -> Iterator[Outcome]:
        """See `Transport.send`."""
        outcomes = self._inner.send(self._drawn(iter(messages)))
        while (outcome := self._clock.timed("sending", lambda: next(outcomes, None))) is not None:
            yield outcome

    def _drawn(self, messages: Iterator[Message]) -> Iterator[Message]:
        while (message := self._clock.timed("link and render", lambda: next(messages, None))) is not None:
            yield message

    def check(self) -> None:
        """See `Transport.check`."""
        self._inner.check()

    def close(self) -> None:
        """See `Transport.close`."""
        self._inner.close()


def _run(bench: Bench, original: Path, url: str) -> Clock:
    clock = Clock()
    road = Road(directory.copy(original, bench.work / "stages"), TimedTransport(from_url(url), clock), TimedOutbox)
    road.outbox.clock = clock
    road.accept()
    clock.timed("total", lambda: _plan_and_deliver(road, clock))
    road.close()
    return clock


def _plan_and_deliver(road: Road[TimedOutbox], clock: Clock) -> None:
    clock.timed("plan", road.plan)
    road.deliver()


def _settled(spent: dict[str, float]) -> dict[str, float]:
    """The transport's own share is what its sending takes less what it draws meanwhile; the rest is the rest."""
    stages = {stage: spent[stage] for stage in STAGES}
    stages["transport"] = spent["sending"] - spent["link and render"]
    return {**stages, "everything else": spent["total"] - sum(stages.values())}


def measure(bench: Bench) -> Part:
    """Microseconds a message by stage, into smtp-sink if it is there and into memory if not."""
    sink, count = postfix_tool("smtp-sink"), bench.scale.recipients
    original = directory.create(bench.work / "stage-users.db", count)
    if sink is None:
        clocks = [_run(bench, original, "memory:?keep=0") for _ in range(bench.scale.rounds)]
    else:
        with smtp_sink(sink, bench.work) as port:
            clocks = [_run(bench, original, f"smtp://127.0.0.1:{port}") for _ in range(bench.scale.rounds)]
    figures = []
    for kind in ("wall", "cpu"):
        spent = [_settled(getattr(clock, kind)) for clock in clocks]
        for stage in spent[0]:
            values = tuple(round_[stage] / count * 1e6 for round_ in spent)
            figures.append(Figure(f"{stage}: {kind}", "us/message", values))
    notes = (
        "Wall less CPU is waiting: for smtp-sink's answers in `transport`, for the disk in `checkpoint`. With more "
        "delivery threads these waits overlap. The clock itself costs about a microsecond a message.",
    )
    return Part("stages", TITLE, figures=tuple(figures), notes=notes)
