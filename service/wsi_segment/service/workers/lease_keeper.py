"""Keeps a job's lease while it is worked on: renews it, reports progress, and notices that the job was cancelled."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from wsi_segment.errors import Cancelled
from wsi_segment.inference.progress import Progress
from wsi_segment.service.jobs.job_table import Job
from wsi_segment.service.jobs.queue import RENEW_SECONDS, LostJobError, Queue

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
"""How often a running job checks whether it was cancelled."""
PROGRESS_SECONDS = 1.0


class LeaseKeeper:
    """Renews a job's lease, reports its progress, and sets ``stop`` when it is cancelled or lost."""

    def __init__(self, queue: Queue, job: Job, stopping: threading.Event) -> None:
        self._queue, self._job, self._stopping = queue, job, stopping
        self.stop = threading.Event()
        self.cancelled = self.lost = False
        self._over = threading.Event()
        self._latest = Progress("tissue", 0, 0)
        self._stage = "opening"

    def report(self, progress: Progress) -> None:
        """Remember what the engine reports; the thread passes it on."""
        self._latest, self._stage = progress, progress.stage

    def stage(self, name: str) -> None:
        """Set a stage that the engine does not report."""
        self._stage = name

    def raise_if_stopped(self) -> None:
        """Raise Cancelled when work outside of the engine should end."""
        if self.stop.is_set():
            raise Cancelled("stopped")

    @contextmanager
    def running(self) -> Iterator[None]:
        """Keep the lease for as long as the context lasts."""
        thread = threading.Thread(target=self._keep_watch, name="watch", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _keep_watch(self) -> None:
        last_report, reported_at, renewed_at = ("", -1, -1), 0.0, time.monotonic()
        while not self._over.wait(LOOK_SECONDS):
            if self._stopping.is_set():
                self.stop.set()
            try:
                seen = self._queue.look(self._job)
                if not seen.held or seen.cancelled:
                    self.lost, self.cancelled = not seen.held, seen.cancelled
                    self.stop.set()
                    if self.lost:
                        return
                now = time.monotonic()
                latest = self._latest
                news = (self._stage, latest.done, latest.total)
                kept = latest.kept if latest.stage == "segment" else None
                if news != last_report and now - reported_at >= PROGRESS_SECONDS:
                    self._queue.progress(self._job, *news, kept)
                    last_report, reported_at, renewed_at = news, now, now
                elif now - renewed_at >= RENEW_SECONDS:
                    self._queue.renew(self._job)
                    renewed_at = now
            except LostJobError:
                self.lost = True
                self.stop.set()
                return
            except Exception:  # the database is away: the lease may run out, but the work goes on
                log.exception("the job table cannot be reached", extra={"job": self._job.id})
