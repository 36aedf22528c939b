"""The settings in force, for operators: each as it would be written, without secrets, and where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from mailer.dns_records.alignment import alignment_warnings
from mailer.engines.celery import broker
from mailer.errors import ConfigError
from mailer.settings import Settings, secret_file_warnings, unknown_settings
from mailer.settings.advice import setting_warnings
from mailer.settings.names import PREFIX
from mailer.settings.send_window import SendWindow
from mailer.settings.table import DURATIONS, FILES, SECRET
from mailer.storage.database import place_of
from transports.registry import shown_url

HIDDEN = "hidden"
DEFAULT = "default"
GIVEN = "program"  # by who made the service in Python, as tests do
UNITS = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))


@dataclass(frozen=True, slots=True)
class SettingInForce:
    """One setting: its variable, its value as text, and its origin: `environment`, `.env`, `file`, `default`.

    `secret`: nothing or not all of the value is shown.
    """

    name: str
    value: str
    origin: str
    secret: bool


def settings_in_force(settings: Settings, origins: Mapping[str, str]) -> list[SettingInForce]:
    """Every setting, by its name. `origins` is what `setting_origins` gave when the settings were read."""
    return [
        SettingInForce(
            f"{PREFIX}{one.name.upper()}",
            _shown(one.name, getattr(settings, one.name)),
            origins.get(one.name, DEFAULT if getattr(settings, one.name) == one.default else GIVEN),
            one.name in SECRET,
        )
        for one in sorted(fields(settings), key=lambda one: one.name)
    ]


def settings_warnings(settings: Settings) -> tuple[str, ...]:
    """What is probably a mistake in them, a sentence each, as `mailer config check` says it."""
    probable = (*setting_warnings(settings), *alignment_warnings(settings))
    try:
        unknown = tuple(map(str, unknown_settings()))
        return (*unknown, *secret_file_warnings(), *probable)
    except ConfigError as error:  # `.env` has changed since the start
        return (str(error), *probable)


def _shown(name: str, value: Any) -> str:
    if not value and value is not False and value != 0:
        return ""
    if name in SECRET:
        return _without_secret(name, value)
    if name in FILES:
        return f"{len(value)} characters"
    if name in DURATIONS:
        return _duration(value)
    return _plain(value)


def _without_secret(name: str, value: Any) -> str:
    if name == "transport":
        return shown_url(value)
    if name in ("database_url", "listen_url"):
        return place_of(value)
    return broker.shown(value) if name == "broker_url" else HIDDEN


def _duration(seconds: int) -> str:
    if seconds == 0:
        return "0s"
    each, unit = next((each, unit) for each, unit in UNITS if seconds % each == 0)
    return f"{seconds // each}{unit}"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, SendWindow):
        return value.text
    if isinstance(value, tuple):
        return ", ".join(map(_entry, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _entry(one: Any) -> str:
    """An entry of a list; that of a domain's rate is a pair of the domain and the ms between two messages."""
    return f"{one[0]}={1000 / one[1]:g}/second" if isinstance(one, tuple) else str(one)
