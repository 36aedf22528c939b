"""One batch from claim to done."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import TypeVar

from sqlalchemy.exc import OperationalError
from typing_extensions import override

from mailer.addresses import Mailbox
from mailer.ledger import LeaseLost
from mailer.links import Links
from mailer.models import DeliveryStatus
from mailer.outbox import Checkpoint, Outbox, boot_time
from mailer.rendering import Draft, Template, compile_message
from mailer.retry import next_attempt, uncertain_again
from mailer.settings import Settings
from mailer.worklist import Claim, Entry, Result
from transports.base import Message, Outcome, Status, Transport, TransportUnavailable

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 1.0  # between two tries to reach a database that is away

T = TypeVar("T")


class Hold:
    """A claim and until when it is surely ours, by this machine's clock, which goes on while a process is stopped."""

    def __init__(self, claim: Claim, lease: int, since: float) -> None:
        self.claim = claim
        self._lease = lease / 1000
        self.renew(since)

    def renew(self, since: float) -> None:
        """The database gave another lease, which began at `since` or later."""
        self._ends = since + self._lease

    def verify(self) -> None:
        """Raise `LeaseLost` when the lease may be over."""
        if boot_time() >= self._ends:
            raise LeaseLost


class WhileHeld(Iterator[Message]):
    """Messages, given out only while the batch is surely ours. Raises `LeaseLost`.

    Also at their end: a transport asks for more while the last ones it has drawn are still to be written.
    """

    def __init__(self, hold: Hold, messages: Iterator[Message]) -> None:
        self._hold = hold
        self._messages = messages

    @override
    def __next__(self) -> Message:
        self._hold.verify()
        return next(self._messages)


