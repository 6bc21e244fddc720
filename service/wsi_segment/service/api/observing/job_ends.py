"""How each job ended: a line of the log and the metrics of its times, wherever the job ran and whoever ended it."""

from __future__ import annotations

import logging

from wsi_segment.service.api.observing.prometheus import Metrics
from wsi_segment.service.jobs.actions import Actions
from wsi_segment.service.jobs.events import Event
from wsi_segment.service.jobs.job_table import ENDED, Jobs

log = logging.getLogger("wsi_segment.service.jobs")


class JobEnds:
    """Takes note of jobs that end."""

    def __init__(self, jobs: Jobs, actions: Actions, metrics: Metrics) -> None:
        self._jobs, self._actions, self._metrics = jobs, actions, metrics

    def note(self, event: Event) -> None:
        """Write how a job ended and why, with the key and the address that it was posted from."""
        job = self._jobs.get(event.job) if event.kind in ENDED else None
        if job is None:
            return
        finished = job.finished or event.time
        ran = max(0.0, finished - (job.started or finished))  # clocks of hosts differ, and are set
        waited = max(0.0, (job.started or finished) - job.created)
        address = self._actions.address_of(job.batch or job.id)  # what may fail comes first, since it is tried again
        self._metrics.ended(event.kind, ran, waited)
        reason = str(event.data.get("message", "")) or "; ".join(one["message"] for one in job.warnings)
        log.info(
            "job %s after %.1f s of waiting and %.1f s of work%s",
            event.kind,
            waited,
            ran,
            f": {reason}" if reason else "",
            extra={
                "job": job.id,
                "key": job.client,
                "client": address,
                "fields": {"job_status": event.kind, "waited_s": round(waited, 1), "worked_s": round(ran, 1)},
            },
        )
