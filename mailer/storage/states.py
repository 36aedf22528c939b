"""The states that are on record: of campaigns, batches and deliveries."""

from __future__ import annotations

from enum import StrEnum


class CampaignState(StrEnum):
    """Where a campaign stands; docs/delivery.md has the machine."""

    ACCEPTED = "accepted"  # committed, the caller has its 200
    PLANNING = "planning"  # an engine is cutting the audience into batches
    RUNNING = "running"
    RESTING = "resting"  # it alone waits after trouble of its own, until `due_at`
    PAUSED = "paused"  # by a person, or because it cannot go on without one
    CANCELLED = "cancelled"
    FAILED = "failed"  # it cannot be sent at all
    COMPLETED = "completed"  # everyone has `sent` or `skipped`
    COMPLETED_WITH_ISSUES = "completed_with_issues"  # some have `failed` or rest as `uncertain`


BEGUN = (CampaignState.RUNNING, CampaignState.RESTING, CampaignState.PAUSED)
UNFINISHED = (CampaignState.ACCEPTED, CampaignState.PLANNING, *BEGUN)
WITH_ISSUES = (CampaignState.COMPLETED_WITH_ISSUES, CampaignState.FAILED)


class BatchState(StrEnum):
    """`due_at` says when an engine may take the batch; while one holds it, that is when its lease ends."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"


class DeliveryStatus(StrEnum):
    """The recorded outcome for one recipient. The absence of a row means that nothing was tried."""

    SENT = "sent"
    FAILED = "failed"
    DEFERRED = "deferred"
    UNCERTAIN = "uncertain"
    SKIPPED = "skipped"
