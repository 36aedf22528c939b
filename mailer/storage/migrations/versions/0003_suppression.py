"""Addresses that are refused again and again; addresses compare without regard to case, by an index."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.drop_index("ix_users_email", "users")
    if op.get_bind().dialect.name == "postgresql":  # so that lower() is that of ASCII, as it is on SQLite
        op.alter_column("users", "email", type_=ID)
    op.create_index("ix_users_address", "users", [sa.text("lower(email)"), "id"])
    op.create_table(
        "refused_addresses",
        sa.Column("address", ID, nullable=False),
        sa.Column("campaigns", sa.Integer(), nullable=False),
        sa.Column("campaign_ids", sa.Text(), nullable=False),
        sa.Column("reply", sa.Text(), nullable=False),
        sa.Column("refused_at", sa.BigInteger(), nullable=False),
        sa.Column("suppressed_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("address"),
        sqlite_with_rowid=False,
    )
