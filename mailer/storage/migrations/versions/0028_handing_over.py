"""What is known of tokens and of signing keys: a label, when they were used last, and how many links a key has signed.

Older code makes tokens without a label, and notes no use; its campaigns count for no key.
"""

import sqlalchemy as sa
from alembic import op

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

revision, down_revision, serves_from = "0028", "0027", "0017"


def upgrade() -> None:
    op.add_column("auth_tokens", sa.Column("label", sa.Text(), nullable=True))
    op.add_column("auth_tokens", sa.Column("last_used_at", sa.BigInteger(), nullable=True))
    op.create_table(
        "signing_keys",
        sa.Column("fingerprint", ID, nullable=False),
        sa.Column("known_at", sa.BigInteger(), nullable=False),
        sa.Column("last_signed_at", sa.BigInteger(), nullable=True),
        sa.Column("messages", sa.BigInteger(), nullable=False),
        sa.Column("last_used_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("fingerprint"),
    )
    op.add_column("campaigns", sa.Column("signing_key", ID, nullable=True))
