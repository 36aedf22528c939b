"""How numbers, times, states and outcomes are written for people, in the reader's language."""

from __future__ import annotations

import json

from flask import Blueprint
from flask_babel import format_decimal, format_timedelta, lazy_gettext

from mailer.campaigns.estimates.estimate import duration
from mailer.times import to_iso

WORDS = {
    "accepted": lazy_gettext("accepted"),
    "planning": lazy_gettext("planning"),
    "running": lazy_gettext("running"),
    "paused": lazy_gettext("paused"),
    "resting": lazy_gettext("resting"),
    "held": lazy_gettext("held"),
    "blocked": lazy_gettext("blocked"),
    "completed": lazy_gettext("completed"),
    "completed_with_issues": lazy_gettext("completed with issues"),
    "cancelled": lazy_gettext("cancelled"),
    "failed": lazy_gettext("failed"),
    "sent": lazy_gettext("sent"),
    "deferred": lazy_gettext("deferred"),
    "uncertain": lazy_gettext("uncertain"),
    "skipped": lazy_gettext("skipped"),
    "pending": lazy_gettext("not tried"),
    "planned": lazy_gettext("planned"),
    "rested": lazy_gettext("rests"),
    "went-on": lazy_gettext("goes on"),
    "resumed": lazy_gettext("resumed"),
    "retried": lazy_gettext("failed ones tried again"),
    "reconciled": lazy_gettext("reconciled with a relay's log"),
    "edited": lazy_gettext("text replaced"),
    "transferred": lazy_gettext("handed over"),
    "worker-lost": lazy_gettext("worker lost, its batch taken over"),
    "breaker-opened": lazy_gettext("transport does not work"),
    "breaker-closed": lazy_gettext("transport works again"),
    "complained": lazy_gettext("complaints"),
    "released": lazy_gettext("released"),
    "restored": lazy_gettext("restored from a backup"),
    "transport": lazy_gettext("transport does not work"),
    "quota": lazy_gettext("quota used up for the day"),
    "urgent": lazy_gettext("urgent"),
    "normal": lazy_gettext("normal"),
    "bulk": lazy_gettext("bulk"),
}
"""Each state of a campaign, each outcome, each event, each priority."""


def add_filters(blueprint: Blueprint) -> None:
    """Let the templates write `{{ 1234|number }}`, `{{ milliseconds|moment }}`, `|iso` and `{{ one.state|word }}`."""
    blueprint.add_app_template_filter(to_iso, "iso")
    blueprint.add_app_template_filter(moment, "moment")
    blueprint.add_app_template_filter(format_decimal, "number")
    blueprint.add_app_template_filter(word, "word")
    blueprint.add_app_template_filter(duration, "duration")
    blueprint.add_app_template_filter(minutes, "minutes")
    blueprint.add_app_template_filter(as_json, "as_json")


def as_json(value: object) -> str:
    """A query as JSON for people, its letters as they are; `tojson` would write `\\u00fc` for an ü."""
    return json.dumps(value, ensure_ascii=False)


def word(name: str) -> str:
    """A state or an outcome as a word; one that is not known stays what it is."""
    return str(WORDS.get(name, name.replace("_", " ")))


def moment(milliseconds: int) -> str:
    """A time to the minute, such as `2026-11-29 07:42 UTC`."""
    return to_iso(milliseconds)[:16].replace("T", " ") + " UTC"


def minutes(milliseconds: int) -> str:
    """A time span of milliseconds in words, such as `3 hours`."""
    return span(milliseconds // 1000)


def span(seconds: int) -> str:
    """A time span in words, such as `40 seconds` or `3 hours`."""
    return str(format_timedelta(seconds, threshold=1.5))
