"""Deliver one batch, from claiming it until it is given back or done."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import TypeVar

from sqlalchemy.exc import OperationalError

from mailer.delivery.attempt import NO_REASON, Attempt, Sender, slots_a_checkpoint
from mailer.delivery.batch_lease import BatchLease
from mailer.delivery.ledger import LeaseLost
from mailer.delivery.outbox import Outbox
from mailer.delivery.trouble import Trouble, describe, full_traceback, is_the_campaigns, one_line
from mailer.delivery.turns import TurnWatch
from mailer.delivery.worklist import Checkpoint, Claim, Result, Unclaimable, WorkItem, untried, within
from mailer.logs.context import bound
from mailer.logs.masking import without_addresses
from mailer.messages.links import Links
from mailer.messages.template import Template
from mailer.observer import UNOBSERVED, Observer
from mailer.settings import Settings
from mailer.storage.database_errors import own_words
from mailer.storage.lease import boot_time
from transports.base import Transport, TransportUnavailable

log = logging.getLogger(__name__)

RECONNECT_SECONDS = 1.0  # between two tries to reach a database that is away
NAP_SECONDS, SOON_SECONDS = 0.2, 10.0  # while a domain's slot comes soon: before it is looked again what is due

T = TypeVar("T")


class Deliverer:
    """Delivers one batch per call. Several threads may use it; they share the transport.

    `template_of` returns the compiled message of a campaign by its id. What it raises is that campaign's error.
    `observer` is told of batches that ended, and of a database that failed.
    """

    def __init__(
        self,
        outbox: Outbox,
        transport: Transport,
        links: Links,
        settings: Settings,
        template_of: Callable[[str], Template],
        observer: Observer = UNOBSERVED,
    ) -> None:
        self._observer = observer
        self._outbox = outbox
        self._transport = transport
        self._links = links
        self._settings = settings
        self._held: dict[int, BatchLease] = {}
        self._template = lru_cache(maxsize=8)(lambda campaign_id, _version: template_of(campaign_id))
        self._turns = TurnWatch(outbox.turn_is_over, outbox.others_first)
        self._scarce = slots_a_checkpoint(transport)

    def run_next(self, stopping: Callable[[], bool], enough: Callable[[], bool] = lambda: False) -> bool:
        """Deliver the batch whose turn it is; return False if none is due.

        It ends after a checkpoint, before the batch does, when `stopping()`, or when the turn of another campaign has
        come. When `enough()`, it ends there as well, but only once its outcomes are on record, however long the
        database is away.

        After an unexpected error the batch's campaign rests, and in the end fails; other campaigns go on. Raises errors
        that are no campaign's fault, such as `SQLAlchemyError` when the database cannot be reached.
        """
        self._turns.stand_aside(lambda: stopping() or enough())
        since = boot_time()
        claim = self._claim()
        if claim is None:
            return self._wait_for_slot(stopping)
        lease = self._held[threading.get_ident()] = BatchLease(claim, self._outbox.lease, since)
        with bound(campaign=claim.campaign_id, batch=claim.number):
            self._deliver_or_rest(lease, stopping, enough)
        self._observer.batch_ended(boot_time() - since)
        return True

    def _deliver_or_rest(self, lease: BatchLease, stopping: Callable[[], bool], enough: Callable[[], bool]) -> None:
        claim = lease.claim
        try:
            self._deliver(lease, stopping, enough)
        except LeaseLost:
            log.warning("campaign %s batch %d: lease lost, left to another worker", claim.campaign_id, claim.number)
        except BaseException as error:  # of this campaign, unless the machine or the database is at fault
            if not is_the_campaigns(error):
                raise
            self._log_error(claim.campaign_id, error, self._outbox.abandon(claim, describe(error)))
        finally:
            del self._held[threading.get_ident()]

    def _claim(self) -> Claim | None:
        while True:
            try:
                return self._outbox.claim()
            except Unclaimable as failed:  # such as a row with values that cannot be read
                error, campaign_id = failed.__cause__ or failed, failed.campaign_id
                self._log_error(campaign_id, error, self._outbox.rest(campaign_id, describe(error)))

    def work_is_due(self) -> bool:
        """Whether there is something to plan or to deliver. Raises `SQLAlchemyError`."""
        return self._outbox.work_is_due()

    def _wait_for_slot(self, stopping: Callable[[], bool]) -> bool:
        """Wait a moment if all that is due waits for a slot of its domain; return False if nothing is due soon."""
        seconds = self._outbox.next_slot()
        if seconds is None or seconds > SOON_SECONDS:
            return False
        if not stopping():
            time.sleep(min(seconds, NAP_SECONDS))
        return True

    def _log_error(self, campaign_id: str, error: BaseException, times: int) -> None:
        """Log an error of a campaign; if it is the first in a row (`times` is 1), with its traceback."""
        log.error("campaign %s met an unexpected error: %s", campaign_id, without_addresses(describe(error)))
        if times <= 1:
            log.error("%s", full_traceback(error))

    def in_hand(self) -> str:
        """Return the batches that this process delivers now, for people to read; empty if there are none."""
        return ", ".join(f"{lease.claim.campaign_id} batch {lease.claim.number}" for lease in list(self._held.values()))

    def heartbeat(self) -> None:
        """Extend the lease of every batch in hand, since sending one message may take longer than a lease."""
        for lease in list(self._held.values()):
            try:
                lease.verify()
                lease.renew(self._outbox.extend(lease.claim))
            except LeaseLost:
                continue  # the delivering thread finds out by itself; renewing here would hide it

    def _deliver(self, lease: BatchLease, stopping: Callable[[], bool], enough: Callable[[], bool]) -> None:
        claim = lease.claim
        todo, beyond = within(claim, self._outbox.due_items(claim))
        if claim.half_open and not self._transport_works(claim, todo, beyond):
            return
        template = self._template(claim.campaign_id, claim.version)
        chance = random.random()  # noqa: S311 - jitter; one draw a batch keeps its retries together
        sender = Sender(self._transport, self._links, self._settings, chance)
        attempt = Attempt()
        intent: Sequence[WorkItem] = []
        while todo and attempt.trouble is None and not (stopping() or enough()):
            ahead = todo[: self._settings.checkpoint]
            checkpoint = self._checkpoint(lease, intent, attempt.results, ahead, untried(todo, beyond), stopping)
            intent = checkpoint.items
            attempt = Attempt()
            if not checkpoint.running:
                break
            attempt = sender.send(template, lease, checkpoint)
            if (claim.half_open or claim.campaign_rests) and attempt.got_reply:
                claim = self._write_until_done(lease, intent, partial(self._record_recovery, claim), stopping)
            attempted = {result.item.recipient.user_id for result in attempt.results}
            left = [item for item in checkpoint.items if item.recipient.user_id not in attempted]
            todo = [*left, *todo[len(ahead) :]]
            few_slots = attempt.begun <= min(self._scarce, len(intent) - 1)
            if todo and not sender.owes and self._turns.is_over(claim, few_slots=few_slots):
                break
        release = partial(self._outbox.release, claim, attempt.results, untried(todo, beyond), attempt.trouble)
        self._tell(claim.campaign_id, attempt, self._write_until_done(lease, intent, release, stopping))

    def _tell(self, campaign_id: str, attempt: Attempt, times: int) -> None:
        trouble = attempt.trouble or Trouble()
        if trouble.transport is not None:
            log.warning("transport unavailable: %s", without_addresses(trouble.transport))
        if trouble.sender is not None:
            log.warning("campaign %s rests, its sender was refused: %s", campaign_id, without_addresses(trouble.sender))
        if attempt.error is not None:
            self._log_error(campaign_id, attempt.error, times)

    def _checkpoint(
        self,
        lease: BatchLease,
        intent: Sequence[WorkItem],
        results: Sequence[Result],
        ahead: Sequence[WorkItem],
        untried: int,
        stopping: Callable[[], bool],
    ) -> Checkpoint:
        checkpoint = partial(self._outbox.checkpoint, lease.claim, results, ahead, untried)
        written = self._write_until_done(lease, intent, checkpoint, stopping)
        lease.keep(written.since)
        return written

    def _write_until_done(
        self, lease: BatchLease, intent: Sequence[WorkItem], write: Callable[[], T], stopping: Callable[[], bool]
    ) -> T:
        """Repeat `write` for as long as the database is away: messages whose outcomes are lost would be sent again.

        A commit may have succeeded although its answer was lost. Then `intent` is no longer the intent on record, and
        `LeaseLost` is raised: whoever claims the batch next goes on from what is on record.
        """
        while True:
            try:
                return write()
            except OperationalError as error:
                log.error("database trouble, outcomes kept for later: %s", own_words(error))
                self._observer.database_retried()
                if stopping():
                    raise
            self._wait_for_database(lease.claim, intent, stopping)

    def _wait_for_database(self, claim: Claim, intent: Sequence[WorkItem], stopping: Callable[[], bool]) -> None:
        while True:
            time.sleep(RECONNECT_SECONDS)
            try:
                self._outbox.verify_intent(claim, intent)
            except OperationalError:
                if stopping():
                    raise
            else:
                return

    def _transport_works(self, claim: Claim, todo: Sequence[WorkItem], beyond: int) -> bool:
        """Check the transport; if it does not work, give the batch back and open the breaker again."""
        retry_after = None
        try:
            self._transport.check()
        except TransportUnavailable as error:
            words, retry_after = one_line(str(error) or NO_REASON), error.retry_after
        except Exception as error:  # noqa: BLE001 - whatever it raises, no campaign is at fault
            log.error("the transport's check: %s", full_traceback(error))
            words = describe(error)
        else:
            return True
        trouble = Trouble(transport=words, retry_after=retry_after)
        self._outbox.release(claim, [], untried(todo, beyond), trouble)
        return False

    def _record_recovery(self, claim: Claim) -> Claim:
        """Close the breaker and end the campaign's rest, once an outcome is about a recipient.

        Only such an outcome shows that sending works; the transport's `check` does not.
        """
        self._outbox.record_recovery(claim)
        return replace(claim, half_open=False, campaign_rests=False)
