"""Slides are decoded by processes that have a limit and die with the server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import web
from live_server import Served, write_slides
from wsi_segment.service.workers.worker import NICE

linux = pytest.mark.skipif(sys.platform != "linux", reason="the system keeps no cap, or does not tell")


@linux
def test_slides_are_decoded_by_children_with_a_cap_and_never_by_the_server(tmp_path: Path) -> None:
    folder = write_slides(tmp_path / "children")
    with Served(folder, "--workers", 1, "--worker-memory", "1GiB") as running, running.client() as client:
        slide = client.find_slide("slides/s0.tiff")["id"]
        for picture in ("thumbnail", "tiles/0/0/0.jpg"):
            assert web.get(f"{running.url}/v1/slides/{slide}/{picture}").is_success
        assert client.wait(client.submit("slides/s0.tiff", model="channels")["id"])["status"] == "successful"
        assert running.process is not None
        assert not decoders(running.process.pid)
        (worker,) = running.workers()
        others = [one for one in psutil.Process(running.process.pid).children(recursive=True) if one != worker]
        pool = [one for one in others if decoders(one.pid)]
        assert decoders(worker.pid)
        assert pool
        assert worker.rlimit(psutil.RLIMIT_DATA) == (1 << 30, 1 << 30)
        assert {one.rlimit(psutil.RLIMIT_DATA) for one in pool} == {(2 << 30, 2 << 30)}
        priority = psutil.Process(running.process.pid).nice()
        assert {one.nice() for one in pool} == {priority}  # somebody waits for a tile, and nobody sits by a job
        assert worker.nice() == min(19, priority + NICE)


def decoders(process: int) -> set[str]:
    """Libraries that decode slides which a process has loaded."""
    maps = Path(f"/proc/{process}/maps").read_text()
    return {name for name in ("libopenslide", "imagecodecs") if name in maps}


@linux
def test_a_child_that_allocates_beyond_its_cap_gets_an_error_and_not_the_memory() -> None:
    code = (
        "from wsi_segment.service.workers.worker import cap_memory; cap_memory(1 << 30); bytearray(1 << 28)\n"
        "try: bytearray(1 << 30)\n"
        "except MemoryError: print('refused')"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False)
    assert done.stdout.split() == [b"refused"], done.stderr


@linux
def test_workers_die_with_the_server(tmp_path: Path) -> None:
    folder = write_slides(tmp_path / "killed")
    with Served(folder, "--workers", 2) as running:
        deadline = time.monotonic() + 60
        while len(workers := running.workers()) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for worker in workers:  # one that is in a library's hands does not see that its input ended
            worker.suspend()
        running.stop(signal.SIGKILL)
        assert psutil.wait_procs(workers, timeout=60)[1] == []
