"""Does one job: calls the engine, then writes outlines and a picture."""

from __future__ import annotations

import errno
import json
import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from wsi_segment.errors import Cancelled, InputError, RunError
from wsi_segment.files import replacing
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.inference.mask.preview import write_preview
from wsi_segment.inference.mask.summary import ClassArea
from wsi_segment.inference.slides.open import open_slide
from wsi_segment.model.card import Model
from wsi_segment.service.jobs.job_table import Job, Status
from wsi_segment.service.jobs.queue import LEASE_SECONDS, LostJobError, Queue
from wsi_segment.service.redaction import without_paths
from wsi_segment.service.workers.lease_keeper import LeaseKeeper
from wsi_segment.service.workers.outline_index import has_objects, write_objects
from wsi_segment.service.workers.result_files import ResultFiles
from wsi_segment.service.workers.slide_catalogue import Catalogue, FoundSlide
from wsi_segment.service.workers.trusted_models import TrustedModels

log = logging.getLogger(__name__)

OPTIONS = frozenset(field.name for field in fields(SegmentOptions))
"""Parameters of a job that are the engine's; others are the service's, such as ``model``."""
FULL_DISK_SECONDS = 30.0
"""How long a worker starts nothing after a disk was full."""


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
    ) -> None:
        """Remember what jobs need.

        Args:
            queue: Gives jobs, and is told of their progress and end.
            catalogue: Finds slides.
            models: The models that may be run.
            data: The service's folder.
            options: What jobs do not choose: threads, memory, device.
            stopping: Set when the process should end; the current job is given back then.
        """
        self._queue, self._catalogue, self._models, self._data = queue, catalogue, models, data
        self._options, self._stopping = options, stopping

    def do(self, job: Job) -> None:
        """Do a claimed job and record how it ended."""
        watch = LeaseKeeper(self._queue, job, self._stopping)
        slide: FoundSlide | None = None
        try:
            with _full_disk_as_one_error():
                slide = self._catalogue.by_id(job.slide)
                with watch.running():
                    files = self._make(job, slide, watch)
                warnings = [
                    {**one, "message": self._for_clients(one["message"], slide)} for one in files.read_warnings()
                ]
                self._queue.end(job, "successful", warnings=warnings)
        except LostJobError:
            log.warning("lost to another worker", extra={"job": job.id})
        except Cancelled:
            if watch.cancelled:
                self._try_to_end(job, "dismissed", "cancelled")
            elif not watch.lost:
                self._queue.release(job, "the service was stopped; the job goes on with it")
        except _DiskFullError:
            self._wait_for_space(job)
        except InputError as error:
            self._try_to_end(job, "failed", self._for_clients(str(error), slide))
        except MemoryError:
            self._try_to_end(job, "failed", "the slide needs more memory than a worker may have; see `worker_memory`")
        except RunError as error:
            self._queue.release(job, self._for_clients(str(error), slide), crashed=True)
        except SQLAlchemyError:  # the database is away: this worker ends, and the job is another's
            raise
        except Exception as error:  # the boundary: the job fails, and the worker goes on with the next
            log.exception("unexpected", extra={"job": job.id})
            self._try_to_end(job, "failed", f"unexpected {type(error).__name__}; the server's log says more")

    def _wait_for_space(self, job: Job) -> None:
        """Give the job back, since none is to blame for a full disk, and start nothing for a while."""
        log.error("the disk is full, or a quota is spent; the job waits", extra={"job": job.id})
        given_back = False
        while not given_back:
            try:
                self._queue.release(job, "the disk is full, or a quota is spent; the job goes on when there is room")
                given_back = True
            except SQLAlchemyError:
                log.exception("the job table cannot be written to", extra={"job": job.id})
            if self._stopping.wait(FULL_DISK_SECONDS):
                return

    def _for_clients(self, message: str, slide: FoundSlide | None) -> str:
        folders = [self._data.resolve(), *self._catalogue.folders, *self._models.folders]
        return without_paths(message, folders, None if slide is None else slide.location)

    def _try_to_end(self, job: Job, status: Status, message: str) -> None:
        try:
            self._queue.end(job, status, message)
        except LostJobError:
            log.warning("lost to another worker", extra={"job": job.id})

    def _make(self, job: Job, slide: FoundSlide, watch: LeaseKeeper) -> ResultFiles:
        """Write all files of a job's result; what is there already is kept."""
        model = self._models.get(job.parameters.get("model"))
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
            )
        files.remove_partial()
        watch.stage("outlines")
        if not has_objects(files.folder):
            write_objects(files.folder, files.store, watch.raise_if_stopped)
        if not files.preview.exists():
            self._draw(slide, job.parameters.get("image"), model, files)
        return files

    def _options_of(self, job: Job, files: ResultFiles) -> SegmentOptions:
        chosen: dict[str, Any] = {
            key: value for key, value in job.parameters.items() if key in OPTIONS and value is not None
        }
        for key, file in (("region", files.region), ("tissue", files.tissue)):
            if isinstance(chosen.get(key), dict):  # outlines, which the engine reads from a file
                with replacing(file, text=True) as opened:
                    json.dump(chosen[key], opened)
                chosen[key] = file
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


class _DiskFullError(Exception):
    """A disk is full or a quota is spent, whichever library met it."""


@contextmanager
def _full_disk_as_one_error() -> Iterator[None]:
    """Raise one kind of error for a full disk, whichever library met it."""
    try:
        yield
    except Exception as error:  # libraries wrap the system's error in their own; all others pass
        if _is_disk_full(error):
            raise _DiskFullError from error
        raise


def _is_disk_full(error: BaseException | None) -> bool:
    """Return whether an error, or one that caused it, is a full disk or a spent quota."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            return True
        error = error.__cause__
    return False
