"""What happened to one campaign from its acceptance on, with what stopped the service meanwhile."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from mailer.campaigns.progress import Progress
from mailer.storage.database import Database
from mailer.timeline.events import Happened, Kind, first_owner, latest, of_campaign
from mailer.times import to_iso

_COUNTS = ("recipients", "sent", "skipped", "tries")
_NAMES = {"held_by": "heldBy"}
FIRST = 0  # the number of the acceptance, which stands in the campaign's own row


def timeline(db: Database, one: Progress, *, after: int | None = None, count: int = 1000) -> list[Happened]:
    """At most `count` events of the campaign that `one` shows, in order; `after` is the number of the last one before.

    Events that are older than their retention are left out, but for the acceptance.
    """
    with db.read() as connection:
        found = of_campaign(connection, one.id, one.created_at, one.finished_at, after=after or FIRST, count=count)
        first = [_accepted(connection, one)] if after is None else []
    return [*first, *found][:count]


def _accepted(connection: Connection, one: Progress) -> Happened:
    """The event with which every campaign begins. It has no row of its own, so that accepting writes none."""
    by = first_owner(connection, one.id, one.caller_id)
    return Happened(FIRST, one.created_at, one.id, Kind.ACCEPTED, {"by": by})


def details(event: Happened) -> dict[str, Any]:
    """The details with times as ISO 8601, and names as the API has them."""
    told = {_NAMES.get(name, name): value for name, value in event.details.items() if name != "made_at"}
    return told | ({"since": to_iso(told["since"])} if "since" in told else {})


def in_words(event: Happened) -> str:
    """The details of an event for a line of text, without its kind, such as `by ann` or `250 recipients`."""
    told = event.details
    lost = event.kind == Kind.WORKER_LOST
    words = [f"{'taken over by' if lost else 'by'} {told['by']}"] if "by" in told else []
    words += [f"from {told['from']} to {told['to']}"] if "from" in told else []
    words += [f"version {told['version']}"] if "version" in told else []
    words += [f"batch {told['batch']}"] if "batch" in told else []
    words += [f"since {to_iso(told['since'], precision='seconds')}"] if "since" in told else []
    words += [_counted(told[name], name, in_hand=lost) for name in _COUNTS if name in told]
    words += [str(told[name]) for name in ("reason", "limit") if name in told]
    return "; ".join(words)


def _counted(count: int, name: str, *, in_hand: bool) -> str:
    """Such as `1 recipient` or `3 tries`. Of whom a lost worker had `in_hand`, its flight record may know all."""
    one = {"recipients": "recipient", "tries": "try"}.get(name, name) if count == 1 else name
    return " ".join([str(count), one, *(["in hand"] if in_hand else [])])


def everything(db: Database, **wanted: Any) -> list[Happened]:
    """What happened to the service and to all campaigns, the latest first, as `timeline.events.latest` selects it."""
    with db.read() as connection:
        return latest(connection, **wanted)
