"""People who were erased, by hashes; the key of these; and notes about people. Older code leaves the tables alone."""

import sqlalchemy as sa
from alembic import op

revision, down_revision, serves_from = "0021", "0020", "0017"

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "erasure_key",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "erased",
        sa.Column("digest", ID, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("erased_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_erased_kind", "erased", ["kind", "erased_at"])
    op.create_table(
        "person_notes",
        sa.Column("entry", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, autoincrement=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("who", ID, nullable=False),
        sa.Column("act", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("entry"),
    )
    op.create_index("ix_person_notes_user", "person_notes", ["user_id", "entry"])
    op.create_index("ix_person_notes_at", "person_notes", ["at"])
