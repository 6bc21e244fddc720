"""Answers of the service while inference saturates the cores, beside those of the same server without work.

Requests leave at fixed times, RATE a second, whether or not earlier ones were answered (open loop), so that a server
that stalls is charged for all who would have waited. Routes: a job, a page of jobs, a tile of a mask, a tile of a slide
(decoded by a child process), the health of the server.
The bundled model runs on a made slide; idle and busy are measured in turn, in one run of the server.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))
from live_server import Served, write_large_slide, write_slides


async def ask(url: str, paths: list[str], rate: float, seconds: float) -> list[float]:
    """Seconds of each answer, from the moment at which it was due."""
    spent: list[float] = []
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as http:

        async def one(path: str, due: float) -> None:
            answer = await http.get(path)
            assert answer.status_code == 200, (path, answer.status_code)
            spent.append(time.perf_counter() - due)

        begun, asking = time.perf_counter(), []
        for number, path in zip(range(int(rate * seconds)), itertools.cycle(paths), strict=False):
            due = begun + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            asking.append(asyncio.create_task(one(path, due)))
        await asyncio.gather(*asking)
    return spent


def report(name: str, spent: list[float], cores: float) -> float:
    """Print percentiles; the 99th, in milliseconds."""
    p50, p90, p99, most = 1000 * np.percentile(spent, [50, 90, 99, 100])
    print(f"{name:<6} {len(spent):>6} requests  p50 {p50:6.1f}  p90 {p90:6.1f}  p99 {p99:6.1f}  max {most:6.1f} ms  "
          f"{cores:.2f} cores busy", flush=True)  # fmt: skip
    return float(p99)


def main() -> None:
    """Idle, busy, idle, busy, and so on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--side", type=int, default=12_000, help="pixels of the slide that keeps the cores busy")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = write_slides(Path(scratch) / "served")
        write_large_slide(folder / "slides" / "large.tiff", args.side)
        with Served(folder, "--workers", 1) as served, served.client() as client:
            done = client.wait(client.submit("slides/s0.tiff", model="channels")["id"])
            at = f"/v1/jobs/{done['id']}"
            tiles = [f"{at}/results/tiles/0/1/1.png", f"/v1/slides/{done['slide']}/tiles/0/1/1.jpg"]
            paths = [at, "/v1/jobs?page_size=50", *tiles, "/health/ready"]
            asyncio.run(ask(served.url, paths, args.rate, 3.0))
            p99: dict[str, list[float]] = {"idle": [], "busy": []}
            for _ in range(args.rounds):
                measure("idle", served, paths, args, p99)
                job = client.submit("slides/large.tiff", overlap=0.5)
                for event in client.events("jobs", job["id"]):
                    if event["kind"] == "progress" and event["stage"] == "segment" and event["done"]:
                        break
                measure("busy", served, paths, args, p99)
                assert client.job(job["id"])["status"] == "running", "the slide was too small to keep the cores busy"
                client.cancel(job["id"])
                client.wait(job["id"])
    idle, busy = float(np.median(p99["idle"])), float(np.median(p99["busy"]))
    print(f"median p99: idle {idle:.1f} ms, busy {busy:.1f} ms, {busy / idle:.2f} times")


def measure(name: str, served: Served, paths: list[str], args: argparse.Namespace, p99: dict[str, list[float]]) -> None:
    """One of the measurements."""
    psutil.cpu_percent()
    spent = asyncio.run(ask(served.url, paths, args.rate, args.seconds))
    cores = psutil.cpu_percent() / 100 * (psutil.cpu_count() or 1)
    p99[name].append(report(name, spent, cores))


if __name__ == "__main__":
    main()
