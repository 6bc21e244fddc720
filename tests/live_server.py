"""Real servers for tests: the service itself, and PostgreSQL."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

import web
from free_ports import free_port
from synthetic import tissue_like, write_model, write_slide
from wsi_segment.service.client import Client

ROOT = Path(__file__).parents[1]
READY_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class FileEvent:
    """What a process of a server did to a file, as ``spy/sitecustomize.py`` notes it."""

    time: float
    process: int
    kind: str
    path: str


class Served:
    """``wsi-segment serve`` in a process of its own, on loopback; a context that ends it."""

    def __init__(self, folder: Path, *flags: object, spied_on: bool = False, holds: bool = False) -> None:
        """A server to be started.

        Args:
            folder: Its slides are in ``slides/``, its models in ``models/``, its data in ``data/``.
            flags: Further ones.
            spied_on: Whether what it opens and renames is noted.
            holds: Whether its workers can be held, see :meth:`held`.
        """
        self.folder, self.port = folder, free_port()
        self.data = folder / "data"
        self._flags = ["--root", f"slides={folder / 'slides'}", "--models", folder / "models", "--data", self.data]
        self._flags += ["--port", self.port, "--worker-memory", "2GiB", "--min-free", "1MiB", *flags]
        path = [str(ROOT / "tests" / "spy"), *sys.path] if spied_on or holds else sys.path
        self._environment = os.environ | {"PYTHONPATH": os.pathsep.join(path)}
        self._environment |= {"SPY_FILE": str(folder / "noted")} if spied_on else {}
        self._environment |= {"HOLD_FILE": str(folder / "hold")} if holds else {}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """All that it wrote."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def noted(self) -> list[FileEvent]:
        """What its processes opened and renamed."""
        with (self.folder / "noted").open(encoding="utf-8") as file:
            return [FileEvent(*json.loads(line)) for line in file]

    def start(self, wait: bool = True) -> None:
        """Start it, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "wsi_segment.service", "serve", *map(str, self._flags)],
                stderr=log,
                stdout=log,
                env=self._environment,
                cwd=self.folder,
            )
        if wait:
            self.wait_for("/health/live")

    def wait_for(self, path: str) -> None:
        """Wait until a path answers with success."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            assert self.process is not None
            assert self.process.poll() is None, self.log
            with suppress(httpx.TransportError):
                if web.get(f"{self.url}{path}", timeout=5).is_success:
                    return
            time.sleep(0.05)
        raise AssertionError(f"{path} did not answer: {self.log}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it by a signal; its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(120)

    def workers(self) -> list[psutil.Process]:
        """Its worker processes."""
        assert self.process is not None
        try:
            children = psutil.Process(self.process.pid).children()
            return [child for child in children if "wsi_segment.service.workers.worker" in " ".join(child.cmdline())]
        except psutil.NoSuchProcess:
            return []

    @contextmanager
    def held(self, regions: int = 0) -> Iterator[Callable[[int], None]]:
        """Let workers begin so many regions of a job and no more, until the context ends or the job is stopped.

        A test that looks at a job that runs has all the time it needs, and nothing is computed to fill it. Gives what
        sets another number of regions.
        """
        assert "HOLD_FILE" in self._environment, "say holds=True"
        hold = Path(self._environment["HOLD_FILE"])

        def let(regions: int) -> None:
            hold.with_name("hold.new").write_text(str(regions))
            hold.with_name("hold.new").replace(hold)

        let(regions)
        try:
            yield let
        finally:
            hold.unlink()

    def client(self, key: str | None = None) -> Client:
        """A client of it."""
        return Client(self.url, key)

    def __enter__(self) -> Served:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()


def write_slides(folder: Path, count: int = 1, height: int = 700, width: int = 900) -> Path:
    """A folder for a server: made slides, and the model ``channels``."""
    (folder / "slides").mkdir(parents=True)
    for index in range(count):
        write_slide(folder / "slides" / f"s{index}.tiff", tissue_like(height, width, seed=index))
    write_model(folder / "models" / "channels")
    return folder


def write_large_slide(path: Path, side: int) -> Path:
    """A made slide that keeps a worker busy, all of it tissue; the same 2,048 x 2,048 again and again."""
    part = tissue_like(3000, 3000)[476:2524, 476:2524]
    count = -(-side // len(part))
    return write_slide(path, np.tile(part, (count, count, 1))[:side, :side], compression="jpeg")


def job_body(client: Client, name: str = "s0.tiff", **more: Any) -> dict[str, Any]:
    """The request for a job with the cheap model."""
    return {"slide": client.find_slide(f"slides/{name}")["id"], "model": "channels", **more}


def postgresql_programs() -> Path | None:
    """The folder of PostgreSQL's programs, where it is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    program = shutil.which("initdb")
    return Path(program).resolve().parent if program else None


@contextmanager
def postgresql() -> Iterator[str]:
    """A PostgreSQL server of its own on loopback, without a password; its URL. It never runs as root."""
    programs = postgresql_programs()
    assert programs is not None
    become = ["runuser", "-u", "postgres", "--"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="pg") as scratch:
        folder = Path(scratch)
        if become:
            shutil.chown(folder, "postgres")
        data, port = folder / "data", free_port()

        def call(program: str, *arguments: object) -> None:
            subprocess.run(
                [*become, programs / program, *map(str, arguments)], cwd=folder, check=True, stdout=subprocess.DEVNULL
            )

        call("initdb", "-D", data, "-A", "trust", "-N", "-U", "tester")
        options = f"-k {folder} -p {port} -c listen_addresses=127.0.0.1"
        call("pg_ctl", "-D", data, "-o", options, "-l", folder / "log", "-w", "start")
        try:
            yield f"postgresql://tester@127.0.0.1:{port}/postgres"
        finally:
            with suppress(subprocess.CalledProcessError):  # it has ended already
                call("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")


def control_postgresql(url: str) -> Callable[[str], None]:
    """What stops and starts a server of :func:`postgresql`, as an administrator would: called with either word."""
    import psycopg

    programs = postgresql_programs()
    assert programs is not None
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT current_setting('data_directory'), current_setting('port'), "
            "current_setting('unix_socket_directories')"
        ).fetchone()
    assert found is not None
    folder, port, sockets = Path(found[0]), found[1], found[2]
    become = ["runuser", "-u", "postgres", "--"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    options = f"-k {sockets} -p {port} -c listen_addresses=127.0.0.1"
    more = {"stop": ["-m", "fast"], "start": ["-l", str(folder.parent / "log"), "-o", options]}

    def control(action: str) -> None:
        command = [*become, str(programs / "pg_ctl"), "-D", str(folder), "-w", "-t", "600", *more[action], action]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder.parent)

    return control


FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None) if sys.platform == "linux" else None
_SLEEP = """
import select, time
time.sleep = lambda seconds: select.select([], [], [], seconds) and None
"""
"""libfaketime 0.9.10 lets ``clock_nanosleep`` with an absolute monotonic time fail, by which Python sleeps."""


def with_settable_clock(running: Served) -> Callable[[int], None]:
    """What sets the clock of a server that is not started yet so many seconds forward; needs libfaketime."""
    site, clock = running.folder / "site", running.folder / "clock.txt"
    site.mkdir(exist_ok=True)
    spy = ROOT / "tests" / "spy" / "sitecustomize.py"  # Python runs one of that name
    (site / "sitecustomize.py").write_text(f"{_SLEEP}exec(compile(open({str(spy)!r}).read(), 'spy', 'exec'))\n")
    clock.write_text("+0s\n")
    running._environment |= {
        "PYTHONPATH": f"{site}{os.pathsep}{running._environment['PYTHONPATH']}",
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # which no step of a clock changes
    }

    def set_clock(seconds: int) -> None:
        clock.write_text(f"+{seconds}s\n")

    return set_clock


def fresh_database(url: str, name: str) -> str:
    """An empty database on a PostgreSQL server; its URL."""
    import psycopg

    clean = "".join(letter for letter in name.lower() if letter.isalnum())
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS t{clean} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE t{clean}")
    return url.rpartition("/")[0] + f"/t{clean}"


def connected(served: Served) -> socket.socket:
    """A bare connection, for what no client would send."""
    url = httpx.URL(served.url)
    return socket.create_connection((url.host, url.port), timeout=60)


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["status"] == status
    assert found["type"].startswith("urn:wsi-segment:problem:")
    return found


def longest_wait(served: Served, send: Callable[[], httpx.Response]) -> tuple[httpx.Response, float]:
    """What a request answers, and the share of its time for which another one waited meanwhile: the least of three."""
    shares = []
    with ThreadPoolExecutor(1) as beside, web.client(base_url=served.url) as other:
        for _ in range(3):  # a busy machine holds up one of them for a moment, and a busy server all
            begun = time.monotonic()
            sending = beside.submit(send)
            waits = [0.0]
            while not sending.done():
                before = time.monotonic()
                assert other.get("/health/live").is_success
                waits.append(time.monotonic() - before)
            shares.append(max(waits) / (time.monotonic() - begun))
        return sending.result(), min(shares)
