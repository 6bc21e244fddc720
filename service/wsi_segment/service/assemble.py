"""The parts of a service, assembled from its settings."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from wsi_segment.errors import InputError
from wsi_segment.inference.mask.mask import Mask
from wsi_segment.service.api.feed import Feed
from wsi_segment.service.api.mask_tiles import MaskTiles
from wsi_segment.service.api.prometheus import Metrics
from wsi_segment.service.api.service import Service
from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.housekeeping import Housekeeping
from wsi_segment.service.jobs.job_table import Jobs
from wsi_segment.service.jobs.keys import Keys
from wsi_segment.service.settings import Settings
from wsi_segment.service.workers.slide_catalogue import Catalogue, Root, read_secret
from wsi_segment.service.workers.slide_pool import PixelPool
from wsi_segment.service.workers.supervisor import Supervisor
from wsi_segment.service.workers.trusted_models import TrustedModels

_POOL_PROCESSES = 2
_POOL_MEMORY = 2 << 30

log = logging.getLogger(__name__)


def make_service(settings: Settings, database: Database, roots: Sequence[Root], supervisor: Supervisor) -> Service:
    """Assemble a service.

    Args:
        settings: With an absolute data folder.
        database: With tables of this version.
        roots: Folders and addresses of slides.
        supervisor: Supervisor of the workers.

    Raises:
        InputError: a setting cannot be used.
    """
    models = TrustedModels(settings.models)
    models.check()
    jobs = Jobs(database)
    for folder in settings.results:
        _adopt(Path(folder), jobs)
    return Service(
        settings=settings,
        database=database,
        jobs=jobs,
        keys=Keys(database),
        catalogue=Catalogue(database, roots, read_secret(settings.data)),
        models=models,
        pool=PixelPool(_POOL_PROCESSES, _POOL_MEMORY),
        supervisor=supervisor,
        feed=Feed(database),
        housekeeping=Housekeeping(database, settings.data, settings.keep_days, settings.min_free),
        metrics=Metrics(jobs, supervisor),
        masks=MaskTiles(),
    )


def _adopt(folder: Path, jobs: Jobs) -> None:
    """List the finished masks of a folder among the jobs."""
    if not folder.is_dir():
        raise InputError(f"`results` {folder}: no such folder")
    for store in sorted(folder.resolve().glob("*.zarr")):
        try:
            provenance = Mask.open(store).provenance
            slide = str(provenance["slide"]["fingerprint"])[:24]
            parameters = {
                "model": str(provenance["model"]["name"]),
                "ome_zarr": str(provenance["parameters"]["ome_zarr"]),
            }
        except Exception as error:  # whatever else lies there must not keep the server from its work
            kind = type(error).__name__
            log.warning("a store in the results folder is no mask of wsi-segment (%s); it is left out", kind)
            continue
        jobs.adopt(slide, str(store), parameters, provenance.get("warnings", []))
