"""What happened to jobs, in one order: written with the change itself, and read again by those who were away.

Writers take turns, so that numbers become visible in order: whoever has seen number n has seen all before it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import BigInteger, Connection, func, insert, literal, select, update

from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.outbox import note_ends
from wsi_segment.service.jobs.tables import counters, events

_ENDS = frozenset({"successful", "failed", "dismissed"})
Kind = Literal["accepted", "running", "progress", "paused", "successful", "failed", "dismissed", "removed"]
LAST_KINDS = frozenset({"successful", "failed", "dismissed", "removed"})
"""Events that may be the last of a job."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to one job."""

    number: int
    job: str
    batch: str | None
    time: float
    kind: Kind
    data: dict[str, Any]


def next_numbers(connection: Connection, name: str, count: int = 1) -> int:
    """Reserve ``count`` consecutive numbers and return the first."""
    last = connection.execute(
        update(counters)
        .where(counters.c.name == name)
        .values(value=counters.c.value + count)
        .returning(counters.c.value)
    ).scalar_one()
    return int(last) - count + 1


def append_events(
    connection: Connection, kind: Kind, happened: Sequence[tuple[str, str | None, dict[str, Any]]]
) -> None:
    """Record that something happened to jobs, as (job, batch, data) each; web hooks get messages about ends."""
    if not happened:
        return
    first, now = next_numbers(connection, "events", len(happened)), time.time()
    rows = [
        {"number": first + i, "job": job, "batch": batch, "time": now, "kind": kind, "data": data}
        for i, (job, batch, data) in enumerate(happened)
    ]
    connection.execute(insert(events), rows)
    if kind in _ENDS:
        note_ends(connection, kind, [(job, batch) for job, batch, _ in happened])


def read_events(
    database: Database, after: int, job: str | None = None, batch: str | None = None, limit: int = 1000
) -> list[Event]:
    """Return the events after a number, in order: of a job, of a batch, or of all."""
    seen = literal(after, BigInteger)  # clients may say more than a column holds
    query = select(events).where(events.c.number > seen).order_by(events.c.number).limit(limit)
    if job is not None:
        query = query.where(events.c.job == job)
    if batch is not None:
        query = query.where(events.c.batch == batch)
    with database.read() as connection:
        return [Event(**row._mapping) for row in connection.execute(query)]


def last_number(database: Database) -> int:
    """Return the largest event number, or 0 where there is no event."""
    with database.read() as connection:
        return connection.execute(select(func.max(events.c.number))).scalar() or 0
