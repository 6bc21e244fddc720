"""Keeps a job's lease while it is worked on: renews it, reports progress, and notices that the job was cancelled."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from wsi_segment.errors import Cancelled
from wsi_segment.inference.progress import Progress
from wsi_segment.service.jobs.database import is_away
from wsi_segment.service.jobs.job_table import Job
from wsi_segment.service.jobs.leases import RENEW_SECONDS
from wsi_segment.service.jobs.queue import LostJobError, Queue

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
"""Seconds between two checks of a running job for its cancellation."""
PROGRESS_SECONDS = 1.0
_AWAY_SECONDS = 1.0
"""Seconds between two tries while the database is away."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one job may take."""

    windows: int = 0
    """Windows of the network; 0 for any number."""
    hours: float = 0.0
    """Hours of work in one run; 0 for any."""


NO_LIMITS = Limits()


class LeaseKeeper:
    """Renews a job's lease, reports its progress, and sets ``stop`` when it is cancelled, lost or takes too much."""

    def __init__(self, queue: Queue, job: Job, stopping: threading.Event, limits: Limits) -> None:
        self._queue, self._job, self._stopping, self._limits = queue, job, stopping, limits
        self.refusal = ""
        """Why the job takes too much."""
        self.stop = threading.Event()
        self.cancelled = self.lost = False
        self._over, self._lock = threading.Event(), threading.Lock()
        self._latest = Progress("tissue", 0, 0)
        self._stage = "opening"
        self._waits_since: float | None = None
        self._waited = 0.0

    def report(self, progress: Progress) -> None:
        """Remember what the engine reports; the thread passes it on."""
        self._time_waiting(progress)
        self._latest, self._stage = progress, progress.stage
        most = self._limits.windows
        if most and progress.stage == "segment" and progress.total > most:
            self._refuse(f"the slide needs {progress.total} windows, and a job may have {most}; see `job_windows`")

    def _time_waiting(self, progress: Progress) -> None:
        """Tell waiting, as for workers of a cluster, from work, in the log and in what counts for `job_hours`."""
        waits = progress.stage == "waiting"
        with self._lock:
            since, now = self._waits_since, time.monotonic()
            if waits == (since is not None):
                return
            self._waits_since = now if waits else None
            if since is not None:
                self._waited += now - since
        said = f"works again, after {now - since:.0f} s" if since is not None else f"waits {progress.reason}"
        log.warning(said, extra={"job": self._job.id})

    def _worked(self, started: float) -> float:
        """Return the seconds since then without those of waiting for workers, the wait that lasts included."""
        with self._lock:
            now = time.monotonic()
            return now - started - self._waited - (0.0 if self._waits_since is None else now - self._waits_since)

    def stage(self, name: str) -> None:
        """Set a stage that the engine does not report."""
        self._stage, self._latest = name, Progress("tissue", 0, 0)

    def _refuse(self, reason: str) -> None:
        self.refusal = self.refusal or reason
        self.stop.set()

    def step(self) -> None:
        """Count a step of a stage that the engine does not report; raise Cancelled when the work should end."""
        self._latest = Progress("tissue", self._latest.done + 1, 0)
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
        started, most = time.monotonic(), self._limits.hours
        while not self._over.wait(LOOK_SECONDS):
            if self._stopping.is_set():
                self.stop.set()
            if most and self._worked(started) > 3600 * most:
                self._refuse(f"the job took longer than the {most:g} hours that it may take; see `job_hours`")
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
            except Exception as error:  # without a database nobody can take the job, and the work goes on
                if not is_away(error):
                    log.exception("the job table cannot be reached", extra={"job": self._job.id})
                self._over.wait(_AWAY_SECONDS)
