"""Waiting for a campaign's end: a progress bar on a terminal; elsewhere a line when it is held up or goes on."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import click
import requests

from mailer.cli.answers import Json, Refused
from mailer.cli.client import Client
from mailer.cli.failures import Failure, Interrupted, unanswered
from mailer.cli.output import printable

POLL_SECONDS = 0.5
PAUSE_SECONDS = 2.0  # before a service that did not answer is asked again
PASSING = (429, 502, 503, 504)
AT_REST = {"completed", "completed_with_issues", "cancelled", "paused", "failed"}  # ended, or waiting for a person
HELD_UP = {"held", "blocked", "resting", "paused", "cancelling"}  # shown as they occur, with the reason
COUNTED = ("sent", "failed", "deferred", "uncertain", "skipped")
WIDTH = 20

Show = Callable[[Json], None]
Look = Callable[[], Json]


def watch(client: Client, campaign_id: str, patience: float = 0) -> Json:
    """The campaign at its end, or where it waits for a person. Ctrl-C ends the watching, and never the campaign.

    A service that is away or busy is asked again for `patience` seconds, counted from its last answer.
    """
    goes_on = f"the campaign goes on; `mailer campaigns cancel {campaign_id}` ends it"
    try:
        look = _patient(lambda: client.campaign(campaign_id), patience)
        campaign = _watch_on_a_terminal(look) if sys.stderr.isatty() else _follow(look)
    except KeyboardInterrupt:
        click.echo(err=True)
        raise Interrupted(goes_on) from None
    except requests.RequestException as error:
        raise Failure(f"{unanswered(error)}; {goes_on}") from error
    return campaign


def _patient(look: Look, patience: float) -> Look:
    def again_and_again() -> Json:
        ends = time.monotonic() + patience
        while True:
            try:
                return look()
            except (requests.RequestException, Refused) as error:
                lasting = isinstance(error, Refused) and error.status not in PASSING
                if lasting or time.monotonic() >= ends:
                    raise
            time.sleep(PAUSE_SECONDS)

    return again_and_again


def _watch_on_a_terminal(look: Look) -> Json:
    options: dict[str, Any] = {"length": 1, "width": WIDTH, "item_show_func": counts_shown}
    with click.progressbar(**options, update_min_steps=0, file=sys.stderr) as bar:  # shown while nothing moves, too

        def show(campaign: Json) -> None:
            bar.length = max(1, campaign["planned"])
            bar.update(campaign["planned"] - campaign["pending"] - bar.pos, campaign)

        return _follow(look, show)


def _follow(look: Look, show: Show = lambda _campaign: None) -> Json:
    said: str | None = None
    while True:
        campaign = look()
        why = why_it_stands_still(campaign)
        if why != said:
            _say(why or "it goes on")
            said = why
        show(campaign)
        if campaign["state"] in AT_REST:
            return campaign
        time.sleep(POLL_SECONDS)


def why_it_stands_still(campaign: Json) -> str | None:
    """`state: reason` where nothing is being sent, else None."""
    if campaign["state"] not in HELD_UP:
        return None
    reason = campaign.get("reason")
    return f"{campaign['state']}: {printable(reason)}" if reason else str(campaign["state"])


def _say(line: str) -> None:
    """A line of its own, above the bar where there is one."""
    click.echo(f"\r\x1b[K{line}" if sys.stderr.isatty() else line, err=True)


def counts_shown(campaign: Json | None) -> str | None:
    """What the bar says beside itself: how many of each outcome, and the state where it is not the usual one."""
    if campaign is None:
        return None
    shown = [f"{campaign[name]} {name}" for name in COUNTED if campaign[name] or name == "sent"]
    return ", ".join([*shown, *([campaign["state"]] if campaign["state"] in HELD_UP else [])])
