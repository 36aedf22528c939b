"""Part 9: a relay that takes 20 ms to answer: what counts there is to keep its connections busy."""

from __future__ import annotations

from functools import partial

from bench import directory
from bench.contestants import Cost, has_nodemailer, nodemailer, postfix_tool
from bench.figures import Figure, Part, Ratio, in_turn
from bench.processes import smtp_sink
from bench.scale import Bench
from bench.service import serving
from bench.slow_relay import slow_relay

TITLE = "9. A relay that takes 20 ms to answer, over five connections"
SECONDS, CONNECTIONS = 0.02, 5
OURS, THEIRS = "mailer, 1 process", "Nodemailer, pool of 5"


def measure(bench: Bench) -> Part:
    """The service and Nodemailer in turn."""
    sink = postfix_tool("smtp-sink")
    if sink is None:
        return Part("distant", TITLE, notes=("Left out: there is no smtp-sink (Debian: postfix).",))
    count = bench.scale.slow_messages
    original = directory.create(bench.work / "few-users.db", count)
    with smtp_sink(sink, bench.work) as near, slow_relay(near, SECONDS) as port:
        contestants = {OURS: partial(_ours, bench, original, port)}
        if has_nodemailer():
            contestants[THEIRS] = partial(nodemailer, "pool", count // 4, CONNECTIONS, port)
        results = in_turn(bench.scale.rounds, contestants)
    figures = tuple(Figure(name, "messages/s", tuple(run.rate for run in runs)) for name, runs in results.items())
    part = Part("distant", TITLE, figures=figures)
    ratios = (Ratio(f"messages/s: {OURS} / {THEIRS}", part.figure(OURS).median / part.figure(THEIRS).median),)
    notes = (
        f"{count:,} recipients, a quarter of them for Nodemailer. Answers to commands that were sent together come "
        "together, 20 ms after them.",
    )
    return Part("distant", TITLE, ratios if THEIRS in results else (), figures, notes)


def _ours(bench: Bench, original: directory.Path, port: int) -> Cost:
    database = directory.copy(original, bench.work / "distant")
    url = f"smtp://127.0.0.1:{port}?connections={CONNECTIONS}"
    with serving(database, workers=1, transport=url) as service:
        return service.send(service.headers())
