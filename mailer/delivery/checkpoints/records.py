"""Everything that is recorded when outcomes are: who got what, and what it means for addresses and the campaign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from mailer.delivery import ledger
from mailer.delivery.checkpoints.failing import pause_if_failing
from mailer.delivery.checkpoints.outcomes import counted
from mailer.delivery.flight.recorder import Intent
from mailer.delivery.minutes import RecordedOutcomes
from mailer.delivery.tallies import answers
from mailer.delivery.tallies.domains import DomainTallies
from mailer.delivery.worklist import Claim, Result, address_outcomes
from mailer.storage.models import DeliveryStatus
from mailer.suppression import refused_addresses


@dataclass(frozen=True, slots=True)
class Records:
    """Writes it. `lease` is in ms; the next two are the settings of that name.

    `about_addresses`: what is answered is about the recipients' addresses, and not about one that stands for all.
    `bounces`: they are read, so that a message that was taken may still come back.
    """

    lease: int
    max_failure_rate: float
    suppress_after: int
    domains: DomainTallies = field(default_factory=DomainTallies)
    about_addresses: bool = True
    bounces: bool = False

    def write(
        self,
        connection: Connection,
        claim: Claim,
        results: Sequence[Result],
        intent: Intent,
        outcomes: RecordedOutcomes,
        *,
        now: int,
        untried: int,
    ) -> None:
        """Record `results` and who is attempted next, at `now` (ms since 1970). Raises `ledger.LeaseLost`."""
        counts = counted(results)
        outcomes.add(claim.campaign_id, now, counts)
        told = not counts.keys().isdisjoint(answers.TOLD)
        outcomes.tally(lambda connection: self._tally(connection, claim, results, told=told))
        # an outcome shows that a process did not die while sending, so the count of those that did begins anew
        takeovers = claim.takeovers if len(results) == counts.get(DeliveryStatus.UNCERTAIN, 0) else 0
        kept = {"lease": self.lease, "untried": untried, "takeovers": takeovers}
        written = ledger.record(connection, claim, results, intent, now=now, **kept)
        if self.about_addresses and not claim.dry_run:
            said = address_outcomes(written)
            limit, bounces = self.suppress_after, self.bounces
            refused_addresses.count(connection, claim.campaign_id, said, now, limit, bounces=bounces)
        if DeliveryStatus.FAILED in counts:
            pause_if_failing(connection, claim.campaign_id, self.max_failure_rate, now)

    def _tally(self, connection: Connection, claim: Claim, results: Sequence[Result], *, told: bool) -> None:
        if told:
            answers.write(connection, claim, results)
        self.domains.write(connection, claim, results)
