"""A server from its settings: the parts put together, and run until a signal comes."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from types import FrameType

import psutil
import uvicorn

from wsi_segment.inference.memory import default_limit
from wsi_segment.inference.output import ATTRIBUTE
from wsi_segment.model.errors import InputError
from wsi_segment.service.api.app import make_app
from wsi_segment.service.api.feed import Feed
from wsi_segment.service.api.guard import LOOPBACK
from wsi_segment.service.api.mask_tiles import MaskTiles
from wsi_segment.service.api.metrics import Metrics
from wsi_segment.service.api.state import Service
from wsi_segment.service.catalogue import UPLOADS, Catalogue, parse_roots, read_secret
from wsi_segment.service.database import Database
from wsi_segment.service.housekeeping import Housekeeping
from wsi_segment.service.jobs import Jobs
from wsi_segment.service.keys import Keys
from wsi_segment.service.pixels import PixelPool
from wsi_segment.service.settings import Settings
from wsi_segment.service.supervisor import Supervisor
from wsi_segment.service.trusted_models import TrustedModels
from wsi_segment.service.worker import WorkerConfig

_POOL_PROCESSES = 2
_POOL_MEMORY = 2 << 30
_LEAST_MEMORY = 1 << 30
"""What a worker needs to run at all."""
_GRACE_SECONDS = 5

log = logging.getLogger(__name__)


def make_service(settings: Settings) -> Service:
    """All parts of a service; nothing runs yet.

    Raises:
        InputError: a setting cannot be used.
    """
    data = settings.data.absolute()
    database = Database(data, settings.database)
    database.migrate()
    keys = Keys(database)
    if not _is_loopback(settings.host) and not keys.any_valid():
        raise InputError(
            f"--host {settings.host} can be reached from other machines and there are no keys; "
            "make one first: wsi-segment keys create NAME"
        )
    uploads = data / UPLOADS if settings.upload_limit else None
    if uploads is not None:
        uploads.mkdir(exist_ok=True)
    models = TrustedModels(settings.models)
    catalogue = Catalogue(database, parse_roots(settings.root, uploads), read_secret(data))
    jobs = Jobs(database)
    for folder in settings.results:
        _adopt(Path(folder), jobs)
    supervisor = Supervisor(database, worker_config(settings, data), settings.workers)
    return Service(
        settings=settings.model_copy(update={"data": data}),
        database=database,
        jobs=jobs,
        keys=keys,
        catalogue=catalogue,
        models=models,
        pool=PixelPool(_POOL_PROCESSES, _POOL_MEMORY),
        supervisor=supervisor,
        feed=Feed(database),
        housekeeping=Housekeeping(database, data, settings.keep_days, settings.min_free),
        metrics=Metrics(jobs, supervisor),
        masks=MaskTiles(),
    )


def worker_config(settings: Settings, data: Path) -> WorkerConfig:
    """What workers are told: cores and memory are divided among them."""
    workers = max(1, settings.workers)
    memory = settings.worker_memory or max(_LEAST_MEMORY, default_limit() // workers)
    if memory < _LEAST_MEMORY:
        raise InputError(f"--worker-memory {memory >> 20} MiB is too little; a worker needs {_LEAST_MEMORY >> 20} MiB")
    cores = (
        len(psutil.Process().cpu_affinity() or [1]) if hasattr(psutil.Process, "cpu_affinity") else os.cpu_count() or 1
    )
    return WorkerConfig(
        data=str(data),
        database=settings.database,
        roots=settings.root,
        models=None if settings.models is None else str(settings.models.absolute()),
        threads=settings.worker_threads or max(1, cores // workers),
        memory=memory,
        device=settings.device,
        min_free=settings.min_free,
        log=settings.log,
    )


def run_server(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C; workers give their jobs back then."""
    service = make_service(settings)
    app = make_app(service)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        proxy_headers=bool(settings.trusted_proxy),
        forwarded_allow_ips=list(settings.trusted_proxy) or None,
    )
    log.info(
        "serving %d roots, %d models, %d workers",
        len(service.catalogue.roots),
        len(list(service.models)),
        settings.workers,
    )
    with suppress(KeyboardInterrupt):  # uvicorn raises the signal again when all is done
        _Server(config, service).run()


class _Server(uvicorn.Server):
    """Ends the streams of events first: they would keep the server waiting."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._feed = service.feed

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._feed.close()
        super().handle_exit(sig, frame)


def _adopt(folder: Path, jobs: Jobs) -> None:
    """Have the finished masks of a folder among the jobs."""
    import zarr

    if not folder.is_dir():
        raise InputError(f"--results {folder}: no such folder")
    for store in sorted(folder.glob("*.zarr")):
        try:
            provenance = zarr.open_group(store, mode="r").attrs[ATTRIBUTE]
        except (OSError, KeyError, ValueError):
            log.warning("a store in the results folder is no mask of wsi-segment; it is left out")
            continue
        assert isinstance(provenance, dict)
        model, slide = provenance["model"], provenance["slide"]
        assert isinstance(model, dict)
        assert isinstance(slide, dict)
        parameters = {"model": model["name"], "ome_zarr": provenance["parameters"]["ome_zarr"]}
        jobs.adopt(str(slide["fingerprint"])[:24], str(store.resolve()), parameters)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() in LOOPBACK
