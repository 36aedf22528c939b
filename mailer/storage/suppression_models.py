"""The tables of who is not written to, beside the users' own marks: kept wishes, and addresses that are suppressed."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import BigInteger, Text
from sqlalchemy.orm import Mapped, mapped_column

from mailer.storage.base import Base, Id


class WishOf(StrEnum):
    """Whose a kept wish is."""

    ADDRESS = "address"  # as `addresses.comparable` has it
    USER = "user"  # an id that nobody has yet
    SHARED = "shared"  # an address others have too: counts where it is one message for all of them, and marks nobody


class Wish(Base):
    """A wish not to be written to that no user in the directory holds: it marks the users who come later."""

    __tablename__ = "wishes"

    kind: Mapped[str] = mapped_column(Text, primary_key=True)
    value: Mapped[str] = mapped_column(Id, primary_key=True)
    unsubscribed_at: Mapped[int] = mapped_column(BigInteger)
    kept_at: Mapped[int] = mapped_column(BigInteger)
    kept_by: Mapped[str] = mapped_column(Text)  # whose list it stood on, or the user who left it behind
    source: Mapped[str] = mapped_column(Text)  # the list's name, or how else it came about

    __table_args__ = ({"sqlite_with_rowid": False},)


class RefusedAddress(Base):
    """An address that campaigns in a row had refused for good, or that an operator has blocked.

    A message that it takes ends the row of refusals; a block stays until a person lifts it.
    """

    __tablename__ = "refused_addresses"

    address: Mapped[str] = mapped_column(Id, primary_key=True)  # as `addresses.comparable` has it
    campaigns: Mapped[int]
    campaign_ids: Mapped[str] = mapped_column(Text)  # of these campaigns, with spaces between: each counts once
    reply: Mapped[str] = mapped_column(Text)  # the last refusal's own words
    rule: Mapped[str] = mapped_column(Text, default="")  # by what it was taken to be about the address
    refused_at: Mapped[int] = mapped_column(BigInteger)
    suppressed_at: Mapped[int | None] = mapped_column(BigInteger)  # since when it is not written to
    blocked_at: Mapped[int | None] = mapped_column(BigInteger)  # None: no operator has
    blocked_by: Mapped[str | None] = mapped_column(Text)
    block_reason: Mapped[str | None] = mapped_column(Text)

    __table_args__ = ({"sqlite_with_rowid": False},)
