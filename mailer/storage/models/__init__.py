"""The tables of the database, by family. Times are milliseconds since 1970 in UTC.

Ids are compared by their bytes, so that a range of ids means the same users on every database.
"""

from mailer.storage.models.audit import AuditEntry, Event
from mailer.storage.models.base import Base
from mailer.storage.models.callers import AuthToken, IdempotencyKey, LoginLink, PageSession, RateLimit
from mailer.storage.models.campaigns import (
    Batch,
    Campaign,
    CampaignAnswer,
    CampaignDomain,
    CampaignMinute,
    CampaignText,
    Delivery,
    RecentMail,
    SameRefusals,
)
from mailer.storage.models.directory import User, comparable_address
from mailer.storage.models.drafts import SavedDraft
from mailer.storage.models.erasure import Erased, ErasureKey, PersonNote
from mailer.storage.models.mailbox import MailboxArrival, MailboxContent, MailboxMessage
from mailer.storage.models.operation import (
    CircuitBreaker,
    ClockMark,
    ScheduledTask,
    SendingHold,
    ServedVersions,
    SigningKey,
    SlotCount,
    Turn,
)
from mailer.storage.models.states import BatchState, CampaignState, DeliveryStatus, Priority
from mailer.storage.models.suppression import RefusedAddress, UnsubscribeEvent, Wish, WishOf
from mailer.storage.models.workers import SeenWorker

__all__ = [
    "AuditEntry",
    "AuthToken",
    "Base",
    "Batch",
    "BatchState",
    "Campaign",
    "CampaignAnswer",
    "CampaignDomain",
    "CampaignMinute",
    "CampaignState",
    "CampaignText",
    "CircuitBreaker",
    "ClockMark",
    "Delivery",
    "DeliveryStatus",
    "Erased",
    "ErasureKey",
    "Event",
    "IdempotencyKey",
    "LoginLink",
    "MailboxArrival",
    "MailboxContent",
    "MailboxMessage",
    "PageSession",
    "PersonNote",
    "Priority",
    "RateLimit",
    "RecentMail",
    "RefusedAddress",
    "SameRefusals",
    "SavedDraft",
    "ScheduledTask",
    "SeenWorker",
    "SendingHold",
    "ServedVersions",
    "SigningKey",
    "SlotCount",
    "Turn",
    "UnsubscribeEvent",
    "User",
    "Wish",
    "WishOf",
    "comparable_address",
]
