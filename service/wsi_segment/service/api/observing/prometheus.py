"""Metrics for Prometheus; no label holds the name of a slide or a file."""

from __future__ import annotations

import shutil
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from wsi_segment.service.jobs.database import Database, is_away
from wsi_segment.service.jobs.fairness import queue_age
from wsi_segment.service.jobs.job_table import ENDED, Jobs
from wsi_segment.service.jobs.outbox import Outbox
from wsi_segment.service.workers.supervisor import Supervisor

_JOB_BUCKETS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 4 * 3600.0, 24 * 3600.0)
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """The metrics of one server."""

    def __init__(self, jobs: Jobs, supervisor: Supervisor, database: Database, data: Path, outbox: Outbox) -> None:
        """Set up all metrics.

        Args:
            jobs: Counted when Prometheus asks.
            supervisor: Of the workers.
            database: Where the queue is.
            data: The service's folder, whose disk is watched.
            outbox: The messages of web hooks.
        """
        self._registry = CollectorRegistry()
        self._ran, self._waited = (
            Histogram(name, text, ("status",), buckets=_JOB_BUCKETS, registry=self._registry)
            for name, text in (
                ("wsi_segment_job_seconds", "Time from the start of a job to its end"),
                ("wsi_segment_job_wait_seconds", "Time from when a job was accepted to its start"),
            )
        )
        self._seconds = Histogram(
            "wsi_segment_request_seconds",
            "Time until an answer ended",
            ("method", "route", "status"),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self.listeners = Gauge("wsi_segment_event_streams", "Open streams of events", registry=self._registry)
        self.uploaded = Counter(
            "wsi_segment_uploaded_bytes", "Bytes of slides that were uploaded", registry=self._registry
        )
        self._hooks = Counter(
            "wsi_segment_hook_attempts", "Attempts to send messages of hooks", ("result",), registry=self._registry
        )
        for result in ("delivered", "failed", "given_up"):
            self._hooks.labels(result)
        self._registry.register(_Counted(jobs, supervisor, database, data=data, outbox=outbox))

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request, by its route and not by its path."""
        known = method if method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS") else "other"
        self._seconds.labels(known, route, str(status)).observe(seconds)

    def ended(self, status: str, ran: float, waited: float) -> None:
        """Count a job that ended; every server counts all jobs of a database that they share."""
        self._ran.labels(status).observe(ran)
        self._waited.labels(status).observe(waited)

    def hook(self, result: str) -> None:
        """Count an attempt to send a message."""
        self._hooks.labels(result).inc()

    def text(self) -> bytes:
        """Write all metrics as Prometheus reads them."""
        return generate_latest(self._registry)


class _Counted(Collector):
    """Metrics that are read from the job table when Prometheus asks."""

    def __init__(self, jobs: Jobs, supervisor: Supervisor, database: Database, data: Path, outbox: Outbox) -> None:
        self._jobs, self._supervisor, self._database, self._data = jobs, supervisor, database, data
        self._outbox = outbox

    def describe(self) -> list[Metric]:
        """Describe nothing, so that registering reads nothing."""
        return []

    def collect(self) -> list[Metric]:
        """Count jobs by status, and workers."""
        up = GaugeMetricFamily("wsi_segment_database_up", "Whether the database answers", 1)
        workers = GaugeMetricFamily("wsi_segment_workers", "Worker processes", self._supervisor.alive)
        restarts = CounterMetricFamily("wsi_segment_worker_restarts", "Workers that ended and were replaced")
        restarts.add_metric([], self._supervisor.restarts)
        free = GaugeMetricFamily("wsi_segment_disk_free_bytes", "Free space of the data folder's disk")
        free.add_metric([], shutil.disk_usage(self._data).free)
        try:
            counts, waiting = self._jobs.counts(), queue_age(self._database)
            messages = self._outbox.waiting()
        except SQLAlchemyError as error:
            if not is_away(error):
                raise
            return [
                GaugeMetricFamily("wsi_segment_database_up", "Whether the database answers", 0),
                workers,
                restarts,
                free,
            ]
        by_status = GaugeMetricFamily("wsi_segment_jobs", "Jobs by status", labels=["status"])
        for status in ("accepted", "running", *ENDED):
            by_status.add_metric([status], counts.get(status, 0))
        age = GaugeMetricFamily("wsi_segment_queue_age_seconds", "How long the oldest waiting job has waited", waiting)
        unsent = GaugeMetricFamily("wsi_segment_hook_messages_waiting", "Messages that hooks have not taken", messages)
        return [up, by_status, age, unsent, workers, restarts, free]
