"""A campaign's outcomes as a file: CSV for spreadsheets, NDJSON for programs. Streamed, in the order of user ids."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields
from datetime import UTC, datetime

from mailer.campaigns.progress import Recorded, deliveries
from mailer.files.spreadsheets import csv_line
from mailer.storage.database import Database

PAGE = 1000
NAMES = {"user_id": "userId", "updated_at": "updatedAt", "next_attempt_at": "nextAttemptAt"}  # as the API has them
COLUMNS = tuple(NAMES.get(field.name, field.name) for field in fields(Recorded))
TIMES = ("updated_at", "next_attempt_at")


def records(db: Database, campaign_id: str, status: str | None = None) -> Iterator[Recorded]:
    """All outcomes of a campaign, or those with `status`: read page by page, each by itself consistent."""
    after: str | None = None
    while page := deliveries(db, campaign_id, status=status, after=after, count=PAGE):
        yield from page
        after = page[-1].user_id


def as_csv(recorded: Iterable[Recorded]) -> Iterator[str]:
    """Lines of RFC 4180 with a header; times are ISO 8601 in UTC. A formula gets a `'` before it."""
    yield csv_line(COLUMNS)
    for record in recorded:
        yield csv_line("" if value is None else str(value) for value in _values(record).values())


def as_ndjson(recorded: Iterable[Recorded]) -> Iterator[str]:
    """A JSON object a line, with the columns of the CSV; what is absent is null."""
    for record in recorded:
        yield json.dumps(_values(record)) + "\n"


def _values(record: Recorded) -> dict[str, str | int | None]:
    values = asdict(record) | {name: _iso(getattr(record, name)) for name in TIMES}
    return {NAMES.get(name, name): value for name, value in values.items()}


def _iso(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
