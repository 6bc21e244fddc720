"""Metrics for Prometheus; no label holds the name of a slide or a file."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from wsi_segment.service.jobs.database import is_away
from wsi_segment.service.jobs.job_table import ENDED, Jobs
from wsi_segment.service.workers.supervisor import Supervisor

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """The metrics of one server."""

    def __init__(self, jobs: Jobs, supervisor: Supervisor) -> None:
        self._registry = CollectorRegistry()
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
        self._registry.register(_Counted(jobs, supervisor))

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request, by its route and not by its path."""
        known = method if method in ("GET", "HEAD", "POST", "DELETE", "OPTIONS") else "other"
        self._seconds.labels(known, route, str(status)).observe(seconds)

    def text(self) -> bytes:
        """Write all metrics as Prometheus reads them."""
        return generate_latest(self._registry)


class _Counted(Collector):
    """Metrics that are read from the job table when Prometheus asks."""

    def __init__(self, jobs: Jobs, supervisor: Supervisor) -> None:
        self._jobs, self._supervisor = jobs, supervisor

    def describe(self) -> list[GaugeMetricFamily]:
        """Describe nothing, so that registering reads nothing."""
        return []

    def collect(self) -> list[GaugeMetricFamily]:
        """Count jobs by status, and workers."""
        up = GaugeMetricFamily("wsi_segment_database_up", "Whether the database answers", 1)
        workers = GaugeMetricFamily("wsi_segment_workers", "Worker processes", self._supervisor.alive)
        try:
            counts = self._jobs.counts()
        except SQLAlchemyError as error:
            if not is_away(error):
                raise
            return [GaugeMetricFamily("wsi_segment_database_up", "Whether the database answers", 0), workers]
        by_status = GaugeMetricFamily("wsi_segment_jobs", "Jobs by status", labels=["status"])
        for status in ("accepted", "running", *ENDED):
            by_status.add_metric([status], counts.get(status, 0))
        return [up, by_status, workers]
