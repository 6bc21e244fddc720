"""How long the queue has been waiting."""

from __future__ import annotations

import time

from sqlalchemy import func, select

from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.tables import jobs


def queue_age(database: Database) -> float:
    """Return for how many seconds the oldest waiting job has waited; 0 where none waits."""
    with database.read() as connection:
        oldest = connection.execute(select(func.min(jobs.c.created)).where(jobs.c.status == "accepted")).scalar()
    return 0.0 if oldest is None else max(0.0, time.time() - oldest)
