"""Run by Alembic for each command; the caller (store/migrate.py) hands over an open connection."""

from alembic import context

from store.columns import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
context.run_migrations()
