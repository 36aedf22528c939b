"""The tables of the people who were erased, and of what operators wrote about those who are there."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index, Integer, Text
from sqlalchemy.orm import Mapped, mapped_column

from mailer.storage.models.base import Base, Id


class ErasureKey(Base):
    """One row: the key under which ids and addresses are hashed. It is made at first use and never changed."""

    __tablename__ = "erasure_key"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    key: Mapped[str] = mapped_column(Text)  # 32 bytes in hexadecimal


class Erased(Base):
    """The hash of an id or of an address of somebody who was erased. Nobody who has it comes back."""

    __tablename__ = "erased"

    digest: Mapped[str] = mapped_column(Id, primary_key=True)
    kind: Mapped[str] = mapped_column(Text)  # `storage.erased.key.Of`
    erased_at: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (Index("ix_erased_kind", "kind", "erased_at"), {"sqlite_with_rowid": False})


class PersonNote(Base):
    """What somebody wrote down when they did something about a person; who and when is in the audit log.

    It stands apart from the log, since it is free text: it goes when the person is erased.
    """

    __tablename__ = "person_notes"

    entry: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False
    )
    user_id: Mapped[str] = mapped_column(Id)
    at: Mapped[int] = mapped_column(BigInteger)
    who: Mapped[str] = mapped_column(Id)
    act: Mapped[str] = mapped_column(Text)  # `audit.log.Act`
    note: Mapped[str] = mapped_column(Text)  # without addresses

    __table_args__ = (Index("ix_person_notes_user", "user_id", "entry"), Index("ix_person_notes_at", "at"))