class Deliverer:
    """Runs batches, one a call; safe in several threads, which share the transport."""

    def __init__(self, outbox: Outbox, transport: Transport, links: Links, settings: Settings) -> None:
        self._outbox = outbox
        self._transport = transport
        self._links = links
        self._settings = settings
        self._held: dict[int, Hold] = {}
        self._template = lru_cache(maxsize=8)(self._compile)
        self._chance = 0.5

    def run_next(self, stopping: Callable[[], bool]) -> bool:
        """Deliver the batch that is due first; False: none is. `stopping()` ends it after the checkpoint in hand."""
        since = boot_time()
        claim = self._outbox.claim()
        if claim is None:
            return False
        self._chance = random.random()  # noqa: S311 - jitter; one draw a batch keeps its retries together
        hold = self._held[threading.get_ident()] = Hold(claim, self._outbox.lease, since)
        try:
            self._deliver(hold, stopping)
        except LeaseLost:
            log.warning("campaign %s batch %d: lease lost, left to another worker", claim.campaign_id, claim.number)
        finally:
            del self._held[threading.get_ident()]
        return True

    def heartbeat(self) -> None:
        """Hold every batch in hand for another lease; a send may take longer than one."""
        for hold in list(self._held.values()):
            try:
                hold.verify()
                hold.renew(self._outbox.extend(hold.claim))
            except LeaseLost:
                continue  # the delivering thread will find out by itself, and must not be told that it holds on

    def _deliver(self, hold: Hold, stopping: Callable[[], bool]) -> None:
        claim = hold.claim
        todo: Sequence[Entry] = self._outbox.open_entries(claim)
        if claim.probe and not self._probe(claim, todo):
            return
        template = self._template(claim.campaign_id)
        results: Sequence[Result] = []
        intent: Sequence[Entry] = []
        trouble = None
        while todo and trouble is None and not stopping():
            ahead = todo[: self._settings.checkpoint]
            checkpoint = self._checkpoint(hold, intent, results, ahead, _untried(todo), stopping)
            intent = checkpoint.entries
            if not checkpoint.running:
                results = []
                break
            results, trouble = self._attempt(template, hold, checkpoint)
            claim = self._lift_blockage(claim, results)
            attempted = {result.entry.recipient.user_id for result in results}
            left = [entry for entry in checkpoint.entries if entry.recipient.user_id not in attempted]
            todo = [*left, *todo[len(ahead) :]]
        release = partial(self._outbox.release, claim, results, _untried(todo), trouble)
        self._insist(hold, intent, release, stopping)

    def _checkpoint(
        self,
        hold: Hold,
        intent: Sequence[Entry],
        results: Sequence[Result],
        ahead: Sequence[Entry],
        untried: int,
        stopping: Callable[[], bool],
    ) -> Checkpoint:
        checkpoint = partial(self._outbox.checkpoint, hold.claim, results, ahead, untried)
        written = self._insist(hold, intent, checkpoint, stopping)
        hold.renew(written.since)
        return written

    def _insist(self, hold: Hold, intent: Sequence[Entry], write: Callable[[], T], stopping: Callable[[], bool]) -> T:
        """Write what was sent, however long the database is away: forgetting it would send it again.

        A commit whose answer was lost may have happened; the recorded `intent` tells, and then the batch is let go.
        """
        while True:
            try:
                return write()
            except OperationalError as error:
                log.error("database trouble, outcomes kept for later: %s", type(error).__name__)
                if stopping():
                    raise
            self._wait_for_database(hold.claim, intent, stopping)

    def _wait_for_database(self, claim: Claim, intent: Sequence[Entry], stopping: Callable[[], bool]) -> None:
        while True:
            time.sleep(PATIENCE_SECONDS)
            try:
                self._outbox.verify_intent(claim, intent)
            except OperationalError:
                if stopping():
                    raise
            else:
                return

    def _probe(self, claim: Claim, todo: Sequence[Entry]) -> bool:
        try:
            self._transport.check()
        except TransportUnavailable as error:
            self._outbox.release(claim, [], _untried(todo), str(error))
            return False
        return True

    def _lift_blockage(self, claim: Claim, results: Sequence[Result]) -> Claim:
        """A probe that got an answer about a recipient has shown that the transport works; `check` alone has not."""
        if not claim.probe or not results:
            return claim
        self._outbox.lift_blockage()
        return replace(claim, probe=False)

    def _attempt(self, template: Template, hold: Hold, checkpoint: Checkpoint) -> tuple[list[Result], str | None]:
        """Send one checkpoint's messages; return what became of them and, if the transport failed, why."""
        results: list[Result] = []
        drawn: dict[str, Entry] = {}
        messages = self._messages(template, checkpoint, drawn, results)
        outcomes = self._transport.send(WhileHeld(hold, messages))
        try:
            for outcome in outcomes:
                results.append(self._judge(drawn[outcome.id], outcome, checkpoint.now))
        except TransportUnavailable as error:
            log.warning("transport unavailable: %s", error)
            return results, str(error)
        return results, None

    def _messages(
        self, template: Template, checkpoint: Checkpoint, drawn: dict[str, Entry], results: list[Result]
    ) -> Iterator[Message]:
        for entry in checkpoint.entries:
            recipient = entry.recipient
            try:
                message = template.render(recipient, self._links.link(recipient.user_id), checkpoint.now)
            except ValueError as error:
                reply = f"Not sent: {error}"
                results.append(Result(entry, DeliveryStatus.FAILED, entry.attempts + 1, entry.doubts, reply))
                continue
            drawn[message.id] = entry
            yield message

    def _judge(self, entry: Entry, outcome: Outcome, now: int) -> Result:
        attempts = entry.attempts + 1
        if outcome.status is Status.SENT:
            return Result(entry, DeliveryStatus.SENT, attempts, entry.doubts, outcome.reply)
        if outcome.status is Status.REFUSED:
            return Result(entry, DeliveryStatus.FAILED, attempts, entry.doubts, outcome.reply, refused=True)
        if outcome.status is Status.UNCERTAIN:
            doubts = entry.doubts + 1
            due = uncertain_again(doubts, now, policy=self._settings.uncertain)
            return Result(entry, DeliveryStatus.UNCERTAIN, entry.attempts, doubts, outcome.reply, due)
        due = next_attempt(attempts, entry.first_at or now, now, chance=self._chance)
        status = DeliveryStatus.FAILED if due is None else DeliveryStatus.DEFERRED
        return Result(entry, status, attempts, entry.doubts, outcome.reply, due)

    def _compile(self, campaign_id: str) -> Template:
        campaign = self._outbox.campaign(campaign_id)
        sender = Mailbox(campaign.sender_name, campaign.sender)
        site = {"site_name": self._settings.site_name, "site_url": self._settings.site_url}
        frame = {"header": self._settings.email_header, "footer": self._settings.email_footer}
        return compile_message(Draft(campaign.id, sender, campaign.subject, campaign.body, **site, **frame))


def _untried(entries: Sequence[Entry]) -> int:
    return sum(entry.status is None for entry in entries)
