"""Does one job: calls the engine, then writes outlines and a picture."""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from wsi_segment.errors import Cancelled, ClusterLostError, InputError, RunError, UnfitWorkerError
from wsi_segment.files import replacing
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.inference.mask.preview import write_preview
from wsi_segment.inference.mask.summary import ClassArea
from wsi_segment.inference.slides.open import open_slide
from wsi_segment.model.card import Model
from wsi_segment.service.folders.root_watch import RootAwayError, RootWatch
from wsi_segment.service.full_disk import DiskFullError, full_disk_as_one_error
from wsi_segment.service.jobs.database import is_away
from wsi_segment.service.jobs.job_table import Job, Status
from wsi_segment.service.jobs.leases import LEASE_SECONDS
from wsi_segment.service.jobs.queue import LostJobError, Queue
from wsi_segment.service.redaction import without_paths
from wsi_segment.service.workers.cluster_link import ClusterLink
from wsi_segment.service.workers.job_inputs import CHOSEN, UNBOUND, refuse_changed_model, refuse_changed_slide
from wsi_segment.service.workers.lease_keeper import NO_LIMITS, LeaseKeeper, Limits
from wsi_segment.service.workers.outline_index import has_objects, write_objects
from wsi_segment.service.workers.result_files import ResultFiles
from wsi_segment.service.workers.slide_catalogue import Catalogue, FoundSlide
from wsi_segment.service.workers.trusted_models import TrustedModels

log = logging.getLogger(__name__)

DATABASE_SECONDS = 1.0
"""Seconds between two checks for a database that is away."""
FULL_DISK_SECONDS = 30.0
"""Seconds for which a worker starts nothing after a full disk."""


