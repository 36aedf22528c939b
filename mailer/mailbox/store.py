"""Messages on their way into the mailbox: the few steps that a campaign has to wait for."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby

from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from mailer.mailbox.packing import campaign_and_person, pack
from mailer.mailbox.trimming import trimming
from mailer.storage.database import Database
from mailer.storage.dialects import RowUpsert, is_postgresql
from mailer.storage.models import Campaign, MailboxArrival
from mailer.storage.steps.small_steps import run_steps
from transports.base import Message

_SHIFT = 20  # bits of an id below the milliseconds; half of them tell processes apart, and a row has fewer messages
_LATEST_TRIM = 1000  # messages after which a process trims, or a tenth of what is kept if that is less

TRIES = 3
_COLUMNS = ("id", "campaign_id", "caller_id", "received_at", "messages", "size", "packed")
_ADD = RowUpsert(MailboxArrival, _COLUMNS, lambda new: new)
_RELAXED = text("SET LOCAL synchronous_commit TO off")


class MailboxStore:
    """Takes messages, and keeps the last `keep` of all processes. Several threads may use it."""

    def __init__(self, db: Database, keep: int) -> None:
        self._db = db
        self._keep = keep
        self._next_id = 0
        self._numbering = threading.Lock()
        self._since_trim = 0
        self._trim_after = max(1, min(_LATEST_TRIM, keep // 10))
        self._caller = lru_cache(maxsize=64)(self._asked_caller)

    def add(self, messages: Sequence[Message]) -> None:
        """Keep these messages. Raises what the database raises. A loss of power may lose the last ones."""
        for campaign_id, theirs in groupby(messages, lambda message: campaign_and_person(message.id)[0]):
            self._add(campaign_id, list(theirs))
        self._trim(len(messages))

    def _add(self, campaign_id: str, messages: Sequence[Message]) -> None:
        """Try other ids where another process has had the same: once in a thousand moments that two share."""
        for tries_left in reversed(range(TRIES)):
            try:
                self._insert(campaign_id, messages)
                break
            except IntegrityError:
                if not tries_left:
                    raise

    def _insert(self, campaign_id: str, messages: Sequence[Message]) -> None:
        caller_id, packed = self._caller(campaign_id), pack(messages)
        size = sum(len(message.content) for message in messages)
        with self._db.write(durable=False) as connection:
            if is_postgresql(connection):
                connection.execute(_RELAXED)
            now = self._db.clock(connection)
            first = self._next_ids(now, len(messages))
            _ADD.run(connection, [(first, campaign_id, caller_id, now, len(messages), size, packed)])

    def _next_ids(self, now: int, count: int) -> int:
        """The first of so many ids, higher than those before. Another process in the same moment has others."""
        with self._numbering:
            first = max((now << _SHIFT) + (secrets.randbits(_SHIFT // 2) << _SHIFT // 2), self._next_id)
            self._next_id = first + count
        return first

    def _trim(self, added: int) -> None:
        self._since_trim += added
        if self._since_trim >= self._trim_after:
            self._since_trim = 0
            run_steps(trimming(self._db, self._keep))

    def _asked_caller(self, campaign_id: str) -> str:
        with self._db.read() as connection:
            return connection.scalar(select(Campaign.caller_id).where(Campaign.id == campaign_id)) or ""
