"""Memory and file descriptors of a server and its children through MINUTES of jobs, pictures, streams and mistakes.

A sample every ten seconds. The first fifth of the time is warm-up; of the rest, the medians of its first and last
thirds are compared. Results are removed as the service goes, as they would be by ``--keep-days``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import httpx
import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))
from live_server import Served, write_slides
from wsi_segment.service.client import Client

SLIDES, PATIENCE_SECONDS = 4, 300
Sample = tuple[float, int, int]
"""Time, bytes in memory, file descriptors."""


def one_round(served: Served, client: Client, number: int) -> None:
    """A job, and what a viewer asks for; some requests are wrong, some streams are left early."""
    job = client.submit(f"slides/s{number % SLIDES}.tiff", model="channels")
    next(client.events("jobs", job["id"]))
    assert client.wait(job["id"])["status"] == "successful"
    at = f"{served.url}/v1/jobs/{job['id']}/results"
    slide = f"{served.url}/v1/slides/{job['slide']}"
    for path in (f"{at}/objects.geojson", f"{at}/tiles.json", f"{at}/preview.png", f"{slide}/thumbnail",
                 f"{slide}/tiles/0/{number % 3}/1.jpg", f"{at}/tiles/0/{number % 3}/1.png"):  # fmt: skip
        assert httpx.get(path, timeout=PATIENCE_SECONDS).is_success, path
    assert httpx.get(f"{at}/zarr/none", timeout=PATIENCE_SECONDS).status_code == 404
    assert httpx.post(f"{served.url}/v1/jobs", json={"slide": "x"}, timeout=PATIENCE_SECONDS).status_code == 422
    assert httpx.delete(at, timeout=PATIENCE_SECONDS).status_code == 204


def look(served: Served, samples: dict[str, list[Sample]]) -> None:
    """A sample of every process."""
    assert served.process is not None
    server = psutil.Process(served.process.pid)
    workers = {worker.pid for worker in served.workers()}
    for process in (server, *server.children(recursive=True)):
        name = "server" if process == server else "worker" if process.pid in workers else "other child"
        samples[f"{name} {process.pid}"].append((time.monotonic(), process.memory_info().rss, process.num_fds()))


def main() -> None:
    """Work for some minutes, then tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    args = parser.parse_args()
    samples: dict[str, list[Sample]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as scratch:
        folder = write_slides(Path(scratch) / "served", SLIDES)
        with Served(folder, "--workers", 1) as served, served.client() as client:
            started, number, looked = time.monotonic(), 0, 0.0
            while time.monotonic() - started < 60 * args.minutes:
                one_round(served, client, number)
                number += 1
                if time.monotonic() - looked > 10:
                    look(served, samples)
                    looked = time.monotonic()
    print(f"{args.minutes:g} minutes, {number} jobs")
    for name, taken in samples.items():
        warm = [one for one in taken if one[0] - started > 12 * args.minutes]
        third = max(1, len(warm) // 3)
        (m0, f0), (m1, f1) = (np.median([one[1:] for one in part], axis=0) for part in (warm[:third], warm[-third:]))
        change = 100 * (m1 / m0 - 1)
        print(f"{name:<20} {len(taken)} samples, {m0 / 2**20:.1f} -> {m1 / 2**20:.1f} MiB, {change:+.1f} %, "
              f"descriptors {f0:.0f} -> {f1:.0f}")  # fmt: skip


if __name__ == "__main__":
    main()
