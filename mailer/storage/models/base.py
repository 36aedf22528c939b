"""What all tables have in common. Ids compare bytewise, so a range is the same everywhere."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeEngine

Id = Text().with_variant(Text(collation="C"), "postgresql")
Document: TypeEngine[Any] = JSON().with_variant(JSONB(), "postgresql")

OF_THE_SCHEMA = {"of_the_schema": True}  # the `info` of a table that says something of the schema itself, and no more


class Base(DeclarativeBase):
    """The metadata that the migrations are checked against."""
