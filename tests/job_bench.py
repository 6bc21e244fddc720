"""A job runner on a folder of made slides, without processes."""

from __future__ import annotations

import threading
from pathlib import Path

from live_server import write_slides
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.service.folders.root_watch import RootWatch
from wsi_segment.service.folders.slide_roots import parse_roots
from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.job_table import Job, Jobs, NewJob
from wsi_segment.service.jobs.queue import Queue
from wsi_segment.service.workers.cluster_link import ClusterLink
from wsi_segment.service.workers.job_runner import JobRunner
from wsi_segment.service.workers.slide_catalogue import Catalogue
from wsi_segment.service.workers.trusted_models import TrustedModels


class Bench:
    """A job runner without processes, and the parts that it needs."""

    def __init__(self, folder: Path, link: ClusterLink | None = None) -> None:
        self.folder, self.data = write_slides(folder), folder / "data"
        self.database = Database(self.data)
        self.database.migrate()
        self.jobs, self.queue = Jobs(self.database), Queue(self.database, "host/1/a")
        roots = parse_roots([f"slides={folder / 'slides'}"])
        catalogue = Catalogue(self.database, roots, b"secret")
        self.slide = catalogue.by_path("slides/s0.tiff")
        catalogue.remember([self.slide])
        self.models = TrustedModels(folder / "models")
        self.stopping = threading.Event()
        self.runner = JobRunner(
            queue=self.queue,
            catalogue=catalogue,
            models=self.models,
            data=self.data,
            options=SegmentOptions(workers=1, device="cpu"),
            stopping=self.stopping,
            roots=RootWatch(self.database, roots),
            link=link,
        )

    def post(self) -> str:
        """Accept a job; its id."""
        return self.jobs.accept([NewJob(self.slide.id, {"model": "channels"})]).jobs[0].id

    def do(self) -> Job:
        """Do the next job; how it is then."""
        job = self.queue.claim()
        assert job is not None
        self.runner.do(job)
        after = self.jobs.get(job.id)
        assert after is not None
        return after
