"""The states of campaigns, batches and deliveries, and the priorities of campaigns, as they are stored."""

from __future__ import annotations

from enum import StrEnum


class CampaignState(StrEnum):
    """The state of a campaign; docs/delivery.md shows what leads from one to another."""

    ACCEPTED = "accepted"  # committed, the caller has its 200
    PLANNING = "planning"  # an engine is cutting the audience into batches
    RUNNING = "running"  # its batches are being delivered
    RESTING = "resting"  # after trouble of its own it waits until `due_at`, while other campaigns go on
    PAUSED = "paused"  # by a person, or because it cannot go on without one
    CANCELLED = "cancelled"  # by a person, for good
    FAILED = "failed"  # it cannot be sent at all
    COMPLETED = "completed"  # every recipient is `sent` or `skipped`
    COMPLETED_WITH_ISSUES = "completed_with_issues"  # some are `failed`, or stay `uncertain`


BEGUN = (CampaignState.RUNNING, CampaignState.RESTING, CampaignState.PAUSED)
UNFINISHED = (CampaignState.ACCEPTED, CampaignState.PLANNING, *BEGUN)
ACTIVE = tuple(state for state in UNFINISHED if state != CampaignState.PAUSED)  # they go on without a person
WITH_ISSUES = (CampaignState.COMPLETED_WITH_ISSUES, CampaignState.FAILED)


class Priority(StrEnum):
    """How large a share of the delivery a campaign gets while others wait; mailer/delivery/turns.py has the shares."""

    URGENT = "urgent"  # asked for by a caller who may, and every dry run
    NORMAL = "normal"  # small campaigns, unless the caller says otherwise
    BULK = "bulk"  # large campaigns, unless the caller says otherwise


class BatchState(StrEnum):
    """The state of a batch."""

    WAITING = "waiting"  # an engine may take it from its `due_at` on
    RUNNING = "running"  # an engine holds it; its lease ends at `due_at`
    DONE = "done"  # nothing of it is left to do


class DeliveryStatus(StrEnum):
    """The recorded outcome for one recipient. If there is no row, nothing was tried."""

    SENT = "sent"  # the transport took the message
    FAILED = "failed"  # refused for good, or too often for now
    DEFERRED = "deferred"  # refused for now; another attempt is due
    UNCERTAIN = "uncertain"  # attempted without a known outcome: the message may have arrived
    SKIPPED = "skipped"  # not sent, because the recipient may not be written to or the campaign was cancelled
