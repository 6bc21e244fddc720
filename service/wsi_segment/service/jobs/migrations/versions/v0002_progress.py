"""What a job kept of its last run; progress events found by their age; turns found by priority."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column; jobs that were interrupted before count their crashes from where they are."""
    op.add_column("jobs", sa.Column("kept", sa.Integer(), nullable=False, server_default="0"))
    op.drop_index(op.f("ix_jobs_status_turn"), "jobs")
    progress = sa.text("kind = 'progress'")
    op.create_index("ix_events_progress", "events", ["time"], sqlite_where=progress, postgresql_where=progress)
