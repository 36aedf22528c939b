"""The tables of the database, by family. Times are milliseconds since 1970 in UTC.

Ids are compared by their bytes, so that a range of ids means the same users on every database.
"""

from mailer.storage.models.audit import AuditEntry
from mailer.storage.models.base import Base
from mailer.storage.models.callers import AuthToken, IdempotencyKey, PageSession, RateLimit
from mailer.storage.models.campaigns import Batch, Campaign, CampaignMinute, Delivery, SameRefusals
from mailer.storage.models.directory import User, comparable_address
from mailer.storage.models.mailbox import MailboxArrival, MailboxContent, MailboxMessage
from mailer.storage.models.operation import (
    CircuitBreaker,
    ClockMark,
    ScheduledTask,
    SendingHold,
    ServedVersions,
    SlotCount,
    Turn,
)
from mailer.storage.models.states import BatchState, CampaignState, DeliveryStatus, Priority
from mailer.storage.models.suppression import RefusedAddress, Wish, WishOf
from mailer.storage.models.workers import SeenWorker

__all__ = [
    "AuditEntry",
    "AuthToken",
    "Base",
    "Batch",
    "BatchState",
    "Campaign",
    "CampaignMinute",
    "CampaignState",
    "CircuitBreaker",
    "ClockMark",
    "Delivery",
    "DeliveryStatus",
    "IdempotencyKey",
    "MailboxArrival",
    "MailboxContent",
    "MailboxMessage",
    "PageSession",
    "Priority",
    "RateLimit",
    "RefusedAddress",
    "SameRefusals",
    "ScheduledTask",
    "SeenWorker",
    "SendingHold",
    "ServedVersions",
    "SlotCount",
    "Turn",
    "User",
    "Wish",
    "WishOf",
    "comparable_address",
]
