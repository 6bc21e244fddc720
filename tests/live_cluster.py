"""A real Dask cluster for tests: a scheduler and workers, each a process of the ``dask`` command line."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from free_ports import free_port

if TYPE_CHECKING:
    from wsi_segment.inference.engine.cluster.address import Tls

_READY_SECONDS = 180.0

WATCHED = """
import json, os, time
from wsi_segment.inference.engine.cluster import pulses, worker_runs
from wsi_segment.inference.engine.predict import RegionPredictor

FOLDER, predicted = {folder!r}, 0
if {hold!r}:
    pulses.STALL_SECONDS = 3600.0
predict = RegionPredictor.predict = getattr(RegionPredictor, "original", RegionPredictor.predict)  # Dask loads it twice
RegionPredictor.original = predict

def watched(self, m_region):
    count, name = self.count, f"{{m_region.y0}},{{m_region.x0}}"
    note = lambda kind, windows: os.write(noted, (json.dumps([kind, name, windows, os.getpid()]) + "\\n").encode())
    noted = os.open(FOLDER + "/noted", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    note("start", 0)
    if {hang!r} and not os.path.exists(FOLDER + "/hung"):
        open(FOLDER + "/hung", "w").close()
        time.sleep(3600)
    if {die!r} == name:
        os.kill(os.getpid(), 9)
    def slower(windows):
        global predicted
        predicted += windows
        time.sleep({pause!r})
        note("windows", windows)
        count(windows)
        while {hold!r} and predicted >= {hold!r} and not os.path.exists(FOLDER + "/let-go"):
            time.sleep(0.05)
    object.__setattr__(self, "count", slower)
    try:
        return predict(self, m_region)
    finally:
        os.close(noted)

RegionPredictor.predict = watched
{more}
"""
"""Preloaded by workers: notes what they predict, and lets them be slow, stand still, hang once or die of a region."""


class LiveCluster:
    """A context; it ends what it started by SIGKILL, since Dask's own end may never come."""

    def __init__(self, folder: Path, *, tls: Tls | None = None) -> None:
        """A cluster that is to be started.

        Args:
            folder: For logs, notes and what workers keep; they run in a folder of their own.
            tls: What scheduler and workers encrypt with; None for not at all.
        """
        self.folder, self.port = folder, free_port()
        self._protocol, self._flags = "tcp", list[str]()
        if tls is not None:
            self._protocol = "tls"
            self._flags = ["--tls-ca-file", str(tls.ca), "--tls-cert", str(tls.cert), "--tls-key", str(tls.key)]
        self.address = f"{self._protocol}://127.0.0.1:{self.port}"
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []
        (folder / "elsewhere").mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> LiveCluster:
        try:
            self.start_scheduler()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        for process in (*self.workers, *([self.scheduler] if self.scheduler is not None else [])):
            kill_tree(process)
        self.workers.clear()

    def start_scheduler(self) -> None:
        """Start the scheduler, and wait until it listens."""
        self.scheduler = self._start(
            "scheduler", "--host", f"{self._protocol}://127.0.0.1", "--port", str(self.port), log="scheduler.log"
        )
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            assert self.scheduler.poll() is None, self.log("scheduler.log")
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            time.sleep(0.1)
        raise AssertionError(self.log("scheduler.log"))

    def add_worker(
        self, preload: Path | None = None, *, nanny: bool = True, threads: int = 1, cwd: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a worker, in a folder of its own or in ``cwd``; it joins when it is ready.

        A nanny is a process of its own that takes its time to start: only a test whose workers end needs it.
        """
        number = len(list(self.folder.glob("worker-*.log")))
        flags = ["--nthreads", str(threads), "--host", "127.0.0.1", "--local-directory", str(self.folder / "scratch")]
        flags += ["--preload", str(preload)] if preload is not None else []
        flags += [] if nanny else ["--no-nanny"]
        worker = self._start("worker", self.address, *flags, log=f"worker-{number}.log", cwd=cwd)
        self.workers.append(worker)
        return worker

    def watched(
        self,
        *,
        pause: float = 0.0,
        hold: int = 0,
        hang: bool = False,
        die: str = "",
        more: str = "",
        name: str = "watched",
    ) -> Path:
        """Write what workers preload, see :data:`WATCHED`.

        Args:
            pause: Seconds after each batch.
            hold: Windows of a process after which it stands still until :meth:`let_go`, however fast it is; 0 for none.
            hang: Whether the first region hangs for good.
            die: Region of which its process dies.
            more: Further code.
            name: Of the file.
        """
        path = self.folder / f"{name}.py"
        path.write_text(WATCHED.format(folder=str(self.folder), pause=pause, hold=hold, hang=hang, die=die, more=more))
        return path

    def let_go(self) -> None:
        """Let workers that stand still go on."""
        (self.folder / "let-go").touch()

    def notes(self) -> list[list[object]]:
        """What workers noted: kind, region, windows and process."""
        import json

        try:
            lines = (self.folder / "noted").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines]

    def windows(self) -> int:
        """Windows that workers have predicted, those done twice included."""
        return sum(int(str(note[2])) for note in self.notes())

    def computing(self) -> list[psutil.Process]:
        """The processes that compute: of a worker with a nanny its child."""
        found = []
        for worker in self.workers:
            with suppress(psutil.NoSuchProcess):
                own = psutil.Process(worker.pid)
                children = [one for one in own.children(recursive=True) if _is_worker(one)]
                found += children or ([own] if "--no-nanny" in own.cmdline() else [])
        return found

    def kill_workers(self) -> None:
        """Kill all workers and their nannies."""
        for worker in self.workers:
            kill_tree(worker)
        self.workers.clear()

    def log(self, name: str) -> str:
        """What a process wrote."""
        return (self.folder / name).read_text(errors="replace")

    def _start(self, *command: str, log: str, cwd: Path | None = None) -> subprocess.Popen[bytes]:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
        environment["DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL"] = "1 day"  # whoever gives up a silent worker is not Dask
        with (self.folder / log).open("ab") as opened:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", *command, "--dashboard-address", "127.0.0.1:0", *self._flags],
                stdout=opened,
                stderr=opened,
                env=environment,
                cwd=cwd or self.folder / "elsewhere",
            )


def _is_worker(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        return "spawn_main" in " ".join(process.cmdline())
    return False


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and those that it started."""
    with suppress(psutil.NoSuchProcess):
        own = psutil.Process(process.pid)
        for one in (own, *own.children(recursive=True)):  # the nanny first, or it starts another
            with suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGCONT)
                one.kill()
    process.wait(60)
