"""A worker process: claims jobs and does them, until its parent says stop or dies.

A decoder that crashes takes down one worker and nothing else. The argument is a token that distinguishes the process
from others that had its number. The configuration comes as a line of JSON on standard input; later lines are ``wake``
(a job arrived) and ``stop``, and the end of the input means that the parent died. On standard output it says whether
the cluster that computes is away, if there is to be one.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import shutil
import signal
import sys
import threading
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsi_segment.inference.engine.networks.network import Device
    from wsi_segment.service.folders.root_watch import RootWatch
    from wsi_segment.service.jobs.queue import Queue
    from wsi_segment.service.workers.job_runner import JobRunner

POLL_SECONDS = 2.0
CLUSTER_AWAY, CLUSTER_THERE = b"cluster away\n", b"cluster there\n"
NICE = 10
_PR_SET_PDEATHSIG = 1
_PLANNED_SHARE = 0.6
"""Share of a worker's memory for the engine's plan; libraries keep and map the rest."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """The settings that a worker gets from its parent."""

    data: str
    database: str | None
    roots: tuple[str, ...]
    models: str | None
    threads: int
    memory: int
    """Bytes."""
    device: Device
    min_free: int
    log: str
    stall_minutes: float = 15.0
    job_windows: int = 0
    job_hours: float = 0.0
    scheduler: str | None = None
    tls: tuple[str, str, str] | None = None
    """Certificate of the authority, certificate and key, for a scheduler that encrypts."""

    def line(self) -> bytes:
        """Encode the configuration for the pipe."""
        return json.dumps(asdict(self)).encode() + b"\n"


def main() -> int:
    """Run a worker until it is told to stop; return its exit code."""
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C goes to all; the parent says when
    instructions = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115 - a buffered one is locked by the thread at the end
    told = FileIO(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing else that is printed gets there
    config = WorkerConfig(**json.loads(instructions.readline()))
    stopping, wake = threading.Event(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: _stop(stopping, wake))
    threading.Thread(target=_listen, args=(instructions, stopping, wake), name="listen", daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(NICE)
    cap_memory(config.memory)
    _work(config, stopping, wake, told)
    return 0


def _work(config: WorkerConfig, stopping: threading.Event, wake: threading.Event, told: FileIO) -> None:
    from wsi_segment.inference.engine.options import SegmentOptions
    from wsi_segment.service.folders.root_watch import RootWatch
    from wsi_segment.service.folders.slide_roots import parse_roots
    from wsi_segment.service.jobs.database import Database
    from wsi_segment.service.jobs.leases import owner_name
    from wsi_segment.service.jobs.queue import Queue
    from wsi_segment.service.logs import set_up_logs
    from wsi_segment.service.workers.cluster_link import ClusterLink
    from wsi_segment.service.workers.job_runner import JobRunner
    from wsi_segment.service.workers.lease_keeper import Limits
    from wsi_segment.service.workers.slide_catalogue import Catalogue, read_secret
    from wsi_segment.service.workers.trusted_models import TrustedModels

    set_up_logs(config.log)
    data = Path(config.data)
    database = Database(data, config.database, talks=False)
    uploads = data / "uploads"
    served = parse_roots(config.roots, uploads if uploads.is_dir() else None, known=None)
    catalogue, roots = Catalogue(database, served, read_secret(data)), RootWatch(database, served)
    queue = Queue(database, owner_name(os.getpid(), sys.argv[1]))
    options = SegmentOptions(
        workers=config.threads,
        memory_limit=int(config.memory * _PLANNED_SHARE),
        device=config.device,
    )
    models = TrustedModels(Path(config.models) if config.models is not None else None)
    link = None if config.scheduler is None else ClusterLink(config.scheduler, config.tls)
    runner = JobRunner(
        queue=queue,
        catalogue=catalogue,
        models=models,
        data=data,
        options=options,
        stopping=stopping,
        roots=roots,
        limits=Limits(config.job_windows, config.job_hours),
        link=link,
    )
    was_away: bool | None = None  # the first look is told, whatever it sees
    try:
        while not stopping.is_set():
            wake.clear()
            away = link is not None and not link.is_there()
            if away != was_away:
                told.write(CLUSTER_AWAY if away else CLUSTER_THERE)
                was_away = away
            if away or not _do_one(queue, runner, roots=roots, data=data, min_free=config.min_free):
                wake.wait(POLL_SECONDS)
    finally:
        if link is not None:
            link.close()
        database.close()


def _do_one(queue: Queue, runner: JobRunner, roots: RootWatch, data: Path, min_free: int) -> bool:
    """Claim a job and do it; return False where none waits or the disk is nearly full."""
    from wsi_segment.service.jobs.database import is_away

    if shutil.disk_usage(data).free < min_free:
        return False
    try:
        job = queue.claim(roots.here())
    except Exception as error:  # the worker outlives a database that is away, of which the server says so
        if not is_away(error):
            log.exception("the job table cannot be reached")
        return False
    if job is None:
        return False
    log.info("started", extra={"job": job.id})
    runner.do(job)
    return True


def _listen(instructions: FileIO, stopping: threading.Event, wake: threading.Event) -> None:
    for line in instructions:
        if line.strip() == b"stop":
            break
        wake.set()
    _stop(stopping, wake)


def _stop(stopping: threading.Event, wake: threading.Event) -> None:
    stopping.set()
    wake.set()


def _die_with_parent() -> None:
    """Die at once with the parent, where the system can do that; elsewhere the end of the input says so."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def cap_memory(limit: int) -> None:
    """Make allocations beyond a limit (bytes of private memory) fail in this process."""
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


if __name__ == "__main__":
    sys.exit(main())
