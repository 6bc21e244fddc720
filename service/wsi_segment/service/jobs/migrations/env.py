"""How Alembic runs: on the connection that the service gives it."""

from alembic import context

from wsi_segment.service.jobs.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
