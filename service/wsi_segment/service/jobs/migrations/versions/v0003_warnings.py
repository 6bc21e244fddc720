"""Doubts about a result, kept with its job."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column; earlier jobs have no warnings there."""
    op.add_column("jobs", sa.Column("warnings", sa.JSON(), nullable=False, server_default="[]"))
