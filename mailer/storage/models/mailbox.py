"""The tables of the mailbox: the last messages of a development or staging service, kept to be looked at.

A message arrives with those sent beside it, in one row, which costs a campaign next to nothing. It gets rows of its own
when somebody looks. What lists show stands apart from the messages, so that to look through all of them reads little.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, Text, false
from sqlalchemy.orm import Mapped, mapped_column

from mailer.storage.models.base import Base, Id


class MailboxArrival(Base):
    """Messages of one campaign as they arrived. Their ids are `id` and the numbers that follow."""

    __tablename__ = "mailbox_arrivals"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    campaign_id: Mapped[str] = mapped_column(Id)
    caller_id: Mapped[str] = mapped_column(Id)
    received_at: Mapped[int] = mapped_column(BigInteger)
    messages: Mapped[int]
    size: Mapped[int]  # bytes
    packed: Mapped[bytes] = mapped_column(LargeBinary)  # `mailer.mailbox.packing`


class MailboxMessage(Base):
    """What lists show of one message, and by what it is found. A later message has a higher id; none is used twice."""

    __tablename__ = "mailbox_messages"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    message_id: Mapped[str] = mapped_column(Text)  # `messages.template.delivery_id`
    campaign_id: Mapped[str] = mapped_column(Id)
    caller_id: Mapped[str] = mapped_column(Id)  # whose campaign it is; empty: not known
    received_at: Mapped[int] = mapped_column(BigInteger)
    person: Mapped[str] = mapped_column(Text)  # the end of `message_id`, which tells the user and not the campaign
    address: Mapped[str] = mapped_column(Text)  # whom it is for, also where it went elsewhere; as `comparable` has it
    recipient: Mapped[str] = mapped_column(Text)  # on the envelope
    author: Mapped[str] = mapped_column(Text)  # the fields From and To, decoded
    addressee: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text)
    snippet: Mapped[str] = mapped_column(Text)
    words: Mapped[str] = mapped_column(Text)  # all that a word is looked for in, in lower case
    size: Mapped[int]  # bytes
    attachments: Mapped[int]
    read: Mapped[bool] = mapped_column(server_default=false(), default=False)

    __table_args__ = (
        Index("ix_mailbox_messages_caller", "caller_id", "id"),
        Index("ix_mailbox_messages_campaign", "campaign_id", "id"),
        Index("ix_mailbox_messages_person", "person"),
        Index("ix_mailbox_messages_address", "address"),
    )


class MailboxContent(Base):
    """A message, byte for byte."""

    __tablename__ = "mailbox_contents"

    id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("mailbox_messages.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    content: Mapped[bytes] = mapped_column(LargeBinary)
