"""Bounces and complaints on deliveries and addresses, and a digest by which a bounce's address tells the user.

Older code adds users without the digest, who are found all the same, and ends the count of an address that takes mail.
"""

from hashlib import blake2b
from typing import Any

import sqlalchemy as sa
from alembic import op

revision, down_revision, serves_from = "0030", "0029", "0017"

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
AT_ONCE = 10_000  # users of PostgreSQL in one statement
MORE = "SELECT id FROM users WHERE id > %s ORDER BY id LIMIT %s"
FILL = """
UPDATE users SET digest = made.digest FROM unnest(%s::text[], %s::text[]) AS made (id, digest) WHERE users.id = made.id
"""


def upgrade() -> None:
    for name in ("bounced_at", "complained_at"):
        op.add_column("deliveries", sa.Column(name, sa.BigInteger(), nullable=True))
    for name in ("bounce_about", "bounce_status", "bounce_reply"):
        op.add_column("deliveries", sa.Column(name, sa.Text(), nullable=True))
    op.add_column("deliveries", sa.Column("bounce_permanent", sa.Boolean(), nullable=True))
    for name in ("bounced", "complained"):
        there = sa.text(f"{name}_at IS NOT NULL")
        columns = ["campaign_id", "user_id"]
        op.create_index(f"ix_deliveries_{name}", "deliveries", columns, sqlite_where=there, postgresql_where=there)
    for name in ("bounced_at", "complained_at"):
        op.add_column("refused_addresses", sa.Column(name, sa.BigInteger(), nullable=True))
    op.add_column("refused_addresses", sa.Column("taken", sa.Text(), nullable=False, server_default=""))
    op.add_column("users", sa.Column("digest", ID, nullable=True))
    _fill_digests(op.get_bind())
    op.create_index("ix_users_digest", "users", ["digest"])


def _fill_digests(connection: sa.Connection) -> None:
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "sqlite":
        driver.create_function("digest_of_user", 1, _digest, deterministic=True)
        connection.exec_driver_sql("UPDATE users SET digest = digest_of_user(id)")
        return
    last = ""
    while ids := [row[0] for row in driver.execute(MORE, (last, AT_ONCE)).fetchall()]:
        driver.execute(FILL, (ids, [_digest(one) for one in ids]))
        last = ids[-1]


def _digest(user_id: str) -> str:
    """As `messages.recipient.user_digest` made it when this was written."""
    return blake2b(user_id.encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()[:16]
