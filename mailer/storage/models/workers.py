"""The table of the processes that were seen."""

from __future__ import annotations

from sqlalchemy import BigInteger, Text
from sqlalchemy.orm import Mapped, mapped_column

from mailer.storage.models.base import Base


class SeenWorker(Base):
    """A process that runs an engine. It writes when it was last alive, and deletes its row at its end."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    host: Mapped[str] = mapped_column(Text)
    pid: Mapped[int]
    engine: Mapped[str] = mapped_column(Text)
    role: Mapped[str] = mapped_column(Text)  # web or worker
    version: Mapped[str] = mapped_column(Text)
    started_at: Mapped[int] = mapped_column(BigInteger)
    seen_at: Mapped[int] = mapped_column(BigInteger)
    doing: Mapped[str] = mapped_column(Text)  # the batches in hand, empty for none