class JobRunner:
    """Does jobs, one at a time."""

    def __init__(
        self,
        *,
        queue: Queue,
        catalogue: Catalogue,
        models: TrustedModels,
        data: Path,
        options: SegmentOptions,
        stopping: threading.Event,
        roots: RootWatch,
        limits: Limits = NO_LIMITS,
        link: ClusterLink | None = None,
    ) -> None:
        """Remember what jobs need.

        Args:
            queue: Provides jobs, and records their progress and end.
            catalogue: Finds slides.
            models: The models that may be run.
            data: The service's folder.
            options: What jobs do not choose: threads, memory, device.
            stopping: Set when the process should end; the current job is given back then.
            roots: Says which roots are there.
            limits: What a job may take.
            link: To the cluster that computes regions; None for the threads of this process.
        """
        self._queue, self._catalogue, self._models, self._data = queue, catalogue, models, data
        self._options, self._stopping, self._roots, self._limits = options, stopping, roots, limits
        self._link = link
        if link is not None:  # whose workers have threads and memory of their own
            self._options = replace(options, workers=0, memory_limit=None)

    def do(self, job: Job) -> None:
        """Do a claimed job and record how it ended; while the database is away, wait for it and go on."""
        done = False
        while not done:
            try:
                self._do(job)
                done = True
            except SQLAlchemyError as error:
                if not is_away(error):
                    raise
                done = not self._wait_for_database(job)

    def _do(self, job: Job) -> None:
        watch = LeaseKeeper(self._queue, job, self._stopping, self._limits)
        slide: FoundSlide | None = None
        try:
            with full_disk_as_one_error():
                slide = self._find(job)
                with watch.running():
                    files = self._make(job, slide, watch)
                warnings = [
                    {**one, "message": self._for_clients(one["message"], slide)} for one in files.read_warnings()
                ]
                unbound = [UNBOUND] if job.inputs is None else []
                ended = self._queue.end(job, "successful", warnings=[*warnings, *unbound])
            log.info("ended (%s)", ended, extra={"job": job.id})
            if self._link is not None:
                self._link.worked()
        except LostJobError:
            log.warning("lost to another worker", extra={"job": job.id})
        except RootAwayError as error:
            self._give_back(job, str(error))
        except Cancelled:
            if watch.refusal:
                self._try_to_end(job, "failed", watch.refusal)
            elif watch.cancelled:
                self._try_to_end(job, "dismissed", "cancelled")
            elif not watch.lost:
                self._give_back(job, "the service was stopped; the job goes on with it")
        except ClusterLostError:
            if self._link is not None:  # what it knows of the cluster is some seconds old: look again before a claim
                self._link.close()
            self._give_back(job, "the cluster is away; the job goes on when it is back")
        except DiskFullError:
            self._wait_for_space(job)
        except MemoryError:
            self._try_to_end(job, "failed", "the slide needs more memory than a worker may have; see `worker_memory`")
        except SQLAlchemyError:  # the database is away, which is the caller's
            raise
        except Exception as error:  # the boundary: the job waits or fails, and the worker goes on with the next
            self._blame(job, slide, error)

    def _find(self, job: Job) -> FoundSlide:
        name = self._catalogue.roots_of([job.slide]).get(job.slide)
        if name is not None:
            self._roots.refuse_away(name)
        return self._catalogue.by_id(job.slide)

    def _blame(self, job: Job, slide: FoundSlide | None, error: Exception) -> None:
        """Find what is to blame for an error: a share that went away, the machine, or the job."""
        if (reason := self._gone(job)) is not None:
            self._give_back(job, reason)
        elif isinstance(error, UnfitWorkerError):
            if self._link is not None:
                self._link.refuse(str(error))
            self._give_back(job, "a machine of the cluster cannot take part; the job goes on when it is mended")
        elif _was_missing(error) and self._is_there(job):  # counted as a crash, so that it ends one day
            said = f"{self._for_clients(str(error), slide)}; it is there again"
            self._give_back(job, said, crashed=True)
        elif isinstance(error, InputError):
            self._try_to_end(job, "failed", self._for_clients(str(error), slide))
        elif isinstance(error, RunError):
            self._give_back(job, self._for_clients(str(error), slide), crashed=True)
        else:
            log.error("unexpected", exc_info=error, extra={"job": job.id})
            self._try_to_end(job, "failed", f"unexpected {type(error).__name__}; the server's log says more")

    def _is_there(self, job: Job) -> bool:
        try:
            self._find(job)
        except (InputError, RootAwayError):
            return False
        return True

    def _gone(self, job: Job) -> str | None:
        """Return which folder is away, so that jobs wait for it; None where all are there."""
        if self._models.away:
            return "the folder of the models cannot be read; jobs wait for it"
        name = self._catalogue.roots_of([job.slide]).get(job.slide)
        return None if name is None else self._roots.away(now=True).get(name)

    def _wait_for_database(self, job: Job) -> bool:
        """Wait until the database answers; return whether the job is still this worker's."""
        while not self._stopping.wait(DATABASE_SECONDS):
            try:
                return self._queue.look(job).held
            except SQLAlchemyError as error:
                if not is_away(error):
                    raise
        return False

    def _wait_for_space(self, job: Job) -> None:
        """Give the job back, since none is to blame for a full disk, and start nothing for a while."""
        log.error("the disk is full, or a quota is used up; the job waits", extra={"job": job.id})
        given_back = False
        while not given_back:
            try:
                self._queue.release(job, "the disk is full, or a quota is used up; the job goes on when there is room")
                given_back = True
            except SQLAlchemyError:
                log.exception("the job table cannot be written to", extra={"job": job.id})
            if self._stopping.wait(FULL_DISK_SECONDS):
                return

    def _for_clients(self, message: str, slide: FoundSlide | None) -> str:
        folders = [self._data.resolve(), *self._catalogue.folders, *self._models.folders]
        if slide is None:
            return without_paths(message, folders)
        return without_paths(message, folders, slide.location, slide.files)

    def _give_back(self, job: Job, reason: str, crashed: bool = False) -> None:
        self._queue.release(job, reason, crashed)
        log.warning("given back: %s", reason, extra={"job": job.id})

    def _try_to_end(self, job: Job, status: Status, message: str) -> None:
        try:
            ended = self._queue.end(job, status, message)
            log.info("ended (%s)", ended, extra={"job": job.id})
        except LostJobError:
            log.warning("lost to another worker", extra={"job": job.id})

    def _make(self, job: Job, slide: FoundSlide, watch: LeaseKeeper) -> ResultFiles:
        """Write all files of a job's result; what is there already is kept."""
        model = self._models.get(job.parameters.get("model"))
        refuse_changed_model(job, model)
        refuse_changed_slide(job, slide)
        files = ResultFiles.of(self._data, job)
        files.folder.mkdir(parents=True, exist_ok=True)
        files.wait_for_writer(LEASE_SECONDS)
        if not files.store.exists():
            watch.stage("opening")
            segment(
                slide.location,
                model=model,
                out=files.store,
                options=self._options_of(job, files),
                report=watch.report,
                stop=watch.stop,
                before_publishing=lambda *_: refuse_changed_slide(job, slide),  # while it was read, that is
                scheduler=None if self._link is None else self._link.cluster(),
            )
        files.remove_partial()
        watch.stage("outlines")
        if not has_objects(files.folder):
            write_objects(files.folder, files.store, watch.step)
        if not files.preview.exists():
            self._draw(slide, job.parameters.get("image"), model, files)
        return files

    def _options_of(self, job: Job, files: ResultFiles) -> SegmentOptions:
        chosen: dict[str, Any] = {
            key: value for key, value in job.parameters.items() if key in CHOSEN and value is not None
        }
        places = {"region": files.region, "tissue": files.tissue}
        for key, geojson in self._queue.outlines(job).items():  # which the engine reads from a file
            with replacing(places[key], text=True) as opened:
                json.dump(geojson, opened)
            chosen[key] = places[key]
        # what another version began starts again; what is finished is never replaced, see _make
        return replace(self._options, overwrite=True, **chosen)

    @staticmethod
    def _draw(slide: FoundSlide, image: int | None, model: Model, files: ResultFiles) -> None:
        summary = files.read_summary()
        opened = open_slide(slide.location, image)
        try:
            areas = tuple(ClassArea(**area) for area in summary["classes"])
            write_preview(
                files.preview, opened, slide_mpp=summary["mpp"], store=files.store, card=model.card, areas=areas
            )
        finally:
            opened.close()


def _was_missing(error: BaseException | None) -> bool:
    """Return whether an error goes back to a file that was not there."""
    while error is not None and not isinstance(error, FileNotFoundError | NotADirectoryError):
        error = error.__cause__
    return error is not None
