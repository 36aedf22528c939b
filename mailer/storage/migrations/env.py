"""Alembic's entry: the connection comes from `Database.migrate`, which owns the transaction."""

from alembic import context

from mailer.storage.models import Base

connection = context.config.attributes["connection"]
if not connection.in_transaction():  # on SQLite `Database` has begun one past SQLAlchemy; Alembic would begin its own
    connection.begin()
context.configure(connection=connection, target_metadata=Base.metadata, transactional_ddl=False)
context.run_migrations()
