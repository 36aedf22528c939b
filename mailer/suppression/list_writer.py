"""Suppression lists as files: written so that they can be read again. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar, Protocol

from mailer.files.spreadsheets import csv_line


class Listed(Protocol):
    """What stands in a list: a row's columns and its cells, None for an empty one."""

    COLUMNS: ClassVar[tuple[str, ...]]

    def cells(self) -> tuple[str | int | None, ...]:
        """In the order of the columns."""


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """One who has unsubscribed; `unsubscribed_at` in ms since 1970. Without `user_id`: whoever comes to the address."""

    COLUMNS: ClassVar[tuple[str, ...]] = ("_id", "address", "unsubscribedAt")
    user_id: str | None
    address: str | None
    unsubscribed_at: int

    def cells(self) -> tuple[str | int | None, ...]:
        """As the columns have it, times in ISO 8601."""
        return self.user_id, self.address, iso(self.unsubscribed_at)


@dataclass(frozen=True, slots=True)
class SuppressedAddress:
    """An address not written to since `suppressed_at` (ms): so many campaigns had it refused, or it is blocked.

    `reply` is the last refusal's own words, `rule` by what it was taken to be about the address; `users` of the
    directory have the address. `blocked_by` and `reason` are those of an operator who has blocked it.
    """

    COLUMNS: ClassVar[tuple[str, ...]] = (
        *("address", "suppressedAt", "campaigns", "rule", "reply", "blockedBy", "reason", "users"),
    )
    address: str
    suppressed_at: int
    campaigns: int
    rule: str
    reply: str
    blocked_by: str | None
    reason: str | None
    users: int

    def cells(self) -> tuple[str | int | None, ...]:
        """As the columns have it, times in ISO 8601."""
        refused = (self.campaigns, self.rule, self.reply)
        return self.address, iso(self.suppressed_at), *refused, self.blocked_by, self.reason, self.users


def write_csv(listed: Iterable[Listed], kind: type[Listed] = Unsubscribed, *, raw: bool = False) -> Iterator[str]:
    """Lines of RFC 4180 under the heading of `kind`; times are ISO 8601 in UTC.

    A formula gets a `'` before it unless they are `raw`.
    """
    yield csv_line(kind.COLUMNS)
    for one in listed:
        yield csv_line(("" if cell is None else str(cell) for cell in one.cells()), raw=raw)


def write_ndjson(listed: Iterable[Listed], kind: type[Listed] = Unsubscribed, *, raw: bool = False) -> Iterator[str]:  # noqa: ARG001
    """A JSON object a line, with the columns of the CSV; `raw` or not, for nobody takes it for a formula."""
    for one in listed:
        yield json.dumps(dict(zip(kind.COLUMNS, one.cells(), strict=True))) + "\n"


def iso(milliseconds: int) -> str:
    """2015-01-01T00:00:00.000Z."""
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"
