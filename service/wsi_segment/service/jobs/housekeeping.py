"""Remove old results and old events, and watch the disk space."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import delete, select, update

from wsi_segment.service.jobs.database import Database, is_away
from wsi_segment.service.jobs.events import append_events
from wsi_segment.service.jobs.job_table import ENDED
from wsi_segment.service.jobs.outbox import tidy_outbox
from wsi_segment.service.jobs.tables import events, jobs, replies

LOOK_SECONDS = 60.0
_REPLY_DAYS = 7.0
_PROGRESS_DAYS = 1.0
"""Progress can be replayed for this long; how a job ended, for ever."""
_MOST_EVENTS = 10_000
"""Removed per transaction, since others wait for it."""
_DAY = 86400.0
_REMOVED = ".removed"
"""Suffix of a folder whose results are being removed."""

log = logging.getLogger(__name__)


class Housekeeping:
    """A thread of the server that removes what is too old, once a minute."""

    def __init__(
        self,
        database: Database,
        data: Path,
        keep_days: float | None,
        min_free: int,
        tidy_uploads: Callable[[float | None], int] = lambda days: 0,
    ) -> None:
        """Prepare; see :meth:`start`.

        Args:
            database: The job table.
            data: The service's folder.
            keep_days: Days after which results and uploads are removed; None for never.
            min_free: Bytes of disk below which no job is started.
            tidy_uploads: Removes uploads of that age, and says how many.
        """
        self._database, self._data, self._keep_days, self._min_free = database, data, keep_days, min_free
        self._tidy_uploads = tidy_uploads
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, and wait up to 5 s for it."""
        self._over.set()
        self._thread.join(5)

    @property
    def disk_low(self) -> str | None:
        """Why no job is started at present, or None."""
        free = shutil.disk_usage(self._data).free
        if free >= self._min_free:
            return None
        return f"{free >> 20} MiB of disk are free, jobs wait for {self._min_free >> 20} MiB; see `min_free`"

    def remove_results(self, job_id: str) -> None:
        """Remove the files of an ended job; the job itself stays.

        The transaction renames them: a retry finds a free folder, and if the process is killed, :meth:`tidy` sees by
        the folder's name that it should go.
        """
        folder = self._data / "results" / job_id
        aside = folder.with_name(f"{job_id}{_REMOVED}")
        with self._database.write() as connection:
            rows = connection.execute(
                update(jobs)
                .where(jobs.c.id == job_id, jobs.c.status.in_(ENDED), jobs.c.removed.is_(None))
                .values(removed=time.time())
                .returning(jobs.c.id, jobs.c.batch)
            ).all()
            append_events(connection, "removed", [(row.id, row.batch, {}) for row in rows])
            if rows and folder.exists():
                shutil.rmtree(aside, ignore_errors=True)
                folder.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)

    def tidy(self) -> None:
        """Remove replies, messages of hooks, progress, results and uploads that are too old."""
        if removed := self._tidy_uploads(self._keep_days):
            log.info("removed %d uploads that are older than %g days", removed, self._keep_days)
        now = time.time()
        with self._database.write() as connection:
            connection.execute(delete(replies).where(replies.c.created < now - _REPLY_DAYS * _DAY))
            tidy_outbox(connection, now)
            old_news = (
                select(events.c.number)
                .where(events.c.kind == "progress", events.c.time < now - _PROGRESS_DAYS * _DAY)
                .limit(_MOST_EVENTS)
            )
            connection.execute(delete(events).where(events.c.number.in_(old_news)))
        for left in (self._data / "results").glob(f"*{_REMOVED}"):
            self.remove_results(left.name.removesuffix(_REMOVED))
        if self._keep_days is None:
            return
        old = (jobs.c.finished < now - self._keep_days * _DAY) & jobs.c.removed.is_(None) & jobs.c.store.is_(None)
        with self._database.read() as connection:
            ids = connection.execute(select(jobs.c.id).where(jobs.c.status.in_(ENDED), old)).scalars().all()
        for job_id in ids:
            self.remove_results(job_id)
        if ids:
            log.info("removed the results of %d jobs that ended %g days ago", len(ids), self._keep_days)

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self.tidy()
            except Exception as error:  # the thread outlives a database that is away or a disk that fails
                if not is_away(error):
                    log.exception("housekeeping failed; it is tried again")
            self._over.wait(LOOK_SECONDS)
