"""The job table as workers see it: claims, and writes that only the owner can make.

A claim raises the job's fence. Every write of a worker names the fence that it got; if the job has gone to another
worker since then, nothing is written, and the worker stops.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import JSON, ColumnElement, Connection, case, literal, select, update

from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.events import Kind, append_events
from wsi_segment.service.jobs.fairness import choose_next
from wsi_segment.service.jobs.job_table import Job, Jobs, Status
from wsi_segment.service.jobs.tables import jobs

MOST_CRASHES = 3
"""A job fails when this many workers in a row ended while at work on it and none of them finished more of it."""


@dataclass(frozen=True, slots=True)
class Ownership:
    """The state of a worker's claim."""

    held: bool
    """False where the job has gone to another worker, or ended."""
    cancelled: bool


class LostJobError(Exception):
    """The job belongs to another worker now."""


class Queue:
    """The queue for one worker: claims jobs, and records how they ended."""

    def __init__(self, database: Database, owner: str) -> None:
        self._database, self._owner = database, owner

    def claim(self, roots: Collection[str] | None = None) -> Job | None:
        """Claim the next job, see :mod:`wsi_segment.service.jobs.fairness`; return None where none waits.

        Args:
            roots: Names of the roots whose slides can be read at present; jobs of others go on waiting. None for all.
        """
        now = time.time()
        with self._database.write() as connection:
            job_id = choose_next(connection, roots)
            if job_id is None:
                return None
            row = connection.execute(
                update(jobs)
                .where(jobs.c.id == job_id)
                .values(
                    status="running",
                    owner=self._owner,
                    lease=now,
                    fence=jobs.c.fence + 1,
                    started=case((jobs.c.started.is_(None), now), else_=jobs.c.started),
                    message="",
                )
                .returning(jobs)
            ).one()
            append_events(connection, "running", [(row.id, row.batch, {})])
        return Job(**row._mapping)

    def outlines(self, job: Job) -> dict[str, dict[str, Any]]:
        """Return the outlines that a job was given; see :meth:`wsi_segment.service.jobs.job_table.Jobs.outlines`."""
        return Jobs(self._database).outlines(job.id)

    def look(self, job: Job) -> Ownership:
        """Return whether a claimed job is still the caller's, and whether it was cancelled."""
        with self._database.read() as connection:
            row = connection.execute(select(jobs.c.cancel).where(self._mine(job))).first()
        return Ownership(row is not None, row is not None and row.cancel is not None)

    def renew(self, job: Job) -> None:
        """Renew the lease of a job: others see that it changes, see :mod:`wsi_segment.service.jobs.leases`.

        Raises:
            LostJobError: the job has gone to another worker.
        """
        self._write(job, None, {}, lease=time.time())

    def progress(self, job: Job, stage: str, done: int, total: int, kept: int | None = None) -> None:
        """Report the progress of a job, and renew its lease; see :meth:`renew`.

        Args:
            job: A claimed one.
            stage: A stage of the engine, or of what follows it.
            done: Units of the stage that are done.
            total: Units of the stage.
            kept: Windows that this run found finished, once that is known. If the last run had found fewer, it got
                further before it crashed, and the count of crashes starts at 1 again: a long job outlives many power
                cuts, while one that takes its host down gets no further, and is given up.
        """
        data = {"stage": stage, "done": done, "total": total}
        row: dict[str, Any] = {**data, "lease": time.time()}
        if kept is not None:
            further = (jobs.c.kept < kept) & (jobs.c.crashes > 1)
            row |= {"kept": kept, "crashes": case((further, 1), else_=jobs.c.crashes)}
        self._write(job, "progress", data, **row)

    def end(self, job: Job, status: Status, message: str = "", *, warnings: Sequence[dict[str, str]] = ()) -> Status:
        """Record a job's end, with the doubts about its result, and return how it ended; see :meth:`renew`.

        A job that was cancelled before is dismissed, however far it got: who cancelled it was told so.
        """
        cancelled = jobs.c.cancel.is_not(None)
        ended = {
            "status": case((cancelled, "dismissed"), else_=status),
            "message": case((cancelled, "cancelled"), else_=message),
            "warnings": case((cancelled, literal([], JSON)), else_=literal(list(warnings), JSON)),
        }
        with self._database.write() as connection:
            changed = update(jobs).where(self._mine(job)).values(**ended, **_ended())
            row = connection.execute(changed.returning(jobs.c.status, jobs.c.message, jobs.c.warnings)).first()
            if row is None:
                raise LostJobError(job.id)
            data = {name: said for name, said in (("message", row.message), ("warnings", row.warnings)) if said}
            append_events(connection, row.status, [(job.id, job.batch, data)])
        now: Status = row.status
        return now

    def release(self, job: Job, message: str, crashed: bool = False) -> None:
        """Give a job back unfinished; the engine keeps what is done of it. One that was cancelled is dismissed."""
        with self._database.write() as connection:
            free(connection, self._mine(job), message, crashed)

    def _mine(self, job: Job) -> ColumnElement[bool]:
        return (jobs.c.id == job.id) & (jobs.c.fence == job.fence) & (jobs.c.status == "running")

    def _write(self, job: Job, kind: Kind | None, data: dict[str, Any], **values: Any) -> None:
        with self._database.write() as connection:
            if connection.execute(update(jobs).where(self._mine(job)).values(values)).rowcount == 0:
                raise LostJobError(job.id)
            if kind is not None:
                append_events(connection, kind, [(job.id, job.batch, data)])


