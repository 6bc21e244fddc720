"""Jobs and batches as clients see them: accepted, listed, cancelled, tried again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from sqlalchemy import BigInteger, ColumnElement, bindparam, func, insert, literal, select, update

from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.events import append_events, next_numbers
from wsi_segment.service.jobs.fairness import positions, take_turns
from wsi_segment.service.jobs.job_rows import make_row, new_id, outlines_of
from wsi_segment.service.jobs.tables import batches, jobs, outlines, replies

Status = Literal["accepted", "running", "successful", "failed", "dismissed"]
ENDED: tuple[Status, ...] = ("successful", "failed", "dismissed")
_PACE_JOBS = 20
_PLACED_SECONDS = 2.0
GONE = jobs.c.store.is_not(None) & jobs.c.removed.is_not(None)
"""Selects adopted masks that no longer lie where they were found."""


@dataclass(frozen=True, slots=True)
class Job:
    """A row of the job table; see :mod:`wsi_segment.service.jobs.tables`."""

    id: str
    number: int
    batch: str | None
    slide: str
    client: str
    """Name of the key that it was posted with; empty for none."""
    parameters: dict[str, Any]
    inputs: dict[str, Any] | None
    """State of slide and model when the job was accepted; None for a job of an earlier version."""
    windows: int | None
    status: Status
    priority: int
    turn: int
    fence: int
    owner: str | None
    lease: float | None
    crashes: int
    kept: int
    cancel: float | None
    created: float
    started: float | None
    finished: float | None
    done: int
    total: int
    stage: str
    message: str
    warnings: list[dict[str, str]]
    """Doubts about the result: ``code`` and ``message`` each."""
    store: str | None
    state: str | None
    removed: float | None


@dataclass(frozen=True, slots=True)
class Batch:
    """Jobs that were posted together."""

    id: str
    number: int
    name: str
    created: float
    jobs: int
    counts: dict[Status, int]
    """Number of jobs by status; a status without jobs is left out."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job before it is accepted."""

    slide: str
    parameters: dict[str, Any]
    """Parameters; outlines, if any, as :class:`~wsi_segment.service.jobs.job_rows.Outlines`."""
    priority: int = 0
    client: str = ""
    """Name of the key that it was posted with; empty for none."""
    inputs: dict[str, Any] | None = None
    windows: int | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """What came into the queue."""

    jobs: tuple[Job, ...]
    batch: Batch | None


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that is kept for the same request coming again; see the table."""

    key: str
    request: str
    created: float
    status: int
    headers: dict[str, str]
    body: bytes


class Jobs:
    """The job table as clients see it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._placed: tuple[float, dict[str, int]] = (float("-inf"), {})

    def accept(
        self,
        new: Sequence[NewJob],
        batch_name: str | None = None,
        make_reply: Callable[[Accepted], Reply] | None = None,
    ) -> Accepted:
        """Put jobs into the queue, all or none.

        Args:
            new: At least one.
            batch_name: With a name, even an empty one, the jobs become a batch.
            make_reply: Builds the response that is stored with them, for the same request coming again.

        Raises:
            IntegrityError: another call stored a response for that request in the meantime.
        """
        now = time.time()
        with self._database.write() as connection:
            batch = None
            if batch_name is not None:
                batch = Batch(
                    id=new_id(),
                    number=next_numbers(connection, "batches"),
                    name=batch_name,
                    created=now,
                    jobs=len(new),
                    counts={"accepted": len(new)},
                )
                row = {name: getattr(batch, name) for name in ("id", "number", "name", "created", "jobs")}
                connection.execute(insert(batches).values(row))
            first = next_numbers(connection, "jobs", len(new))
            turns = take_turns(connection, [(one.client, one.priority) for one in new])
            batch_id = None if batch is None else batch.id
            rows = [
                make_row(one, first + i, turn=turn, batch=batch_id, now=now)
                for i, (one, turn) in enumerate(zip(new, turns, strict=True))
            ]
            connection.execute(insert(jobs), rows)
            drawn = [
                {"job": row["id"], "name": name, "geojson": geojson}
                for one, row in zip(new, rows, strict=True)
                for name, geojson in outlines_of(one).items()
            ]
            if drawn:
                connection.execute(insert(outlines), drawn)
            append_events(connection, "accepted", [(row["id"], batch_id, {}) for row in rows])
            accepted = Accepted(tuple(Job(**row) for row in rows), batch)
            if make_reply is not None:
                connection.execute(insert(replies).values(asdict(make_reply(accepted))))
        return accepted

    def reply_to(self, key: str) -> Reply | None:
        """Return the response that is stored for a request."""
        with self._database.read() as connection:
            row = connection.execute(select(replies).where(replies.c.key == key)).first()
        return None if row is None else Reply(**row._mapping)

    def get(self, job_id: str) -> Job | None:
        """Return the job with an id."""
        with self._database.read() as connection:
            row = connection.execute(select(jobs).where(jobs.c.id == job_id)).first()
        return None if row is None else _job(row)

    def outlines(self, job_id: str) -> dict[str, dict[str, Any]]:
        """Return the outlines that a job was given, by parameter; they can be large, and are not in its row."""
        with self._database.read() as connection:
            rows = connection.execute(select(outlines.c.name, outlines.c.geojson).where(outlines.c.job == job_id)).all()
        return {row.name: row.geojson for row in rows}

    def listed(
        self,
        before: int | None,
        limit: int,
        status: Status | None = None,
        batch: str | None = None,
        *,
        slide: str | None = None,
        clients: Collection[str] | None = None,
    ) -> list[Job]:
        """Return jobs with numbers below ``before``, the newest first, without adopted masks that are gone."""
        query = select(jobs).where(~GONE).order_by(jobs.c.number.desc()).limit(limit)
        if before is not None:
            query = query.where(jobs.c.number < literal(before, BigInteger))
        for column, wanted in ((jobs.c.status, status), (jobs.c.batch, batch), (jobs.c.slide, slide)):
            if wanted is not None:
                query = query.where(column == wanted)
        if clients is not None:
            query = query.where(jobs.c.client.in_(clients))
        with self._database.read() as connection:
            return [_job(row) for row in connection.execute(query)]

    def batch(self, batch_id: str) -> Batch | None:
        """Return the batch with an id."""
        return next(iter(self._batches(batches.c.id == batch_id, None, 1)), None)

    def listed_batches(self, before: int | None, limit: int, clients: Collection[str] | None = None) -> list[Batch]:
        """Return batches with numbers below ``before``, the newest first; ``clients`` are names of keys."""
        theirs = None if clients is None else batches.c.id.in_(select(jobs.c.batch).where(jobs.c.client.in_(clients)))
        return self._batches(theirs, before, limit)

    def client_of(self, batch_id: str) -> str:
        """Return the name of the key that a batch was posted with; empty for none."""
        with self._database.read() as connection:
            return connection.execute(select(jobs.c.client).where(jobs.c.batch == batch_id).limit(1)).scalar() or ""

    def cancel(self, job_id: str) -> bool:
        """Cancel a job: one that waits is dismissed at once. Return False where it had already ended."""
        return self._cancel(jobs.c.id == job_id) > 0

    def cancel_batch(self, batch_id: str) -> int:
        """Cancel all jobs of a batch; return how many."""
        return self._cancel(jobs.c.batch == batch_id)

    def retry(self, job_id: str) -> bool:
        """Put a failed or dismissed job into the queue again; return False for any other."""
        return self._retry(jobs.c.id == job_id) > 0

    def retry_batch(self, batch_id: str) -> int:
        """Try again what failed or was dismissed in a batch; return how many."""
        return self._retry(jobs.c.batch == batch_id)

    def counts(self) -> dict[Status, int]:
        """Return the number of jobs by status."""
        with self._database.read() as connection:
            rows = connection.execute(select(jobs.c.status, func.count()).group_by(jobs.c.status)).all()
        return dict(tuple(row) for row in rows)

    def pace(self) -> float | None:
        """Return the mean seconds of the last jobs that were done; None where none was."""
        last = (
            select(jobs.c.started, jobs.c.finished)
            .where(jobs.c.status == "successful", jobs.c.store.is_(None))
            .order_by(jobs.c.number.desc())
            .limit(_PACE_JOBS)
        )
        with self._database.read() as connection:
            spent = [row.finished - row.started for row in connection.execute(last) if row.started and row.finished]
        return sum(spent) / len(spent) if spent else None

    def positions(self) -> dict[str, int]:
        """Return how many jobs come before each waiting one, as it was at most a few seconds ago."""
        with self._lock:
            if time.monotonic() - self._placed[0] > _PLACED_SECONDS:
                self._placed = (time.monotonic(), positions(self._database))
            return self._placed[1]

    def _cancel(self, which: ColumnElement[bool]) -> int:
        now = time.time()
        with self._database.write() as connection:
            waiting = connection.execute(
                update(jobs)
                .where(which, jobs.c.status == "accepted")
                .values(status="dismissed", cancel=now, finished=now, message="cancelled")
                .returning(jobs.c.id, jobs.c.batch)
            ).all()
            append_events(connection, "dismissed", [(row.id, row.batch, {}) for row in waiting])
            running = connection.execute(
                update(jobs).where(which, jobs.c.status == "running").values(cancel=func.coalesce(jobs.c.cancel, now))
            ).rowcount
        return len(waiting) + running

    def _retry(self, which: ColumnElement[bool]) -> int:
        with self._database.write() as connection:
            again = connection.execute(
                select(jobs.c.id, jobs.c.batch, jobs.c.client, jobs.c.priority)
                .where(which, jobs.c.status.in_(("failed", "dismissed")))
                .order_by(jobs.c.number)
            ).all()
            if not again:
                return 0
            turns = take_turns(connection, [(row.client, row.priority) for row in again])
            connection.execute(
                update(jobs)
                .where(jobs.c.id == bindparam("job"))
                .values(
                    status="accepted",
                    turn=bindparam("next"),
                    cancel=None,
                    crashes=0,
                    kept=0,
                    finished=None,
                    removed=None,
                    message="",
                    warnings=[],
                ),
                [{"job": row.id, "next": turn} for row, turn in zip(again, turns, strict=True)],
            )
            append_events(connection, "accepted", [(row.id, row.batch, {}) for row in again])
        return len(again)

    def _batches(self, which: ColumnElement[bool] | None, before: int | None, limit: int) -> list[Batch]:
        query = select(batches).order_by(batches.c.number.desc()).limit(limit)
        if which is not None:
            query = query.where(which)
        if before is not None:
            query = query.where(batches.c.number < literal(before, BigInteger))
        with self._database.read() as connection:
            found = connection.execute(query).all()
            counted: dict[str, dict[Status, int]] = {row.id: {} for row in found}
            for batch, status, count in connection.execute(
                select(jobs.c.batch, jobs.c.status, func.count())
                .where(jobs.c.batch.in_(counted))
                .group_by(jobs.c.batch, jobs.c.status)
            ):
                counted[batch][status] = count
        return [Batch(**row._mapping, counts=counted[row.id]) for row in found]


def _job(row: Any) -> Job:
    return Job(**row._mapping)
