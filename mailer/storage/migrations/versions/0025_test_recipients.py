"""Whom a dry run goes to, where its caller names somebody. Older code sends it to its sender instead."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

DOCUMENT = sa.JSON().with_variant(JSONB(), "postgresql")

revision, down_revision, serves_from = "0025", "0024", "0017"


def upgrade() -> None:
    op.add_column("campaigns", sa.Column("test_recipients", DOCUMENT, nullable=True))
