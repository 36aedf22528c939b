"""The table of what people write in the pages and have not sent yet."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from mailer.storage.models.base import Base, Document, Id


class SavedDraft(Base):
    """What somebody has typed into the form of a campaign, valid or not. Nobody else reads it.

    `version` rises with every save. `sent_as` is the id of the campaign that it became: from then on it says nothing.
    """

    __tablename__ = "drafts"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    caller_id: Mapped[str] = mapped_column(Id)
    subject: Mapped[str] = mapped_column(Text)
    said: Mapped[dict[str, Any]] = mapped_column(Document)  # the other fields of the form, by name
    version: Mapped[int]
    created_at: Mapped[int] = mapped_column(BigInteger)
    saved_at: Mapped[int] = mapped_column(BigInteger)
    sent_as: Mapped[str | None] = mapped_column(Id)

    __table_args__ = (
        Index("ix_drafts_caller", "caller_id", "saved_at", "id"),
        Index("ix_drafts_saved_at", "saved_at"),
    )
