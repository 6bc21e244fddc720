"""A server from its settings, run until a signal comes.

Workers start before the rest is loaded: they take as long to load as the server does, so that work resumes sooner.
"""

from __future__ import annotations

import logging
import os
import shlex
import socket
from contextlib import suppress

import psutil
from sqlalchemy.engine import make_url

from wsi_segment.errors import InputError
from wsi_segment.inference.engine.cluster.address import refuse_odd_address, tls_of
from wsi_segment.inference.engine.memory import default_limit
from wsi_segment.service.folders.file_looks import FileLooks
from wsi_segment.service.folders.root_watch import RootWatch, known_roots
from wsi_segment.service.folders.slide_roots import UPLOADS, parse_roots
from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.keys import Keys
from wsi_segment.service.settings import Settings
from wsi_segment.service.workers.supervisor import Supervisor
from wsi_segment.service.workers.worker import WorkerConfig

_LEAST_MEMORY = 1 << 30
"""Bytes that a worker needs to run at all."""

log = logging.getLogger(__name__)


def run_server(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C, when workers give their jobs back.

    Raises:
        InputError: a setting cannot be used.
    """
    os.environ["PYTHONSAFEPATH"] = "1"  # children import nothing from the folder in which the server was started
    os.umask(0o077)  # what server and workers write is for nobody else
    settings = settings.model_copy(update={"data": settings.data.absolute()})
    _refuse_taken_port(settings)
    database = Database(settings.data, settings.database)
    database.migrate()
    _refuse_open_door(settings, database)
    uploads = settings.data / UPLOADS if settings.upload_limit else None
    if uploads is not None:
        uploads.mkdir(exist_ok=True)
    roots = parse_roots(settings.root, uploads, known_roots(database))
    looks = FileLooks()
    root_watch = RootWatch(database, roots, looks)
    supervisor = Supervisor(database, worker_config(settings), settings.workers, root_watch)
    supervisor.start()
    try:
        from wsi_segment.service.api.server import serve
        from wsi_segment.service.assemble import make_service

        service = make_service(
            settings, database, roots=roots, supervisor=supervisor, root_watch=root_watch, looks=looks
        )
        log.info("serving %d roots, %d models, %d workers", len(roots), len(service.models), settings.workers)
        with suppress(KeyboardInterrupt):  # raised again by uvicorn when all is done
            serve(service)
    finally:
        supervisor.stop()
        database.close()


def worker_config(settings: Settings) -> WorkerConfig:
    """Return the configuration of each worker: cores and memory are divided among them."""
    workers = max(1, settings.workers)
    memory = settings.worker_memory or max(_LEAST_MEMORY, default_limit() // workers)
    if memory < _LEAST_MEMORY:
        raise InputError(f"`worker_memory` {memory >> 20} MiB is too little; a worker needs {_LEAST_MEMORY >> 20} MiB")
    cores = (
        len(psutil.Process().cpu_affinity() or [1]) if hasattr(psutil.Process, "cpu_affinity") else os.cpu_count() or 1
    )
    tls = tls_of(settings.scheduler, settings.tls_ca, settings.tls_cert, settings.tls_key)
    if settings.scheduler is not None:
        refuse_odd_address(settings.scheduler, certificates=tls is not None)
    return WorkerConfig(
        data=str(settings.data),
        database=settings.database,
        roots=settings.root,
        models=None if settings.models is None else str(settings.models.absolute()),
        threads=settings.worker_threads or max(1, cores // workers),
        memory=memory,
        device=settings.device,
        min_free=settings.min_free,
        log=settings.log,
        stall_minutes=settings.stall_minutes,
        job_windows=settings.job_windows,
        job_hours=settings.job_hours,
        scheduler=settings.scheduler,
        tls=None if tls is None else (str(tls.ca), str(tls.cert), str(tls.key)),
    )


def _refuse_taken_port(settings: Settings) -> None:
    try:
        family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            if os.name == "posix":  # as the server does it: a port in TIME_WAIT is free
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((settings.host, settings.port))
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"`port` {settings.port}: cannot listen on {settings.host} ({reason}); choose another"
        ) from error


def _refuse_open_door(settings: Settings, database: Database) -> None:
    if settings.door is not None and not Keys(database).any_valid():
        where = ["--data", str(settings.data)]
        if settings.database is not None:  # without its password, which may be among the options too
            shown = make_url(settings.database).set(query={}).render_as_string(hide_password=True)
            where += ["--database", shown]
        raise InputError(
            f"{settings.door}: others reach the server this way, and no key is valid; "
            f"make one first: wsi-segment keys create NAME {shlex.join(where)}"
        )
