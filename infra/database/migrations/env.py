"""Alembic's entry: the migrations run on the connection, and inside the transaction, that sessions.py hands over."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table=context.config.attributes["version_table"],
    transactional_ddl=True,  # SQLite can, and a migration that was killed must leave nothing behind
)
with context.begin_transaction():
    context.run_migrations()
