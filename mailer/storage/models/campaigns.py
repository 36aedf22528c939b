"""The tables of the road: campaigns, their batches and their deliveries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from mailer.storage.models.base import Base, Document, Id

NO_TEXT = 0  # the version of a campaign that a restored backup has lost, but for its id and who had it


class Campaign(Base):
    """One accepted POST.

    `due_at` says when a planner may take it, and while one plans it, when the planner's lease ends. For a resting
    campaign it is when it may be tried again. `turn_at` says when it last gave back a batch, or was accepted.
    """

    __tablename__ = "campaigns"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    caller_id: Mapped[str] = mapped_column(Id)
    sender_name: Mapped[str] = mapped_column(Text)
    sender: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text)
    body: Mapped[str] = mapped_column(Text)
    query: Mapped[dict[str, Any]] = mapped_column(Document)
    dry_run: Mapped[bool]
    reply_to_name: Mapped[str | None] = mapped_column(Text)
    reply_to: Mapped[str | None] = mapped_column(Text)  # None: answers go to the sender
    test_recipients: Mapped[list[str] | None] = mapped_column(Document)  # of a dry run; None: it goes to the sender
    inline_css: Mapped[bool | None]  # None: it was not asked for
    priority: Mapped[str | None] = mapped_column(Text)  # None: by its size, once that is known
    merge_addresses: Mapped[bool] = mapped_column(default=False)  # as the setting was when it was planned
    state: Mapped[str] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)  # why it is paused, rests or failed
    rests: Mapped[int] = mapped_column(default=0)  # refusals of its sender since a recipient got a reply
    errors: Mapped[int] = mapped_column(default=0)  # unexpected errors since a batch was worked off
    failures_known: Mapped[bool] = mapped_column(default=False)  # a person resumed it after a pause for its failures
    created_at: Mapped[int] = mapped_column(BigInteger)
    started_at: Mapped[int | None] = mapped_column(BigInteger)
    finished_at: Mapped[int | None] = mapped_column(BigInteger)
    due_at: Mapped[int] = mapped_column(BigInteger)
    turn_at: Mapped[int] = mapped_column(BigInteger, default=0)
    fence: Mapped[int]
    fingerprint: Mapped[str | None] = mapped_column(Text)  # of its draft, to notice a repeat; None: a dry run
    # the campaign whose missing recipients its query selects, which therefore sends nothing more
    left_out: Mapped[dict[str, int] | None] = mapped_column(Document)  # how many from the start, by why
    not_reached: Mapped[str | None] = mapped_column(Id)
    signing_key: Mapped[str | None] = mapped_column(Id)  # the fingerprint of the key that signs its links
    version: Mapped[int] = mapped_column(server_default="1", default=1)  # of its subject and body; or `NO_TEXT`

    __table_args__ = (
        Index("ix_campaigns_caller", "caller_id", "id"),
        Index("ix_campaigns_fingerprint", "fingerprint", "created_at"),
        Index("ix_campaigns_due", "state", "due_at"),
        Index("ix_campaigns_state", "state", "id"),
        Index(
            "ix_campaigns_not_reached",
            "not_reached",
            sqlite_where=not_reached.is_not(None),
            postgresql_where=not_reached.is_not(None),
        ),
    )


class Batch(Base):
    """The unit of work: everyone in the campaign's audience from `first_id` to `last_id`, both included.

    If its campaign has batches for single `domain`s, their ranges overlap with those of the others;
    mailer/delivery/ownership.py says who of them is whose.

    The counters say how many of its deliveries have which status. `planned` minus their sum is how many recipients have
    not been tried. `due_at` says when a worker may take it, and while one holds it, when that worker's lease ends.
    """

    __tablename__ = "batches"

    campaign_id: Mapped[str] = mapped_column(Id, ForeignKey("campaigns.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    first_id: Mapped[str] = mapped_column(Id)
    last_id: Mapped[str] = mapped_column(Id)
    domain: Mapped[str] = mapped_column(Text, default="")  # whose addresses have a rate of their own; empty: the others
    state: Mapped[str] = mapped_column(Text)
    due_at: Mapped[int] = mapped_column(BigInteger)
    fence: Mapped[int]  # rises with every claim; who has a lower number may write nothing
    attempting: Mapped[list[str]] = mapped_column(Document)  # the user ids of the checkpoint in hand
    checkpoint: Mapped[int] = mapped_column(BigInteger, default=0)  # its number, by which its flight record is known
    takeovers: Mapped[int] = mapped_column(default=0)  # how many processes in a row died while sending it
    planned: Mapped[int]
    sent: Mapped[int]
    failed: Mapped[int]
    deferred: Mapped[int]
    uncertain: Mapped[int]
    skipped: Mapped[int]

    __table_args__ = (
        Index("ix_batches_due", "state", "due_at"),
        Index("ix_batches_domain_due", "campaign_id", "state", "domain", "due_at"),
    )


def _came_back(name: str, since: Mapped[Any]) -> Iterator[Index]:
    """Indexes of the few that have the time `since`: by campaign, and by that time.

    The first has the time as well, or SQLite would count by the primary key.
    """
    there = since.is_not(None)
    mine = ("campaign_id", "user_id", f"{name}_at")
    yield Index(f"ix_deliveries_{name}", *mine, sqlite_where=there, postgresql_where=there)
    yield Index(f"ix_deliveries_{name}_at", f"{name}_at", sqlite_where=there, postgresql_where=there)


class Delivery(Base):
    """The last outcome for one recipient of one campaign, written once for each attempt that ended.

    What came back later, a bounce or a complaint, is written beside it and changes no status.
    """

    __tablename__ = "deliveries"

    campaign_id: Mapped[str] = mapped_column(Id, primary_key=True)
    user_id: Mapped[str] = mapped_column(Id, primary_key=True)
    batch: Mapped[int | None]  # the number of the batch that has it; None: recorded when the user id told which
    status: Mapped[str] = mapped_column(Text)
    address: Mapped[str | None] = mapped_column(Text)
    attempts: Mapped[int]  # those that ended in an outcome about this recipient
    # attempts whose outcome is unknown, so that each may have delivered a copy
    uncertain_attempts: Mapped[int] = mapped_column("doubts", key="uncertain_attempts")
    reply: Mapped[str] = mapped_column(Text)
    first_at: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[int] = mapped_column(BigInteger)
    due_at: Mapped[int | None] = mapped_column(BigInteger)  # when to try again; None: not by itself
    version: Mapped[int | None]  # of the text at the last attempt; None: the first; 0: not known, a worker died with it
    bounced_at: Mapped[int | None] = mapped_column(BigInteger)  # when it came back; None: it has not
    bounce_about: Mapped[str | None] = mapped_column(Text)  # `transports.base.About`
    bounce_permanent: Mapped[bool | None]  # False: a soft bounce, given up for now
    bounce_status: Mapped[str | None] = mapped_column(Text)  # the enhanced status code (RFC 3463); empty: none
    bounce_reply: Mapped[str | None] = mapped_column(Text)  # the other side's words
    complained_at: Mapped[int | None] = mapped_column(BigInteger)  # when the recipient marked it as spam

    __table_args__ = (
        *_came_back("bounced", bounced_at),
        *_came_back("complained", complained_at),
        {"sqlite_with_rowid": False},
    )


class CampaignText(Base):
    """One version of a campaign's subject and body. A campaign whose text was never replaced has none of them here."""

    __tablename__ = "campaign_texts"

    campaign_id: Mapped[str] = mapped_column(Id, primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(Text)
    body: Mapped[str] = mapped_column(Text)
    made_at: Mapped[int] = mapped_column(BigInteger)
    made_by: Mapped[str] = mapped_column(Id)  # a caller's id, or the name of the system's user


class RecentMail(Base):
    """A campaign that a person has had lately, or is about to get, while `MAILER_MAX_PER_PERSON` is set."""

    __tablename__ = "recent_mails"

    user_id: Mapped[str] = mapped_column(Id, primary_key=True)
    campaign_id: Mapped[str] = mapped_column(Id, primary_key=True)
    at: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (Index("ix_recent_mails_at", "at"), {"sqlite_with_rowid": False})


class CampaignDomain(Base):
    """How many of a campaign's recipients at one domain have each outcome: a part of the sum.

    A campaign has rows for its largest domains and, under an empty name, for all others. Like the minutes, a domain has
    several rows, and their sums count. A part alone may be below zero.
    """

    __tablename__ = "campaign_domains"

    campaign_id: Mapped[str] = mapped_column(Id, primary_key=True)
    domain: Mapped[str] = mapped_column(Id, primary_key=True)
    part: Mapped[int] = mapped_column(primary_key=True)
    sent: Mapped[int]
    failed: Mapped[int]
    deferred: Mapped[int]
    uncertain: Mapped[int]
    skipped: Mapped[int]

    __table_args__ = ({"sqlite_with_rowid": False},)


class CampaignAnswer(Base):
    """How many recipients of a campaign failed or were skipped with the same answer, in its normalised form."""

    __tablename__ = "campaign_answers"

    campaign_id: Mapped[str] = mapped_column(Id, primary_key=True)
    status: Mapped[str] = mapped_column(Id, primary_key=True)  # `failed` or `skipped`
    about: Mapped[str] = mapped_column(Id, primary_key=True)  # whom a refusal is about; empty: skipped
    answer: Mapped[str] = mapped_column(Id, primary_key=True)  # empty: all those beyond the most that are kept apart
    count: Mapped[int]

    __table_args__ = ({"sqlite_with_rowid": False},)


class SameRefusals(Base):
    """A campaign's last refusals that are not about addresses, kept to notice that most of them are the same."""

    __tablename__ = "same_refusals"

    campaign_id: Mapped[str] = mapped_column(Id, primary_key=True)
    replies: Mapped[list[str]] = mapped_column("answers", Document, key="replies")  # normalised, oldest first
    known: Mapped[list[str]] = mapped_column(Document)  # replies for which it was paused already


class CampaignMinute(Base):
    """How many outcomes of each status a campaign's workers recorded in the minute that began at `minute`.

    A minute has several rows, so that the workers of one campaign need not wait for each other; their sum counts.
    """

    __tablename__ = "campaign_minutes"

    campaign_id: Mapped[str] = mapped_column(Id, primary_key=True)
    minute: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    part: Mapped[int] = mapped_column(primary_key=True)
    sent: Mapped[int]
    failed: Mapped[int]
    deferred: Mapped[int]
    uncertain: Mapped[int]
    skipped: Mapped[int]

    __table_args__ = ({"sqlite_with_rowid": False},)
