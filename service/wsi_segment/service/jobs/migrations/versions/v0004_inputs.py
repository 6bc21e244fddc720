"""What jobs are made from; whose they are; outlines in a table of their own; identities of roots and adopted masks."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from wsi_segment.inference.slides.geojson_features import bounds_of

revision = "0004"
down_revision = "0003"

_jobs = sa.table("jobs", sa.column("id", sa.String), sa.column("parameters", sa.JSON))
_outlines = sa.table(
    "outlines", sa.column("job", sa.String), sa.column("name", sa.String), sa.column("geojson", sa.JSON)
)
_PAGE = 100


def upgrade() -> None:
    """Add tables and columns, and move the outlines; earlier jobs have no inputs and no poster."""
    op.create_table(
        "outlines",
        sa.Column("job", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=16), nullable=False),
        sa.Column("geojson", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("job", "name", name=op.f("pk_outlines")),
    )
    op.create_table(
        "roots",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("marker", sa.String(length=200), nullable=False),
        sa.Column("inode", sa.String(length=40), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_roots")),
    )
    op.create_table(
        "shares",
        sa.Column("client", sa.String(length=200), nullable=False),
        sa.Column("served", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("client", name=op.f("pk_shares")),
    )
    op.add_column("slides", sa.Column("fingerprint", sa.String(length=64), nullable=True))
    op.create_index(op.f("ix_slides_fingerprint"), "slides", ["fingerprint"])
    op.add_column("jobs", sa.Column("client", sa.String(length=200), nullable=False, server_default=""))
    op.add_column("jobs", sa.Column("inputs", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("jobs", sa.Column("windows", sa.Integer(), nullable=True))
    op.add_column("jobs", sa.Column("state", sa.String(length=64), nullable=True))
    op.drop_index(op.f("ix_jobs_status_priority_turn_number"), "jobs")
    op.create_index(
        op.f("ix_jobs_status_client_priority_turn_number"), "jobs", ["status", "client", "priority", "turn", "number"]
    )
    op.execute("INSERT INTO shares (client, served) VALUES ('', 0)")
    _move_outlines(op.get_bind())


def _move_outlines(connection: sa.Connection) -> None:
    """Move outlines to their own table, a few jobs at a time: one may have megabytes of them."""
    last = ""
    while rows := connection.execute(sa.select(_jobs).where(_jobs.c.id > last).order_by(_jobs.c.id).limit(_PAGE)).all():
        for row in rows:
            last = row.id
            parameters: dict[str, Any] = row.parameters
            moved = {name: parameters[name] for name in ("region", "tissue") if isinstance(parameters.get(name), dict)}
            if not moved:
                continue
            connection.execute(
                sa.insert(_outlines), [{"job": row.id, "name": name, "geojson": one} for name, one in moved.items()]
            )
            kept = parameters | {name: {"bounds": bounds_of(one)} for name, one in moved.items()}
            connection.execute(sa.update(_jobs).where(_jobs.c.id == row.id).values(parameters=kept))
