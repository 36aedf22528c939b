"""What is written down of the keys that sign: never a key itself, but its fingerprint.

Nothing is written for a message. Planning a campaign counts its recipients, so a count is the most that a key can have
signed. The process that sends a campaign with another key than it was planned with counts who is left. When a key last
signed is written with the end of a batch, once an hour.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, case, func, or_, select, update

from mailer.campaigns.draft import compile_campaign
from mailer.messages.links import Links
from mailer.messages.template import Template
from mailer.settings import Settings
from mailer.storage.database import Database
from mailer.storage.database_errors import DATABASE_ERRORS
from mailer.storage.dialects import NewRow, Upsert
from mailer.storage.models import Batch, Campaign, SigningKey

HOUR = 60 * 60 * 1000  # ms: how exact times are

_LAST = SigningKey.last_signed_at
_KNOWN = Upsert(SigningKey, lambda new: new.on_conflict_do_nothing())


def _counting(new: NewRow) -> Any:
    latest = case((new.excluded.last_signed_at < _LAST, _LAST), else_=new.excluded.last_signed_at)
    counted = {"messages": SigningKey.messages + new.excluded.messages, "last_signed_at": latest}
    return new.on_conflict_do_update(index_elements=["fingerprint"], set_=counted)


def _using(new: NewRow) -> Any:
    long_ago = or_(SigningKey.last_used_at.is_(None), SigningKey.last_used_at < new.excluded.last_used_at - HOUR)
    changed = {"last_used_at": new.excluded.last_used_at}
    return new.on_conflict_do_update(index_elements=["fingerprint"], set_=changed, where=long_ago)


_COUNT, _USE = Upsert(SigningKey, _counting), Upsert(SigningKey, _using)


class SigningKeys:
    """The keys of this process. `fingerprints` are those in the settings, first of the one that signs.

    With `signs` False this process signs no links of recipients, as in staging, so it counts none.
    """

    def __init__(self, db: Database, fingerprints: Sequence[str], *, signs: bool = True) -> None:
        self._db = db
        self.fingerprints = tuple(fingerprints)
        self._signs = signs
        self._touched = 0

    def register(self) -> None:
        """Write down that these keys are known. While the database takes no writes, it is left for another start."""
        with suppress(*DATABASE_ERRORS), self._db.write() as connection:
            now = self._db.clock(connection)
            _KNOWN.run(connection, [_row(one, now) for one in self.fingerprints])

    def planned(self, connection: Connection, recipients: int, now: int) -> dict[str, str]:
        """Count a campaign with so many recipients that is planned at `now` (ms since 1970), in the same transaction.

        Returns what the campaign's row keeps of it.
        """
        if not self._signs or not recipients:
            return {}
        self._count(connection, recipients, now)
        return {"signing_key": self.fingerprints[0]}

    def template_of(self, settings: Settings, campaign_id: str) -> Template:
        """The compiled message of a campaign that this process begins to send. Raises what `compile_campaign` does."""
        self._about_to_send(campaign_id)
        return compile_campaign(self._db, settings, campaign_id)

    def _about_to_send(self, campaign_id: str) -> None:
        """Count who is left of the campaign for the key that signs here, unless it counts for this key already."""
        mine = self.fingerprints[0]
        known = select(Campaign.signing_key).where(Campaign.id == campaign_id)
        with self._db.read() as connection:
            if not self._signs or connection.scalar(known) == mine:
                return
        other = or_(Campaign.signing_key.is_(None), Campaign.signing_key != mine)
        changed = update(Campaign).where(Campaign.id == campaign_id, other).values(signing_key=mine)
        left = func.sum(Batch.planned - Batch.sent - Batch.failed - Batch.skipped)
        with self._db.write() as connection:
            if connection.execute(changed).rowcount:
                open_ones = connection.scalar(select(left).where(Batch.campaign_id == campaign_id))
                self._count(connection, max(0, int(open_ones or 0)), self._db.clock(connection))

    def ended_batch(self, connection: Connection, now: int) -> None:
        """Write down, once an hour, that the key still signs at `now` (ms since 1970)."""
        if self._signs and now - self._touched > HOUR:
            self._touched = now
            self._count(connection, 0, now)

    def used(self, links: Links, token: str) -> None:
        """Write down, once an hour, that a recipient used a link with this token. Their request fails for nothing."""
        fingerprint = links.signed_by(token)
        if fingerprint is None:
            return
        with suppress(*DATABASE_ERRORS), self._db.write(durable=False) as connection:
            now = self._db.clock(connection)
            _USE.run(connection, {**_row(fingerprint, now), "last_used_at": now})

    def _count(self, connection: Connection, messages: int, now: int) -> None:
        row = _row(self.fingerprints[0], now)
        _COUNT.run(connection, {**row, "messages": messages, "last_signed_at": now})


def _row(fingerprint: str, now: int) -> dict[str, Any]:
    nothing = {"last_signed_at": None, "messages": 0, "last_used_at": None}
    return {"fingerprint": fingerprint, "known_at": now, **nothing}
