"""Campaigns that rest or fail by themselves, refusals by whom they are about, and how far the clock has come."""

import logging
import re

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from transports.answers.blame import blame_on_record
from transports.base import About

revision = "0007"
down_revision = "0006"

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
log = logging.getLogger("mailer.migrations")

REFUSED = sa.table("refused_addresses", *map(sa.column, ("address", "reply", "rule", "suppressed_at")))
CODES = re.compile(r"(?<![\d.])5\.\d{1,3}\.\d{1,3}(?![\d.])")
CHUNK = 500
DOCUMENT = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    for name in ("rests", "errors"):
        op.add_column("campaigns", sa.Column(name, sa.Integer(), nullable=False, server_default="0"))
    op.add_column("campaigns", sa.Column("failures_known", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.execute("UPDATE campaigns SET failures_known = true WHERE reason LIKE 'resumed by a person; was paused:%'")
    op.add_column("batches", sa.Column("takeovers", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("refused_addresses", sa.Column("rule", sa.Text(), nullable=False, server_default=""))
    _judge_again()
    op.create_table(
        "same_refusals",
        sa.Column("campaign_id", ID, nullable=False),
        sa.Column("answers", DOCUMENT, nullable=False),
        sa.Column("known", DOCUMENT, nullable=False),
        sa.PrimaryKeyConstraint("campaign_id"),
    )
    op.create_table(
        "clock_mark",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("steps", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


def _judge_again() -> None:
    """Forget refusals that were never about the address, and lift what they suppressed.

    They are judged by the table as it is when this runs, and not as it was when this was written: what is lifted here
    and what counts from now on must be told apart by the same words.
    """
    connection = op.get_bind()
    rows = connection.execute(sa.select(REFUSED.c.address, REFUSED.c.reply, REFUSED.c.suppressed_at)).all()
    kept = [row for row in rows if blame_on_record(row.reply) is About.ADDRESS]
    known = {row.address for row in kept}
    gone = [row for row in rows if row.address not in known]
    for start in range(0, len(gone), CHUNK):
        addresses = [row.address for row in gone[start : start + CHUNK]]
        connection.execute(sa.delete(REFUSED).where(REFUSED.c.address.in_(addresses)))
    for row in kept:
        connection.execute(sa.update(REFUSED).where(REFUSED.c.address == row.address).values(rule=_rule(row.reply)))
    lifted = sum(row.suppressed_at is not None for row in gone)
    if lifted:
        log.warning(
            "%d suppressed addresses are written to again: their last refusal was not about the address", lifted
        )


def _rule(reply: str) -> str:
    found = CODES.search(reply)
    return found[0] if found else f"{reply[:3]} without a code of its own"
