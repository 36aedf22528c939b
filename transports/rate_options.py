"""The options of a URL that limit how much is sent: `rate=`, `quota=`, `warmup=`, and where they are counted."""

from __future__ import annotations

import re
from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo

from limits import RateLimitItem, parse_many

from transports.base import TransportConfigError
from transports.options import Options
from transports.shared_limit import SharedLimit
from transports.slots import Limits, Warmup

OPTIONS = ("quota", "quota_zone", "rate", "rate_storage", "warmup")
SECRET = ("rate_storage",)  # may hold a password
SHOWN = tuple(name for name in OPTIONS if name not in SECRET)
QUOTA = re.compile(r"([1-9]\d{0,11})/day", re.ASCII)
WARMUP = re.compile(r"([1-9]\d{0,11})/day\*(\d{1,2}(?:\.\d{1,3})?)", re.ASCII)


def read_limits(options: Options, key: str) -> Limits:
    """The limits that the options set, with an empty `text` if they set none. Raises `TransportConfigError`."""
    rate, quota = options.text("rate"), options.text("quota")
    warmup = _warmup(options)
    if warmup and not (rate or quota):
        raise TransportConfigError("warmup is given without rate or quota, at which it would end")
    if options.text("quota_zone") and not (quota or warmup):
        raise TransportConfigError("quota_zone is given without quota or warmup")
    given = [(name, options.text(name)) for name in ("rate", "quota", "warmup", "quota_zone")]
    text = ", ".join(f"{name} {value}" for name, value in given if value)
    zone = _zone(options.text("quota_zone"))
    return Limits(key, interval_of(rate) if rate else 0.0, _quota(quota), warmup, zone, text)


def read_storage(options: Options, key: str) -> SharedLimit | None:
    """The limit that `rate_storage` counts, if that is given. Raises `TransportConfigError`."""
    text, storage = options.text("rate"), options.text("rate_storage")
    if storage and not text:
        raise TransportConfigError("rate_storage is given without rate")
    return SharedLimit(rate_item(text), storage, key) if storage else None


def interval_of(rate: str) -> float:
    """The milliseconds between two messages at a rate such as `50/second`. Raises `TransportConfigError`."""
    item = rate_item(rate)
    return 1000 * item.get_expiry() / item.amount


def rate_item(text: str) -> RateLimitItem:
    """`N/second` (minute, hour, day; `N per 10 seconds`). Raises `TransportConfigError` for anything else."""
    try:
        [item] = parse_many(text)  # `parse` would leave out a second one
    except ValueError as error:
        raise TransportConfigError(f"{text!r} is not a rate such as 50/second") from error
    if item.amount < 1:
        raise TransportConfigError(f"{text!r} is not a rate such as 50/second")
    return item


def _quota(text: str) -> int | None:
    if not text:
        return None
    match = QUOTA.fullmatch(text)
    if match is None:
        raise TransportConfigError(f"{text!r} is not a quota such as 10000/day")
    return int(match[1])


def _warmup(options: Options) -> Warmup | None:
    text = options.text("warmup")
    if not text:
        return None
    match = WARMUP.fullmatch(text)
    if match is None or not 1 < float(match[2]) <= 10:
        raise TransportConfigError(f"{text!r} is not a warm-up such as 200/day*2, with a factor over 1 and up to 10")
    return Warmup(int(match[1]), float(match[2]))


def _zone(name: str) -> tzinfo:
    if not name:
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError) as error:
        raise TransportConfigError(f"quota_zone {name!r} is not a time zone such as Europe/Vienna") from error
