"""The parts of a running service, as routes see them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Request
from sqlalchemy import bindparam, case, null, select, update

from wsi_segment.errors import SlideError
from wsi_segment.service.api.access.caller import present_caller
from wsi_segment.service.api.access.sessions import Sessions
from wsi_segment.service.api.access.signed_links import SignedLinks
from wsi_segment.service.api.feed import Feed
from wsi_segment.service.api.mask_tiles import MaskTiles
from wsi_segment.service.api.observing.prometheus import Metrics
from wsi_segment.service.api.problems import ProblemError
from wsi_segment.service.api.slide_details import SlideDetails
from wsi_segment.service.api.tile_line import TileLine
from wsi_segment.service.api.viewing.growing_masks import GrowingMasks
from wsi_segment.service.folders.adopted_masks import AdoptedMasks
from wsi_segment.service.folders.root_watch import RootWatch
from wsi_segment.service.folders.uploads import Uploads
from wsi_segment.service.hooks.allowed_hosts import AllowedHosts
from wsi_segment.service.hooks.deliveries import Deliveries
from wsi_segment.service.hooks.hook_table import Hooks
from wsi_segment.service.jobs.database import Database, in_parts
from wsi_segment.service.jobs.housekeeping import Housekeeping
from wsi_segment.service.jobs.job_table import Job, Jobs
from wsi_segment.service.jobs.keys import Keys
from wsi_segment.service.jobs.outbox import Outbox
from wsi_segment.service.jobs.tables import slides
from wsi_segment.service.redaction import without_paths
from wsi_segment.service.settings import Settings
from wsi_segment.service.workers import slide_pool as pixels
from wsi_segment.service.workers.result_files import ResultFiles
from wsi_segment.service.workers.slide_catalogue import Catalogue, FoundSlide
from wsi_segment.service.workers.slide_pool import PixelPool
from wsi_segment.service.workers.supervisor import Supervisor
from wsi_segment.service.workers.trusted_models import TrustedModels

_PAGE = 200
"""Slides that are looked at in one call."""
_ERROR_SECONDS = 10.0
"""Seconds for which a slide counts as unreadable before another try: its files may still be on their way."""


@dataclass(frozen=True, slots=True)
class Service:
    """Everything that routes need."""

    settings: Settings
    database: Database
    jobs: Jobs
    keys: Keys
    sessions: Sessions
    links: SignedLinks
    catalogue: Catalogue
    models: TrustedModels
    pool: PixelPool
    supervisor: Supervisor
    feed: Feed
    housekeeping: Housekeeping
    metrics: Metrics
    masks: MaskTiles
    growing: GrowingMasks
    roots: RootWatch
    adopted: AdoptedMasks
    uploads: Uploads
    tile_line: TileLine
    details: SlideDetails
    hooks: Hooks
    hook_hosts: AllowedHosts
    outbox: Outbox
    deliveries: Deliveries

    @property
    def data(self) -> Path:
        """The service's folder."""
        return self.settings.data

    @property
    def asks_for_keys(self) -> bool:
        """Whether requests need a key: always where others reach the server, else once one was made."""
        return self.settings.door is not None or self.keys.any_made()

    def job(self, job_id: str) -> Job:
        """Return a job, or answer 404: also to those who may not see it; or 403 to those who may not change it."""
        job, caller = self.jobs.get(job_id), present_caller()
        if job is None or not caller.may("read", job.client):
            raise ProblemError(404, "unknown-job", f"job {job_id} is unknown; GET /v1/jobs lists all")
        if caller.changing and not caller.may("write", job.client):
            raise ProblemError(403, "not-yours", f"job {job_id} is another's; the key lacks the scope 'write'")
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
        if job.store is not None and not self.adopted.offers(job):
            detail = (
                f"the mask of job {job_id} is gone, another one is in its place, or the server was started without its "
                "folder (--results); GET /v1/jobs lists the others"
            )
            raise ProblemError(404, "no-result", detail)
        return job, files

    def describe(self, slide: FoundSlide) -> dict[str, Any]:
        """Describe a slide; the description is cached until one of its files changes.

        Raises:
            SlideError: it cannot be opened.
        """
        described = self.known(slide)
        if described is None:
            try:
                described = self.look(pixels.describe, slide)
            except pixels.UnsureSlideError:
                raise
            except SlideError as error:
                described = {"error": str(error), "until": time.time() + _ERROR_SECONDS}
            self.catalogue.remember([slide])
            found = {"stamp": slide.stamp, "description": described, "fingerprint": described.get("fingerprint")}
            with self.database.write() as connection:
                connection.execute(update(slides).where(slides.c.id == slide.id).values(found))
        if "error" in described:
            raise SlideError(described["error"])
        return described

    def fingerprints(self, found: Sequence[FoundSlide]) -> dict[str, str | None]:
        """Return the fingerprints of slides by id, None where one cannot be read; the slides are not opened."""
        known: dict[str, str | None] = {}
        distinct = {slide.id: slide for slide in found}
        for part in in_parts(list(distinct.values()), _PAGE):
            query = select(slides.c.id, slides.c.stamp, slides.c.fingerprint)
            with self.database.read() as connection:
                for row in connection.execute(query.where(slides.c.id.in_([slide.id for slide in part]))):
                    if row.stamp and row.stamp == distinct[row.id].stamp and row.fingerprint:
                        known[row.id] = row.fingerprint
        for part in in_parts([slide for slide in distinct.values() if slide.id not in known], _PAGE):
            values = self.pool.call(pixels.fingerprints, [slide.location for slide in part])
            known |= {slide.id: value for slide, value in zip(part, values, strict=True)}
            self.catalogue.remember(part)
            rows = [
                {"slide": slide.id, "new": slide.stamp, "print": known[slide.id]}
                for slide in part
                if known[slide.id] is not None
            ]
            if rows:
                unchanged = case((slides.c.stamp == bindparam("new"), slides.c.description), else_=null())
                with self.database.write() as connection:
                    connection.execute(
                        update(slides)
                        .where(slides.c.id == bindparam("slide"))
                        .values(stamp=bindparam("new"), fingerprint=bindparam("print"), description=unchanged),
                        rows,
                    )
        return known

    def known_of(self, found: Sequence[FoundSlide]) -> dict[str, dict[str, Any]]:
        """Return the cached descriptions of slides by id; those that are unknown, or have changed, are left out."""
        stamps = {slide.id: slide.stamp for slide in found}
        columns, known, now = (slides.c.id, slides.c.stamp, slides.c.description), {}, time.time()
        for part in in_parts(found, _PAGE):
            with self.database.read() as connection:
                for row in connection.execute(select(*columns).where(slides.c.id.in_([slide.id for slide in part]))):
                    fresh = row.stamp and row.stamp == stamps[row.id] and row.description
                    if fresh and row.description.get("until", now) >= now:
                        known[row.id] = row.description
        return known

    def known(self, slide: FoundSlide) -> dict[str, Any] | None:
        """Return the cached description of a slide (possibly an ``error``), or None."""
        with self.database.read() as connection:
            row = connection.execute(
                select(slides.c.stamp, slides.c.description).where(slides.c.id == slide.id)
            ).first()
        if row is None or not row.stamp or row.stamp != slide.stamp or not row.description:
            return None
        known: dict[str, Any] = row.description
        return None if "error" in known and known.get("until", 0.0) < time.time() else known

    def look(self, function: Callable[..., Any], slide: FoundSlide, *arguments: Any) -> Any:
        """Call a function of :mod:`wsi_segment.service.workers.slide_pool` on a slide.

        Raises:
            SlideError: the slide cannot be read; the reason is fit for clients.
            RootAwayError: its root went away in the meantime.
        """
        try:
            return self.pool.call(function, slide.location, *arguments)
        except SlideError as error:
            self.roots.refuse_away(slide.root)
            raise type(error)(without_paths(str(error), self.catalogue.folders, slide.location, slide.files)) from error


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Here = Annotated[Service, Depends(_service)]
"""The service, as a parameter of a route."""
