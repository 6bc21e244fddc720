"""Starts workers, replaces those that end, and kills those that do not stop or grow too large."""

from __future__ import annotations

import logging
import secrets
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass

import psutil
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from wsi_segment.service.folders.root_watch import RootWatch
from wsi_segment.service.jobs.database import Database, is_away
from wsi_segment.service.jobs.leases import LeaseWatch, free_dead_owners, owner_name
from wsi_segment.service.jobs.queue import free_owners
from wsi_segment.service.jobs.tables import jobs
from wsi_segment.service.workers.worker import CLUSTER_AWAY, WorkerConfig

CANCEL_SECONDS = 5.0
"""A worker that has not let go of a cancelled job after this long is killed."""
STOP_SECONDS = 8.0
"""A worker that has not given its job back after this long is killed when the service stops."""
_LOOK_SECONDS = 0.5
_LEASE_LOOK_SECONDS = 2.0
_PAUSE_SECONDS = 1.0
"""Pause between the end of a worker and the start of its replacement."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Worker:
    process: subprocess.Popen[bytes]
    owner: str
    reason: str = ""
    """Why it was killed; empty where it ended by itself."""
    blameless: bool = False
    """Whether its job is not to blame for its end."""
    work: tuple[object, ...] = ()
    """Progress of its job when it was last checked."""
    since: float = 0.0
    """Time since which that has not changed, by the monotonic clock."""
    cancelled: float | None = None
    """Time at which the cancel of its job was first seen."""
    without_cluster: bool = False
    """Whether it starts no job because the cluster that computes is away, or was not looked for yet."""

    def listen(self) -> None:
        """Hear what it says on its output, to the end of it."""
        assert self.process.stdout is not None
        with self.process.stdout as said:
            for line in said:
                self.without_cluster = line == CLUSTER_AWAY


class Supervisor:
    """The workers of one server."""

    def __init__(self, database: Database, config: WorkerConfig, count: int, roots: RootWatch | None = None) -> None:
        """Prepare; see :meth:`start`.

        Args:
            database: The job table.
            config: Settings of each worker.
            count: Number of workers.
            roots: Says whether a share is to blame for a worker that got stuck.
        """
        self._database, self._config, self._count, self._roots = database, config, count, roots
        self._workers: list[_Worker] = []
        self._left: list[_Worker] = []
        """Workers that ended or got stuck, whose jobs are to be given back."""
        self.restarts = 0
        """Workers that ended and were replaced."""
        self._leases = LeaseWatch(database)
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

    @property
    def cluster_away(self) -> bool:
        """Whether workers start no jobs because the cluster that computes is away, or was not looked for yet."""
        with self._lock:
            return any(worker.without_cluster for worker in self._workers)

    def stop(self) -> None:
        """Have workers give their jobs back, and stop them; may be called again."""
        self._over.set()
        self._tell(b"stop\n")
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS + 3)

    def kill(self) -> None:
        """Kill all workers at once; the next start frees their jobs."""
        with self._lock:
            for worker in self._workers:
                worker.process.kill()

    def _tell(self, line: bytes) -> None:
        with self._lock:
            for worker in self._workers:
                assert worker.process.stdin is not None
                try:
                    worker.process.stdin.write(line)
                except (OSError, ValueError):
                    continue  # it ended; the thread sees it

    def _supervise(self) -> None:
        looked = 0.0
        while not self._over.is_set():
            try:
                self._replace_ended()
                self._kill_too_large()
                self._kill_stuck()
                if time.monotonic() - looked >= _LEASE_LOOK_SECONDS:
                    looked = time.monotonic()
                    self._leases.free_lost()
            except Exception as error:  # the thread outlives a database that is away or a process that cannot start
                for worker in self._workers:
                    worker.work = ()  # while nobody could look, nobody is stuck
                if not is_away(error):
                    log.exception("supervising failed; it is tried again")
            self._over.wait(_LOOK_SECONDS)
        self._end_all()

    def _end_all(self) -> None:
        self._tell(b"stop\n")  # again: one may have been started during the first round
        deadline = time.monotonic() + STOP_SECONDS
        for worker in self._workers:
            try:
                worker.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                with suppress(subprocess.TimeoutExpired):  # one that hangs in a system call ends when that does
                    worker.process.wait(1)
            assert worker.process.stdin is not None
            worker.process.stdin.close()
        owners = [worker.owner for worker in (*self._workers, *self._left)]
        try:
            free_owners(self._database, owners, "the service was stopped", crashed=False)
        except SQLAlchemyError as error:
            log.warning("jobs could not be given back (%s); the next start frees them", type(error).__name__)

    def _replace_ended(self) -> None:
        ended = [worker for worker in self._workers if worker.process.poll() is not None]
        for worker in ended:
            code = worker.process.returncode
            worker.reason = worker.reason or (f"signal {-code}" if code < 0 else f"exit code {code}")
            self.restarts += 1
            log.error("worker %d ended: %s", worker.process.pid, worker.reason)
        self._put_away(ended)
        self._give_back()
        if ended:
            self._over.wait(_PAUSE_SECONDS)
        while len(self._workers) < self._count and not self._over.is_set():
            token = secrets.token_hex(8)
            command = [sys.executable, "-m", "wsi_segment.service.workers.worker", token]
            process = subprocess.Popen(  # unbuffered: nothing is left to write at its end
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
            )
            assert process.stdin is not None
            process.stdin.write(self._config.line())
            alone = self._config.scheduler is not None  # until it says that the cluster is there
            worker = _Worker(process, owner_name(process.pid, token), without_cluster=alone)
            threading.Thread(target=worker.listen, name="worker-says", daemon=True).start()
            with self._lock:
                self._workers.append(worker)

    def _put_away(self, workers: list[_Worker]) -> None:
        with self._lock:
            self._workers = [worker for worker in self._workers if worker not in workers]
        for worker in workers:  # nobody writes to them any more
            assert worker.process.stdin is not None
            worker.process.stdin.close()
        self._left += workers

    def _give_back(self) -> None:
        """Free the jobs of workers that ended; what fails without a database is done when it is back."""
        while self._left:
            worker = self._left[0]
            free_owners(self._database, [worker.owner], worker.reason, crashed=not worker.blameless)
            del self._left[0]

    def _kill_stuck(self) -> None:
        """Kill workers that do not react to a cancel, as when they are inside a library, or do not get on."""
        owners = {worker.owner: worker for worker in self._workers}
        work = (jobs.c.id, jobs.c.fence, jobs.c.stage, jobs.c.done, jobs.c.total)
        with self._database.read() as connection:
            running = connection.execute(
                select(jobs.c.owner, jobs.c.cancel, *work).where(
                    jobs.c.status == "running", jobs.c.owner.in_(list(owners))
                )
            ).all()
        now, stuck = time.monotonic(), []
        for row in running:
            worker = owners[row.owner]
            if worker.work != tuple(row[2:]):
                worker.work, worker.since, worker.cancelled = tuple(row[2:]), now, None
            if row.cancel is not None:
                worker.cancelled = worker.cancelled or now
                if now - worker.cancelled > CANCEL_SECONDS:
                    worker.reason = "it did not let go of a cancelled job"
                    stuck.append(worker)
            elif now - worker.since > 60 * self._config.stall_minutes:
                worker.reason = f"no progress for {self._config.stall_minutes:g} minutes"
                worker.blameless = self._roots is not None and bool(self._roots.away(now=True))
                stuck.append(worker)
        for worker in stuck:
            worker.process.kill()
            with suppress(subprocess.TimeoutExpired):
                worker.process.wait(1)
                continue
            log.error("worker %d hangs in a system call and is abandoned: %s", worker.process.pid, worker.reason)
            self._put_away([worker])  # its job and its place go to another

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
