"""`mailer users sync`: the users of a Rocket.Chat workspace taken over into the directory."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import click

from mailer.cli.database import open_database
from mailer.cli.failures import Failure, Misuse
from mailer.cli.output import moment, print_fields, print_json, print_notes, printable, spelled
from mailer.ownership.leaving import Leaving
from mailer.settings import Settings
from mailer.settings.readers import is_http_address
from mailer.storage.scheduled_tasks import TaskRecord
from mailer.workspace.scheduled_sync import RARE, SyncTask


@click.command()
@click.option("--workspace", "url", metavar="URL", help="The Rocket.Chat workspace. Default: MAILER_WORKSPACE_URL.")
@click.option("--status", is_flag=True, help="Show what came of the last sync, and do none; exit code 1 if it failed.")
@click.option("--json", "as_json", is_flag=True, help="Print the counts, or the status, as JSON.")
def sync(url: str | None, status: bool, as_json: bool) -> None:
    """Take over the users of a Rocket.Chat workspace, all at once or not at all.

    It calls the workspace as MAILER_WORKSPACE_USER_ID with MAILER_WORKSPACE_TOKEN, who must see everybody's address
    (view-full-other-user-info). Users it no longer has become inactive; nobody who has unsubscribed is subscribed
    again. A run that was cut off goes on where it was. The service does the same by itself with MAILER_SYNC_EVERY.
    """
    settings = _settings(url)
    with open_database() as db:
        task = SyncTask(db, settings)
        if status:
            _print_status(settings, task.record(), as_json)
        else:
            _print_result(_run(settings, task), as_json)


def _settings(url: str | None) -> Settings:
    settings = Settings.from_env()
    url = url or settings.workspace_url
    if not is_http_address(url):
        raise Misuse("--workspace or MAILER_WORKSPACE_URL: not an http or https address")
    return replace(settings, workspace_url=url)


def _run(settings: Settings, task: SyncTask) -> Mapping[str, Any]:
    if not settings.workspace_user_id or not settings.workspace_token:
        raise Misuse("MAILER_WORKSPACE_USER_ID and MAILER_WORKSPACE_TOKEN are needed")
    with click.progressbar(length=1, label="reading", file=sys.stderr) as bar:

        def progress(read: int, total: int) -> None:
            bar.length = max(1, total)
            bar.update(read - bar.pos)

        return asdict(task.run(threading.Event(), progress))


def _print_result(result: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(spelled(result))
    else:
        click.echo(f"users: {_listed(result)}")
        _print_problems(result)
        paused, ongoing, waiting = (
            tuple(result.get(f"{name}_campaigns", ())) for name in ("paused", "ongoing", "waiting")
        )
        print_notes(Leaving(paused, ongoing, waiting=waiting).notes())


def _print_status(settings: Settings, record: TaskRecord | None, as_json: bool) -> None:
    if as_json:
        print_json(None if record is None else spelled(asdict(record)))
    elif record is None:
        click.echo("never run")
    else:
        print_fields(_status_fields(record, scheduled=settings.sync_every is not None))
        _print_problems(record.result or {})
    if record is not None and record.error is not None:
        raise Failure("the last sync failed")


def _status_fields(record: TaskRecord, *, scheduled: bool) -> list[tuple[str, Any]]:
    fields: list[tuple[str, Any]] = [("running since", moment(record.running_since)), ("done", moment(record.done_at))]
    fields.append(("users", None if record.result is None else _listed(record.result)))
    if record.error is not None:
        failed = f"{moment(record.failed_at)}, {record.failures} in a row"
        fields += [("failed", failed), ("error", record.error)]
    return [*fields, ("next", moment(record.due_at) if scheduled else None)]


def _listed(result: Mapping[str, Any]) -> str:
    counts = {name: count for name, count in result.items() if isinstance(count, int)}
    shown = {name.replace("_", " "): count for name, count in counts.items() if count or name not in RARE}
    return ", ".join(f"{count} {name}" for name, count in shown.items())


def _print_problems(result: Mapping[str, Any]) -> None:
    for user_id, field, reason in result.get("problems", ()):
        click.echo(f"malformed: {printable(user_id)}, field {printable(field)}: {reason}")
