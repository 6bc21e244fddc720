"""Jobs and batches as clients see them: accepted, listed, cancelled, tried again."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, bindparam, func, insert, select, update

from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.events import append_events, next_numbers
from wsi_segment.service.jobs.tables import batches, jobs, replies

Status = Literal["accepted", "running", "successful", "failed", "dismissed"]
ENDED: tuple[Status, ...] = ("successful", "failed", "dismissed")


@dataclass(frozen=True, slots=True)
class Job:
    """A row of the job table; see :mod:`wsi_segment.service.jobs.tables`."""

    id: str
    number: int
    batch: str | None
    slide: str
    parameters: dict[str, Any]
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
    """Jobs of each status; those without any are left out."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A job to be accepted."""

    slide: str
    parameters: dict[str, Any]
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Accepted:
    """What was put into the queue."""

    jobs: tuple[Job, ...]
    batch: Batch | None


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that is given again when the same request comes again; see the table."""

    key: str
    request: str
    created: float
    status: int
    headers: dict[str, str]
    body: bytes


class Jobs:
    """The client's side of the job table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def accept(
        self, wanted: Sequence[Wanted], batch_name: str | None = None, reply: Callable[[Accepted], Reply] | None = None
    ) -> Accepted:
        """Put jobs into the queue, all or none.

        Args:
            wanted: At least one.
            batch_name: With a name, even an empty one, they become a batch.
            reply: Makes the answer that is kept for the same request coming again, in the same transaction.

        Raises:
            IntegrityError: an answer was kept for that request meanwhile.
        """
        now = time.time()
        with self._database.write() as connection:
            batch = None
            if batch_name is not None:
                batch = Batch(
                    _new_id(),
                    next_numbers(connection, "batches"),
                    batch_name,
                    now,
                    len(wanted),
                    {"accepted": len(wanted)},
                )
                row = {name: getattr(batch, name) for name in ("id", "number", "name", "created", "jobs")}
                connection.execute(insert(batches).values(row))
            first = next_numbers(connection, "jobs", len(wanted))
            turns = _turns(connection, [one.priority for one in wanted])
            batch_id = None if batch is None else batch.id
            rows = [
                _new_row(one, first + i, turn, batch_id, now)
                for i, (one, turn) in enumerate(zip(wanted, turns, strict=True))
            ]
            connection.execute(insert(jobs), rows)
            append_events(connection, "accepted", [(row["id"], batch_id, {}) for row in rows])
            accepted = Accepted(tuple(Job(**row) for row in rows), batch)
            if reply is not None:
                connection.execute(insert(replies).values(asdict(reply(accepted))))
        return accepted

    def reply_to(self, key: str) -> Reply | None:
        """The answer that was kept for a request."""
        with self._database.read() as connection:
            row = connection.execute(select(replies).where(replies.c.key == key)).first()
        return None if row is None else Reply(**row._mapping)

    def adopt(
        self, slide: str, store: str, parameters: dict[str, Any], warnings: Sequence[dict[str, str]] = ()
    ) -> None:
        """Have a finished store that nobody posted among the jobs, as a successful one; once."""
        now = time.time()
        with self._database.write() as connection:
            if connection.execute(select(jobs.c.id).where(jobs.c.store == store)).first() is not None:
                return
            row = _new_row(Wanted(slide, parameters), next_numbers(connection, "jobs"), 0, None, now)
            row |= {"status": "successful", "store": store, "started": now, "finished": now}
            row["warnings"] = list(warnings)
            connection.execute(insert(jobs).values(row))
            append_events(connection, "successful", [(row["id"], None, {})])

    def get(self, job_id: str) -> Job | None:
        """The job of an id."""
        with self._database.read() as connection:
            row = connection.execute(select(jobs).where(jobs.c.id == job_id)).first()
        return None if row is None else _job(row)

    def listed(
        self, before: int | None, limit: int, status: Status | None = None, batch: str | None = None
    ) -> list[Job]:
        """Jobs with numbers under ``before``, the newest first."""
        query = select(jobs).order_by(jobs.c.number.desc()).limit(limit)
        if before is not None:
            query = query.where(jobs.c.number < before)
        if status is not None:
            query = query.where(jobs.c.status == status)
        if batch is not None:
            query = query.where(jobs.c.batch == batch)
        with self._database.read() as connection:
            return [_job(row) for row in connection.execute(query)]

    def batch(self, batch_id: str) -> Batch | None:
        """The batch of an id."""
        return next(iter(self._batches(batches.c.id == batch_id, None, 1)), None)

    def listed_batches(self, before: int | None, limit: int) -> list[Batch]:
        """Batches with numbers under ``before``, the newest first."""
        return self._batches(None, before, limit)

    def cancel(self, job_id: str) -> bool:
        """Ask for a job's end: one that waits is dismissed at once; False where it had ended before."""
        return self._cancel(jobs.c.id == job_id) > 0

    def cancel_batch(self, batch_id: str) -> int:
        """Ask for the end of all jobs of a batch; how many that were."""
        return self._cancel(jobs.c.batch == batch_id)

    def retry(self, job_id: str) -> bool:
        """Put a failed or dismissed job into the queue again; False for any other."""
        return self._retry(jobs.c.id == job_id) > 0

    def retry_batch(self, batch_id: str) -> int:
        """Try again what failed or was dismissed in a batch; how many that were."""
        return self._retry(jobs.c.batch == batch_id)

    def counts(self) -> dict[Status, int]:
        """Jobs of each status."""
        with self._database.read() as connection:
            rows = connection.execute(select(jobs.c.status, func.count()).group_by(jobs.c.status)).all()
        return dict(tuple(row) for row in rows)

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
                select(jobs.c.id, jobs.c.batch, jobs.c.priority)
                .where(which, jobs.c.status.in_(("failed", "dismissed")))
                .order_by(jobs.c.number)
            ).all()
            if not again:
                return 0
            turns = _turns(connection, [row.priority for row in again])
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
            query = query.where(batches.c.number < before)
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


def _turns(connection: Connection, priorities: Sequence[int]) -> list[int]:
    """Turns for jobs that come into the queue now (start-time fair queueing, Goyal et al. 1996).

    They take one turn each, from the one that is up among jobs of their priority, so that a job posted later comes
    after those whose turn it is, and not after the whole of a large batch.
    """
    taken: Counter[int] = Counter()
    for priority in set(priorities):
        waiting = select(func.min(jobs.c.turn)).where(jobs.c.status == "accepted", jobs.c.priority == priority)
        taken[priority] = connection.execute(waiting).scalar() or 0
    turns = []
    for priority in priorities:
        turns.append(taken[priority])
        taken[priority] += 1
    return turns


def _new_row(wanted: Wanted, number: int, turn: int, batch: str | None, now: float) -> dict[str, Any]:
    empty = dict.fromkeys(("owner", "lease", "cancel", "started", "finished", "store", "removed"))
    return empty | {
        "id": _new_id(),
        "number": number,
        "batch": batch,
        "slide": wanted.slide,
        "parameters": wanted.parameters,
        "status": "accepted",
        "priority": wanted.priority,
        "turn": turn,
        "fence": 0,
        "crashes": 0,
        "kept": 0,
        "created": now,
        "done": 0,
        "total": 0,
        "stage": "",
        "message": "",
        "warnings": [],
    }


def _new_id() -> str:
    return secrets.token_hex(12)


def _job(row: Any) -> Job:
    return Job(**row._mapping)
