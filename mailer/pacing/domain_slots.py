"""Rates of single recipients' domains (`MAILER_DOMAIN_RATES`), kept over all processes by the database.

A batch is for one such domain or for all other addresses. A worker that claims a batch of a domain takes the slots of
half a second with it, sends so many messages and gives the batch back. A domain without a slot is passed over, so that
nobody waits for it who could send something else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Connection, select

from mailer.pacing import shared_slots
from mailer.storage.dialects import Statement
from mailer.storage.models import SlotCount
from transports.slots import Block, Limits, hand_out

GROUP = 500.0  # ms; so long a domain waits after the messages of one claim
MAX_PER_CLAIM = 50  # messages in one claim
STALE = 10_000.0  # ms by which a worker's time may be old, as it was read before the worker waited for the count
_PREFIX = "domain "
# every claim runs it
_KNOWN = Statement(lambda _kind: select(SlotCount.key, SlotCount.next_at_us).where(SlotCount.key.startswith(_PREFIX)))


class DomainSlots:
    """The rates: the milliseconds between two messages, by the domain. Times are ms since 1970."""

    def __init__(self, rates: Mapping[str, float]) -> None:
        self._rates = rates

    @property
    def domains(self) -> Sequence[str]:
        """The domains that have a rate, for which campaigns get batches of their own."""
        return sorted(self._rates)

    def register(self, connection: Connection, domains: Sequence[str]) -> None:
        """Note that there are batches for these domains. They are found as long as they exist, also without a rate."""
        for domain in domains:
            shared_slots.add(connection, _PREFIX + domain)

    def waits(self, connection: Connection, now: int) -> Mapping[str, float]:
        """In how many ms each domain that has batches has its next slot; 0: now, or it has no rate any more."""
        known = {key.removeprefix(_PREFIX): next_at / 1000 for key, next_at in _KNOWN.rows(connection, {})}
        return {domain: self._wait(domain, next_at, now) for domain, next_at in known.items()}

    def take(self, connection: Connection, domain: str, now: int) -> int | None:
        """Take the slots of one claim: how many messages may go. 0: there is no slot. None: the domain has no rate."""
        interval = self._rates.get(domain)
        if interval is None:
            return None
        key = _PREFIX + domain
        count = shared_slots.lock(connection, key)
        if self._wait(domain, count.next_at, now):
            return 0
        just_ended = Block(0.0, 0, (count.next_at - now) / 1000, 0)  # so that a worker that comes late costs no slots
        wanted = max(1, min(MAX_PER_CLAIM, int(GROUP / interval)))
        begun = replace(count, next_at=min(count.next_at, now))
        count, block = hand_out(Limits(key, interval), begun, now, wanted, just_ended)
        shared_slots.write(connection, key, count)
        return block.count

    def _wait(self, domain: str, next_at: float, now: int) -> float:
        longest = max(GROUP, self._rates.get(domain, 0.0)) + STALE
        # what is much later than after one group was recorded with another rate, or by a clock that was wrong
        return max(0.0, next_at - now) if domain in self._rates and next_at - now <= longest else 0.0
