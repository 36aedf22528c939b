"""`mailer status`: how the service stands, from the database alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from mailer.campaigns.overview import OpenCampaign, Overview
from mailer.cli.database import open_database
from mailer.cli.failures import Failure
from mailer.cli.output import moment, print_fields, print_json, print_rows, spelled
from mailer.operation.standing import standing
from mailer.settings import Settings
from mailer.storage.workers import Worker
from mailer.times import to_iso

LOOK_SECONDS = 2.0  # between two looks
SHOWN = 20  # campaigns, unless as JSON
NEEDS_A_PERSON = 3


class NeedsAPerson(Failure):
    """Something does not mend itself."""

    exit_code = NEEDS_A_PERSON


@click.command()
@click.option("--watch", is_flag=True, help="Look again and again until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object; with --watch, one a line.")
def status(watch: bool, as_json: bool) -> None:
    """Show the engine, its workers, the queue, the pace, open campaigns and what stops them, from the database.

    The service need not run. Exit code 3 if something needs a person.
    """
    settings = Settings.from_env()
    with open_database() as db:
        while True:
            found = standing(db, settings)
            if watch and not as_json:
                click.clear()  # nothing where it is no terminal
            (_print_json if as_json else _print)(found.engine, found.seen, found.workers, found.needs_a_person)
            if not watch:
                break
            if not as_json:
                click.echo()
            time.sleep(LOOK_SECONDS)
    if found.needs_a_person:
        raise NeedsAPerson("; ".join(found.needs_a_person))


def _print_json(engine: str, seen: Overview, running: Sequence[Worker], wrong: Sequence[str]) -> None:
    breaker = seen.breaker
    print_json(
        {
            "at": to_iso(seen.now),
            "engine": engine,
            "workers": [spelled(asdict(one)) for one in running],
            "queue": {_camel(kind): asdict(waiting) for kind, waiting in seen.queue.items()},
            **spelled({"oldest_due_at": seen.oldest_due_at}),
            "dueByPriority": dict(seen.due_by_priority),
            "messagesPerMinute": seen.per_minute,
            "lastDay": seen.reported._asdict(),
            "openCampaigns": seen.open,
            "campaigns": [_campaign(one) for one in seen.campaigns],
            "transport": None
            if breaker is None
            else spelled({**asdict(breaker), "is_open": breaker.is_open(seen.now), "is_planned": breaker.is_planned}),
            "hold": None if seen.hold is None else spelled(asdict(seen.hold)),
            "sendWindow": seen.window,
            "failingTasks": dict(seen.failing),
            "needsAPerson": list(wrong),
        }
    )


def _campaign(one: OpenCampaign) -> dict[str, Any]:
    facts = spelled({**asdict(one), "left": one.left})
    return {"_id": facts.pop("id"), **facts}


def _camel(name: str) -> str:
    return next(iter(spelled({name: None})))


def _print(engine: str, seen: Overview, running: Sequence[Worker], wrong: Sequence[str]) -> None:
    print_fields(_fields(engine, seen, running))
    if running:
        click.echo()
        print_rows(("worker", "role", "engine", "version", "started", "seen", "doing"), map(_worker_row, running))
    if seen.campaigns:
        click.echo()
        headings = ("_id", "state", "priority", "planned", "done", "left", "time left", "reason")
        print_rows(headings, [_campaign_row(one) for one in seen.campaigns[:SHOWN]])
    for problem in wrong:
        click.echo(f"needs a person: {problem}")


def _fields(engine: str, seen: Overview, running: Sequence[Worker]) -> list[tuple[str, object]]:
    queue = ", ".join(_waiting(kind, waiting.batches, waiting.recipients) for kind, waiting in seen.queue.items())
    oldest = "-" if seen.oldest_due_at is None else f"{_duration((seen.now - seen.oldest_due_at) // 1000)} ago"
    resting = sum(one.state == "resting" for one in seen.campaigns)
    paused = sum(one.state == "paused" for one in seen.campaigns)
    return [
        ("at", moment(seen.now)),
        ("engine", engine),
        ("workers", f"{sum(one.alive for one in running)} alive"),
        ("queue", queue),
        ("due by priority", ", ".join(f"{count} {name}" for name, count in seen.due_by_priority.items()) or None),
        ("oldest due", oldest),
        ("pace", f"{seen.per_minute} messages a minute"),
        ("last 24 h", "{} bounced, {} complained".format(*seen.reported)),
        ("campaigns", f"{seen.open} open, {resting} of them resting, {paused} paused"),
        ("sending", f"{seen.hold}, by {seen.hold.by}" if seen.hold else "not held"),
        *([("send window", seen.window)] if seen.window else []),
        ("transport", _transport(seen)),
        *((name, problem) for name, problem in seen.failing.items()),
    ]


def _waiting(kind: str, batches: int, recipients: int) -> str:
    shown = f"{batches} {kind.replace('_', ' ')}"
    return f"{shown} ({recipients} recipients)" if recipients else shown


def _transport(seen: Overview) -> str:
    if seen.breaker is None:
        return "ok"
    state = "open" if seen.breaker.is_open(seen.now) else "half-open"
    if seen.breaker.is_planned:
        return seen.breaker.reason
    return f"{state} since {moment(seen.breaker.since)}: {seen.breaker.reason}"


def _worker_row(one: Worker) -> Sequence[object]:
    seen = moment(one.seen_at) if one.alive else f"{moment(one.seen_at)} (gone)"
    where = f"{one.host}:{one.pid}"
    return (where, one.role, one.engine, one.version, moment(one.started_at), seen, one.doing or None)


def _campaign_row(one: OpenCampaign) -> Sequence[object]:
    time_left = None if one.seconds_left is None else _duration(one.seconds_left)
    return (one.id, one.state, one.priority, one.planned, one.done, one.left, time_left, one.reason)


def _duration(seconds: int) -> str:
    """Two units at most, so that it can be read at a glance: `3 h 20 min`."""
    if seconds < 60:
        return f"{max(seconds, 0)} s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86_400
    if hours == 0:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60} min" if days == 0 else f"{days} d {hours % 24} h"
