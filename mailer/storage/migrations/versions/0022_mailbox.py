"""The last messages of a development or staging service. Older code keeps none, and leaves the tables alone."""

import sqlalchemy as sa
from alembic import op

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

revision, down_revision, serves_from = "0022", "0021", "0017"


def upgrade() -> None:
    texts = ("person", "address", "recipient", "author", "addressee", "subject", "snippet", "words")
    op.create_table(
        "mailbox_arrivals",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("campaign_id", ID, nullable=False),
        sa.Column("caller_id", ID, nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("messages", sa.Integer(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("packed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "mailbox_messages",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("campaign_id", ID, nullable=False),
        sa.Column("caller_id", ID, nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in texts),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("attachments", sa.Integer(), nullable=False),
        sa.Column("read", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_mailbox_messages_caller", "mailbox_messages", ["caller_id", "id"])
    op.create_index("ix_mailbox_messages_campaign", "mailbox_messages", ["campaign_id", "id"])
    op.create_index("ix_mailbox_messages_person", "mailbox_messages", ["person"])
    op.create_index("ix_mailbox_messages_address", "mailbox_messages", ["address"])
    op.create_table(
        "mailbox_contents",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["id"], ["mailbox_messages.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
