"""`mailer users sync`: the directory brought in step with a workspace."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

import click

from mailer.cli.failures import Misuse
from mailer.cli.output import print_json
from mailer.cli.storage import open_database
from mailer.rocketchat import Workspace
from mailer.settings import Settings
from mailer.sync import sync_users

SPOOL = Path("instance/sync.ndjson")


@click.command()
@click.option("--workspace", "url", metavar="URL", help="The Rocket.Chat workspace. Default: MAILER_WORKSPACE_URL.")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
def sync(url: str | None, as_json: bool) -> None:
    """Take over the users of a Rocket.Chat workspace, all at once or not at all.

    It calls the workspace as MAILER_WORKSPACE_USER_ID with MAILER_WORKSPACE_TOKEN, who must see everybody's address
    (view-full-other-user-info). Users it no longer has become inactive; nobody who has unsubscribed is subscribed
    again. A run that was cut off goes on where it was.
    """
    workspace = _workspace(url)
    try:
        with open_database() as db, click.progressbar(length=1, label="reading", file=sys.stderr) as bar:

            def progress(read: int, total: int) -> None:
                bar.length = max(1, total)
                bar.update(read - bar.pos)

            counts = asdict(sync_users(db, workspace, SPOOL, progress=progress))
    finally:
        workspace.close()
    if as_json:
        print_json(counts)
    else:
        click.echo("users: " + ", ".join(f"{count} {name}" for name, count in counts.items()))


def _workspace(url: str | None) -> Workspace:
    settings = Settings.from_env()
    url = url or settings.workspace_url
    if urlsplit(url).scheme not in ("http", "https"):
        raise Misuse("--workspace or MAILER_WORKSPACE_URL: neither http:// nor https://")
    if not settings.workspace_user_id or not settings.workspace_token:
        raise Misuse("MAILER_WORKSPACE_USER_ID and MAILER_WORKSPACE_TOKEN are needed")
    return Workspace(url, settings.workspace_user_id, settings.workspace_token)