def free(connection: Connection, which: ColumnElement[bool], reason: str, crashed: bool = True) -> None:
    """Take running jobs from workers that ended, and queue them again or end them.

    Args:
        connection: Inside a transaction that writes.
        which: Selects the jobs.
        reason: Why the worker ended, for the job's message.
        crashed: Whether the job may be to blame.
    """
    running = (jobs.c.status == "running") & which
    _finish(connection, running & jobs.c.cancel.is_not(None), "dismissed", "cancelled")
    if not crashed:
        _requeue(connection, running, reason, 0)
        return
    # the count starts again where more was finished between crashes, see Queue.progress
    spent = f"the worker ended {MOST_CRASHES} times while it was at work on this slide: {reason}"
    _finish(connection, running & (jobs.c.crashes >= MOST_CRASHES - 1), "failed", spent)
    _requeue(connection, running, reason, 1)


def free_owners(database: Database, owners: Iterable[str], reason: str, crashed: bool = True) -> int:
    """Free the jobs of owners that ended; return how many.

    Args:
        database: Where the jobs are.
        owners: Names of processes, see :func:`wsi_segment.service.jobs.leases.owner_name`.
        reason: Why they ended, for the jobs' messages.
        crashed: False where the service ended them itself, so that no job is to blame.
    """
    which = jobs.c.owner.in_(list(owners))
    with database.write() as connection:
        count = len(connection.execute(select(jobs.c.id).where(jobs.c.status == "running", which)).all())
        if count:
            free(connection, which, reason, crashed)
    return count


def _ended() -> dict[str, Any]:
    """Return what every row has whose job ends now."""
    return {"owner": None, "lease": None, "finished": time.time(), "stage": ""}


def _finish(connection: Connection, which: ColumnElement[bool], status: Status, message: str) -> None:
    rows = connection.execute(
        update(jobs).where(which).values(status=status, message=message, **_ended()).returning(jobs.c.id, jobs.c.batch)
    ).all()
    kind: Kind = status
    append_events(connection, kind, [(row.id, row.batch, {"message": message}) for row in rows])


def _requeue(connection: Connection, which: ColumnElement[bool], message: str, crashes: int) -> None:
    rows = connection.execute(
        update(jobs)
        .where(which)
        .values(status="accepted", message=message, owner=None, lease=None, crashes=jobs.c.crashes + crashes)
        .returning(jobs.c.id, jobs.c.batch)
    ).all()
    append_events(connection, "paused", [(row.id, row.batch, {"message": message}) for row in rows])
