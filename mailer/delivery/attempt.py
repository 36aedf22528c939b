"""Hand the messages of one checkpoint to the transport, and find out what became of each.

The transport draws one message after the other. After trouble, and when the time of a checkpoint is over, it is given
no more: messages that it has drawn get their outcomes, and all other recipients stay as they were. A transport that
breaks its contract ends the attempt. Recipients whose messages it had drawn without giving an outcome are then
uncertain, since they may have the message.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

from mailer.delivery.batch_lease import BatchLease, LeasedMessages
from mailer.delivery.blame import consequence, result_of
from mailer.delivery.flight.places import DRAWN, SENT, ended
from mailer.delivery.ledger import LeaseLost
from mailer.delivery.retry import uncertain_result
from mailer.delivery.same_refusals import is_pattern
from mailer.delivery.trouble import BrokenContract, Trouble, describe, one_line
from mailer.delivery.worklist import Checkpoint, Result, WorkItem
from mailer.messages.links import Links
from mailer.messages.template import Template
from mailer.settings import Settings
from mailer.storage.models import DeliveryStatus
from transports.base import About, Message, Outcome, Status, Transport, TransportUnavailable
from transports.rate import rates_of

CHECKPOINT_SECONDS = 1.0  # after which no more messages of a checkpoint are given out
FEW_SLOTS = 4  # in a checkpoint; so few are too precious to go to whoever happens to ask first

LOST = "The transport failed in an unexpected way before it gave an outcome for this message."
NO_REASON = "it gave no reason"

Drawn = tuple[int, WorkItem]  # the place in the checkpoint of a recipient whose message was drawn, and who it is


@dataclass(slots=True)
class Attempt:
    """What came of the messages of one checkpoint.

    `got_reply`: at least one recipient got an outcome about themselves. `halted`: no more messages are to be drawn.
    `trouble` is what ended the attempt early. `error` is the exception, if the trouble was an unexpected error. `ends`
    is when the checkpoint is over, by `time.monotonic`, and `begun` for how many recipients a message was asked for.
    """

    results: list[Result] = field(default_factory=list)
    got_reply: bool = False
    halted: bool = False
    ends: float = inf
    begun: int = 0
    trouble: Trouble | None = None
    error: BaseException | None = None

    def is_over(self) -> bool:
        """Whether no more messages are to be drawn, after trouble or since the time is over."""
        self.halted = self.halted or time.monotonic() >= self.ends
        return self.halted

    def halt(self, **what: Any) -> None:
        """Let no more messages be drawn. `what` are fields of `Trouble` with the reasons; the first of each is kept."""
        self.halted = True
        now = self.trouble or Trouble()
        self.trouble = replace(now, **{name: words for name, words in what.items() if getattr(now, name) is None})


class Sender:
    """Sends the messages of checkpoints. `chance`, from 0 to 1, shifts all retries of a batch by the same share.

    `owes`: the transport asked for its first message when the time was over, so the next checkpoint gives it one at any
    time. Otherwise a transport that needs long to begin would never get any.
    """

    def __init__(self, transport: Transport, links: Links, settings: Settings, chance: float) -> None:
        self._transport = transport
        self._links = links
        self._settings = settings
        self._chance = chance
        self.owes = False

    def send(self, template: Template, lease: BatchLease, checkpoint: Checkpoint) -> Attempt:
        """Hand over a message for each of the checkpoint's `items` that is asked for in time.

        Raises `LeaseLost` when another worker may have the batch. What the transport raises is kept as trouble.
        """
        attempt = Attempt(ends=time.monotonic() + CHECKPOINT_SECONDS)
        items, places, now = checkpoint.items, checkpoint.places, checkpoint.now
        drawn: dict[str, Drawn] = {}
        outcomes: Iterator[Outcome] | None = None

        def left() -> int:
            return 0 if attempt.is_over() and not self.owes else len(items) - attempt.begun

        try:
            messages = self._messages(template, checkpoint, drawn, attempt)
            outcomes = self._transport.send(LeasedMessages(lease, messages, left))
            self._take(outcomes, drawn, places, now, attempt)
            _verify_answered(len(items), drawn, attempt)
        except TransportUnavailable as error:
            what = "sender" if error.about is About.SENDER else "transport"
            attempt.halt(**{what: one_line(str(error) or NO_REASON)}, retry_after=error.retry_after)
        except (LeaseLost, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - a third party's transport may even raise SystemExit
            _close(outcomes)
            attempt.error = error
            attempt.halt(error=describe(error))
            policy = self._settings.uncertain
            attempt.results += [uncertain_result(item, now, LOST, policy=policy) for _, item in drawn.values()]
        return attempt

    def _messages(
        self, template: Template, checkpoint: Checkpoint, drawn: dict[str, Drawn], attempt: Attempt
    ) -> Iterator[Message]:
        places, now, link = checkpoint.places, checkpoint.now, self._links.link
        cause = self._links.cause(template.campaign_id)
        for place, item in enumerate(checkpoint.items):
            if attempt.is_over() and not self.owes:
                self.owes = not attempt.begun
                return
            self.owes = False
            attempt.begun += 1
            recipient = item.recipient
            try:
                message = template.render(recipient, link(recipient.user_id, cause), now)
            except ValueError as error:
                words = (one_line(f"Not sent: {error}"), None, About.MESSAGE)
                failed = Result(item, DeliveryStatus.FAILED, item.attempts + 1, item.uncertain_attempts, *words)
                attempt.results.append(failed)
                self._halt_if_alike(attempt)
                continue
            drawn[message.id] = place, item
            places[place] = DRAWN
            yield message

    def _take(
        self, outcomes: Iterator[Outcome], drawn: dict[str, Drawn], places: memoryview, now: int, attempt: Attempt
    ) -> None:
        for outcome in outcomes:
            place, item = _drawn(drawn, outcome)
            if outcome.status is Status.SENT:  # the most frequent outcome, so it goes a short way
                sent = Result(
                    item, DeliveryStatus.SENT, item.attempts + 1, item.uncertain_attempts, one_line(outcome.reply)
                )
                attempt.results.append(sent)
                attempt.got_reply = True
                places[place] = SENT
            else:
                self._judge(item, outcome, now, attempt)
                places[place] = ended(Status(outcome.status), About(outcome.about))
            del drawn[outcome.id]  # not before: after an error above, the recipient is to be uncertain

    def _judge(self, item: WorkItem, outcome: Outcome, now: int, attempt: Attempt) -> None:
        status, about, reply = Status(outcome.status), About(outcome.about), one_line(outcome.reply)
        past = (item.attempts, item.uncertain_attempts, item.first_at or now)
        policy = self._settings.uncertain
        then = consequence(status, about, *past, now, chance=self._chance, policy=policy)
        if then.rests:
            attempt.halt(sender=reply)
        if then.trips_breaker:
            attempt.halt(transport=reply)
        result = result_of(item, then, about, reply)
        if result is None:
            return
        attempt.results.append(result)
        attempt.got_reply = attempt.got_reply or result.status is not DeliveryStatus.UNCERTAIN
        if result.about is not None:
            self._halt_if_alike(attempt)

    def _halt_if_alike(self, attempt: Attempt) -> None:
        """Stop when there are enough refusals to compare: the next checkpoint looks whether they are the same."""
        enough = self._settings.same_refusals
        if enough and sum(map(is_pattern, attempt.results)) >= enough:
            attempt.halted = True


def slots_a_checkpoint(transport: Transport) -> int:
    """Up to how many messages in a checkpoint show that the transport's rate held it up; -1: it has no rate."""
    intervals = [rate.limits.interval for rate in rates_of(transport)]
    slowest = max(intervals, default=0.0)
    if not slowest:
        return -1
    slots = int(1000 * CHECKPOINT_SECONDS / slowest) or 1
    return slots if slots <= FEW_SLOTS else 0


def _drawn(drawn: Mapping[str, Drawn], outcome: Outcome) -> Drawn:
    """The recipient whom the outcome is for, and their place. Raises `BrokenContract` if nobody waits for it."""
    found = drawn.get(outcome.id)
    if found is None:
        raise BrokenContract("the transport gave an outcome for a message that it had not drawn, or gave one twice")
    return found


def _verify_answered(asked: int, drawn: Mapping[str, Drawn], attempt: Attempt) -> None:
    """Raise `BrokenContract` unless all drawn messages have an outcome, and all messages were drawn."""
    if drawn:
        raise BrokenContract(f"the transport gave no outcome for {len(drawn)} messages that it had drawn")
    if len(attempt.results) < asked and not attempt.halted:
        raise BrokenContract("the transport ended before it had drawn all messages")


def _close(outcomes: Iterator[Outcome] | None) -> None:
    """Close the transport's generator, if it is one, whatever that raises."""
    with suppress(Exception):
        getattr(outcomes, "close", lambda: None)()
