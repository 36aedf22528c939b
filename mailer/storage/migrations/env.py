"""Alembic's entry: the connection comes from `Database.migrate`, which owns the transaction."""

from alembic import context

from mailer.storage.models import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, transactional_ddl=False
)
context.run_migrations()
