"""The tables of who must not be written to, besides the marks on users: kept wishes and suppressed addresses.

A wish is a person's unsubscription, which only they, or an operator at their request, take back.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import BigInteger, Index, Integer, Text
from sqlalchemy.orm import Mapped, mapped_column

from mailer.storage.models.base import Base, Id


class WishOf(StrEnum):
    """What a kept wish belongs to."""

    ADDRESS = "address"  # as `addresses.comparable` has it
    USER = "user"  # an id that nobody has yet
    HASHED = "hashed"  # an address of which a restored database has the hash alone
    BLOCKED = "blocked"  # the same, of an address that an operator had blocked
    SHARED = "shared"  # an address that others have too: it counts where they share one message, and marks no user


class Wish(Base):
    """A wish that no user in the directory has on their own row. Users who are added later are marked by it."""

    __tablename__ = "wishes"

    kind: Mapped[str] = mapped_column(Text, primary_key=True)
    value: Mapped[str] = mapped_column(Id, primary_key=True)
    unsubscribed_at: Mapped[int] = mapped_column(BigInteger)
    kept_at: Mapped[int] = mapped_column(BigInteger)
    kept_by: Mapped[str] = mapped_column(Text)  # who brought in the list, or the user who had it before
    source: Mapped[str] = mapped_column(Text)  # the list's name, or how else it came about

    __table_args__ = ({"sqlite_with_rowid": False},)


class RefusedAddress(Base):
    """An address that was refused for good, or bounced, in one campaign after the other.

    Or an operator has blocked it, or somebody there has marked a message as spam. When the address takes a message, its
    refusals are deleted, unless bounces are read: then `suppression.bounces_in_a_row` says when counting ends. A block
    and a complaint stay until a person lifts them.
    """

    __tablename__ = "refused_addresses"

    address: Mapped[str] = mapped_column(Id, primary_key=True)  # as `addresses.comparable` has it
    campaigns: Mapped[int]  # how many in a row it was refused in
    campaign_ids: Mapped[str] = mapped_column(Text)  # their ids, separated by spaces, so that each counts once
    reply: Mapped[str] = mapped_column(Text)  # the last refusal's own words
    rule: Mapped[str] = mapped_column(Text, default="")  # which rule told that the refusal is about the address
    refused_at: Mapped[int] = mapped_column(BigInteger)
    suppressed_at: Mapped[int | None] = mapped_column(BigInteger)  # since when it gets no mail; None: it gets mail
    bounced_at: Mapped[int | None] = mapped_column(BigInteger)  # when a counted bounce came last; None: none did
    taken: Mapped[str] = mapped_column(Text, default="", server_default="")  # the campaigns whose message it took since
    complained_at: Mapped[int | None] = mapped_column(BigInteger)  # None: nobody there has marked a message as spam
    blocked_at: Mapped[int | None] = mapped_column(BigInteger)  # None: no operator has blocked it
    blocked_by: Mapped[str | None] = mapped_column(Text)
    block_reason: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        Index(
            "ix_refused_addresses_suppressed",
            "suppressed_at",
            sqlite_where=suppressed_at.is_not(None),
            postgresql_where=suppressed_at.is_not(None),
        ),
        {"sqlite_with_rowid": False},
    )


class UnsubscribeEvent(Base):
    """Somebody unsubscribed, or subscribed again. Rows are added; a trigger refuses to change one."""

    __tablename__ = "unsubscribe_history"

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    at: Mapped[int] = mapped_column(BigInteger)  # the time of the mark or the wish, which a list may have brought
    event: Mapped[str] = mapped_column(Text)  # `suppression.history.Event`
    means: Mapped[str] = mapped_column(Text)  # `suppression.history.Means`
    user_id: Mapped[str | None] = mapped_column(Id)  # None: an address that no user has
    address: Mapped[str | None] = mapped_column(Id)  # as `addresses.comparable` has it; None: none, or erased
    campaign_id: Mapped[str | None] = mapped_column(Id)  # whose message had the link; None: not known
    who: Mapped[str | None] = mapped_column(Id)  # None: the person themselves
    source: Mapped[str | None] = mapped_column(Text)  # the list's name

    __table_args__ = (
        Index("ix_unsubscribe_history_user", "user_id", "id"),
        Index("ix_unsubscribe_history_address", "address", "id"),
        Index("ix_unsubscribe_history_at", "at"),
        Index(
            "ix_unsubscribe_history_campaign",
            "campaign_id",
            "user_id",
            sqlite_where=campaign_id.is_not(None),
            postgresql_where=campaign_id.is_not(None),
        ),
    )
