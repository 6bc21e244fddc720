"""Starts workers, replaces those that end, and kills those that do not stop or grow too large."""

from __future__ import annotations

import logging
import secrets
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

import psutil
from sqlalchemy import select

from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.queue import free_dead_owners, free_owners, owner_name
from wsi_segment.service.jobs.tables import jobs
from wsi_segment.service.workers.worker import WorkerConfig

CANCEL_SECONDS = 5.0
"""A worker that has not let go of a cancelled job after this long is killed."""
STOP_SECONDS = 15.0
"""A worker that has not given its job back after this long is killed when the service stops."""
_LOOK_SECONDS = 0.5
_PAUSE_SECONDS = 1.0
"""Pause between the end of a worker and the start of its replacement."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Worker:
    process: subprocess.Popen[bytes]
    owner: str


class Supervisor:
    """The workers of one server."""

    def __init__(self, database: Database, config: WorkerConfig, count: int) -> None:
        self._database, self._config, self._count = database, config, count
        self._workers: list[_Worker] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        # workers die with the thread that started them: one thread starts them all, and outlives them
        self._thread = threading.Thread(target=self._supervise, name="supervisor", daemon=True)

    def start(self) -> None:
        """Free what an earlier server left behind, and start the workers."""
        freed = free_dead_owners(self._database)
        if freed:
            log.info("%d jobs of an earlier run go on", freed)
        self._thread.start()

    def wake(self) -> None:
        """Tell idle workers that a job arrived."""
        self._tell(b"wake\n")

    @property
    def alive(self) -> int:
        """Number of running workers."""
        with self._lock:
            return sum(worker.process.poll() is None for worker in self._workers)

    def stop(self) -> None:
        """Have workers give their jobs back, and stop them."""
        self._over.set()
        self._tell(b"stop\n")
        self._thread.join(STOP_SECONDS + 5)

    def _tell(self, line: bytes) -> None:
        with self._lock:
            for worker in self._workers:
                assert worker.process.stdin is not None
                try:
                    worker.process.stdin.write(line)
                except OSError:
                    continue  # it ended; the thread sees it

    def _supervise(self) -> None:
        while not self._over.is_set():
            try:
                self._replace_ended()
                self._kill_unwilling()
                self._kill_too_large()
            except Exception:  # the thread outlives a database that is away or a process that cannot start
                log.exception("supervising failed; it is tried again")
            self._over.wait(_LOOK_SECONDS)
        self._tell(b"stop\n")  # again: one may have been started while the others were told
        deadline = time.monotonic() + STOP_SECONDS
        for worker in self._workers:
            try:
                worker.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            assert worker.process.stdin is not None
            worker.process.stdin.close()
        owners = [worker.owner for worker in self._workers]
        free_owners(self._database, owners, "the service was stopped", crashed=False)

    def _replace_ended(self) -> None:
        ended = [worker for worker in self._workers if worker.process.poll() is not None]
        for worker in ended:
            code = worker.process.returncode
            reason = f"signal {-code}" if code < 0 else f"exit code {code}"
            log.error("worker %d ended: %s", worker.process.pid, reason)
            free_owners(self._database, [worker.owner], reason)
        with self._lock:
            self._workers = [worker for worker in self._workers if worker not in ended]
        for worker in ended:  # nobody writes to them any more
            assert worker.process.stdin is not None
            worker.process.stdin.close()
        if ended:
            self._over.wait(_PAUSE_SECONDS)
        while len(self._workers) < self._count and not self._over.is_set():
            token = secrets.token_hex(8)
            command = [sys.executable, "-m", "wsi_segment.service.workers.worker", token]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, bufsize=0)  # nothing is left to write at its end
            assert process.stdin is not None
            process.stdin.write(self._config.line())
            with self._lock:
                self._workers.append(_Worker(process, owner_name(process.pid, token)))

    def _kill_unwilling(self) -> None:
        """Kill workers that do not react to a cancel, as when they are inside a library."""
        owners = {worker.owner: worker for worker in self._workers}
        with self._database.read() as connection:
            late = connection.execute(
                select(jobs.c.owner).where(
                    jobs.c.status == "running", jobs.c.owner.in_(owners), jobs.c.cancel < time.time() - CANCEL_SECONDS
                )
            ).scalars()
            for owner in late:
                owners[owner].process.kill()

    def _kill_too_large(self) -> None:
        """Enforce the limit of :func:`wsi_segment.service.workers.worker.cap_memory` where the system does not."""
        for worker in self._workers:
            try:
                size = psutil.Process(worker.process.pid).memory_info().rss
            except psutil.NoSuchProcess:
                continue
            if size > self._config.memory:
                log.error("worker %d holds %d MiB, too much; it is killed", worker.process.pid, size >> 20)
                worker.process.kill()
