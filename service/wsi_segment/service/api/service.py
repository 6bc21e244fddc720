"""The parts of a running service, as routes see them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Request
from sqlalchemy import select, update

from wsi_segment.errors import SlideError
from wsi_segment.service.api.feed import Feed
from wsi_segment.service.api.mask_tiles import MaskTiles
from wsi_segment.service.api.problems import ProblemError
from wsi_segment.service.api.prometheus import Metrics
from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.housekeeping import Housekeeping
from wsi_segment.service.jobs.job_table import Job, Jobs
from wsi_segment.service.jobs.keys import Keys
from wsi_segment.service.jobs.tables import slides
from wsi_segment.service.redaction import without_paths
from wsi_segment.service.settings import Settings
from wsi_segment.service.workers import slide_pool as pixels
from wsi_segment.service.workers.result_files import ResultFiles
from wsi_segment.service.workers.slide_catalogue import Catalogue, FoundSlide
from wsi_segment.service.workers.slide_pool import PixelPool
from wsi_segment.service.workers.supervisor import Supervisor
from wsi_segment.service.workers.trusted_models import TrustedModels

_ERROR_SECONDS = 10.0
"""How long a slide counts as unreadable before another try: its files may still be on their way."""


@dataclass(frozen=True, slots=True)
class Service:
    """Everything that routes need."""

    settings: Settings
    database: Database
    jobs: Jobs
    keys: Keys
    catalogue: Catalogue
    models: TrustedModels
    pool: PixelPool
    supervisor: Supervisor
    feed: Feed
    housekeeping: Housekeeping
    metrics: Metrics
    masks: MaskTiles

    @property
    def data(self) -> Path:
        """The service's folder."""
        return self.settings.data

    def job(self, job_id: str) -> Job:
        """Return a job, or answer 404."""
        job = self.jobs.get(job_id)
        if job is None:
            raise ProblemError(404, "unknown-job", f"job {job_id} is unknown; GET /v1/jobs lists all")
        return job

    def result(self, job_id: str) -> tuple[Job, ResultFiles]:
        """Return a job with the files of its result, or answer 404 where it has none."""
        job = self.job(job_id)
        if job.status != "successful":
            why = f": {job.message}" if job.message else ""
            raise ProblemError(404, "no-result", f"job {job_id} is {job.status}{why}; a successful one has results")
        if job.removed is not None:
            raise ProblemError(404, "result-removed", f"the results of job {job_id} were removed; post the slide again")
        files = ResultFiles.of(self.data, job)
        if job.store is not None and not self._offers(files.store):
            raise ProblemError(404, "no-result", f"the mask of job {job_id} is no longer served; see `results`")
        return job, files

    def _offers(self, store: Path) -> bool:
        """Return whether a mask that no job made lies in a folder that is served at present."""
        return store.parent in {Path(folder).resolve() for folder in self.settings.results} and store.is_dir()

    def describe(self, slide: FoundSlide) -> dict[str, Any]:
        """Describe a slide; the description is cached until one of its files changes.

        Raises:
            SlideError: it cannot be opened.
        """
        described = self.known(slide)
        if described is None:
            stamp = _stamp(slide)
            try:
                described = self.look(pixels.describe, slide)
            except pixels.UnsureSlideError:
                raise
            except SlideError as error:
                described = {"error": str(error), "until": time.time() + _ERROR_SECONDS}
            self.catalogue.remember([slide])
            with self.database.write() as connection:
                connection.execute(
                    update(slides).where(slides.c.id == slide.id).values(stamp=stamp, description=described)
                )
        if "error" in described:
            raise SlideError(described["error"])
        return described

    def known(self, slide: FoundSlide) -> dict[str, Any] | None:
        """Return the cached description of a slide (possibly an ``error``), or None."""
        with self.database.read() as connection:
            row = connection.execute(
                select(slides.c.stamp, slides.c.description).where(slides.c.id == slide.id)
            ).first()
        if row is None or not row.stamp or row.stamp != _stamp(slide):
            return None
        known: dict[str, Any] = row.description
        return None if "error" in known and known.get("until", 0.0) < time.time() else known

    def look(self, function: Callable[..., Any], slide: FoundSlide, *arguments: Any) -> Any:
        """Call a function of :mod:`wsi_segment.service.workers.slide_pool` on a slide.

        Raises:
            SlideError: the slide cannot be read; the reason is fit for clients.
        """
        try:
            return self.pool.call(function, slide.location, *arguments)
        except SlideError as error:
            raise type(error)(without_paths(str(error), self.catalogue.folders, slide.location)) from error


def _stamp(slide: FoundSlide) -> str:
    """Return a text that changes when a file of the slide changes, comes or goes; empty for a remote slide."""
    if not slide.files:
        return ""
    states = [file.stat() for file in slide.files]
    return json.dumps([len(states), sum(one.st_size for one in states), max(one.st_mtime_ns for one in states)])


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Here = Annotated[Service, Depends(_service)]
"""The service, as a parameter of a route."""
