"""Browsers that pan over a slide while jobs saturate the cores: how long tiles take, and whether any is refused.

Each browser asks for two tiles a second at fixed times, whether or not earlier ones were answered (open loop), and
moves on over the slide; then many tiles are asked for at once. With ``--beside FOLDER`` a checkout of an earlier
version is measured in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))
from live_server import ROOT, Served, write_slides
from synthetic import tissue_like, write_slide

PORTIONS = ("model", "export", "inference", "service")


class Browser:
    """Asks for tiles over up to six connections, as browsers do; bare, so that asking costs little of the machine."""

    def __init__(self, port: int) -> None:
        self._port, self._places = port, asyncio.Semaphore(6)
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def get(self, path: str) -> int:
        """The status of an answer, which is read to its end."""
        async with self._places:
            while True:
                used = bool(self._idle)
                reader, writer = self._idle.pop() if used else await asyncio.open_connection("127.0.0.1", self._port)
                try:
                    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
                    head = (await reader.readuntil(b"\r\n\r\n")).lower()
                    await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r")[0]))
                except (ConnectionError, asyncio.IncompleteReadError):
                    writer.close()
                    if used:  # the server closes what was idle for some seconds
                        continue
                    raise
                self._idle.append((reader, writer))
                return int(head.split()[1])

    def close(self) -> None:
        """End all connections."""
        for _, writer in self._idle:
            writer.close()


async def pan(port: int, slide: str, args: argparse.Namespace) -> list[tuple[int, float]]:
    """Status and seconds of each answer, from the moment at which it was due."""
    seen: list[tuple[int, float]] = []

    async def one(browser: Browser, path: str, due: float) -> None:
        seen.append((await browser.get(path), time.perf_counter() - due))

    async def browse(rng: random.Random) -> None:
        browser, asking, last = Browser(port), [], -(-args.side // 256) - 1
        x, y, begun = rng.randint(0, last), rng.randint(0, last), time.perf_counter() + rng.random() / 2
        for number in range(int(2 * args.seconds)):
            due = begun + number / 2
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            x, y = (min(last, max(0, at + rng.randint(-1, 1))) for at in (x, y))
            z = rng.choice((0, 0, 0, 1, 2))
            path = f"/v1/slides/{slide}/tiles/{z}/{x >> z}/{y >> z}.jpg"
            asking.append(asyncio.create_task(one(browser, path, due)))
        await asyncio.gather(*asking)
        browser.close()

    await asyncio.gather(*(browse(random.Random(number)) for number in range(args.browsers)))
    return seen


async def ask_at_once(port: int, slide: str, args: argparse.Namespace) -> list[tuple[int, float]]:
    """The same for 300 tiles that are all due now, each over a connection of its own."""
    last, rng = -(-args.side // 256) - 1, random.Random(0)
    started = time.perf_counter()

    async def one() -> tuple[int, float]:
        browser = Browser(port)
        status = await browser.get(f"/v1/slides/{slide}/tiles/0/{rng.randint(0, last)}/{rng.randint(0, last)}.jpg")
        browser.close()
        return status, time.perf_counter() - started

    return await asyncio.gather(*(one() for _ in range(300)))


def spent(served: Served) -> tuple[float, float]:
    """Seconds of processor time of the server itself, and of its processes that decode."""
    assert served.process is not None
    server = psutil.Process(served.process.pid)
    workers = {worker.pid for worker in served.workers()}
    own, others = sum(server.cpu_times()[:2]), 0.0
    for child in server.children():
        if child.pid not in workers:
            with suppress(psutil.NoSuchProcess):
                others += sum(child.cpu_times()[:2])
    return own, others


def report(name: str, what: str, seen: list[tuple[int, float]]) -> None:
    """Print percentiles of what was served, and what was not."""
    served = [seconds for status, seconds in seen if status == 200]
    p50, p90, p99, most = 1000 * np.percentile(served, [50, 90, 99, 100])
    print(f"{name:<8} {what:<12} {dict(Counter(status for status, _ in seen))}  p50 {p50:.0f}  p90 {p90:.0f}  "
          f"p99 {p99:.0f}  max {most:.0f} ms", end="  ")  # fmt: skip


def measure(name: str, source: Path, folder: Path, args: argparse.Namespace) -> None:
    """Start a server of a checkout, keep its workers busy, and ask for tiles."""
    served = Served(folder, "--workers", 1)
    served.data = folder / f"data-{name}"
    served._flags[served._flags.index("--data") + 1] = served.data
    path = os.pathsep.join(str(source / portion) for portion in PORTIONS)
    served._environment = served._environment | {"PYTHONPATH": path}
    with served, served.client() as client:
        slide = client.find_slide("slides/large.tiff")["id"]
        job = client.submit(slide, overlap=0.5)
        for event in client.events("jobs", job["id"]):
            if event["kind"] == "progress" and event["stage"] == "segment" and event["done"]:
                break
        for what, ask in (("panning", pan), ("300 at once", ask_at_once)):
            psutil.cpu_percent()
            before = spent(served)
            seen = asyncio.run(ask(served.port, slide, args))
            report(name, what, seen)
            cores = psutil.cpu_percent() / 100 * (psutil.cpu_count() or 1)
            own, others = (1000 * (now - then) / len(seen) for now, then in zip(spent(served), before, strict=True))
            print(f"{cores:.2f} cores busy; a tile {own:.1f} ms of the server, {others:.1f} of children", flush=True)
        assert client.job(job["id"])["status"] == "running", "the slide was too small to keep the cores busy"
        client.cancel(job["id"])


def main() -> None:
    """Measure one version, or two in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--browsers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--side", type=int, default=12_288, help="pixels of the slide")
    parser.add_argument("--beside", type=Path, metavar="FOLDER", help="checkout of an earlier version")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = write_slides(Path(scratch) / "served")
        part = tissue_like(3000, 3000)[476:2524, 476:2524]
        count = -(-args.side // len(part))
        pixels = np.tile(part, (count, count, 1))[: args.side, : args.side]
        write_slide(folder / "slides" / "large.tiff", pixels, levels=4, compression="jpeg")
        for _ in range(args.rounds):
            if args.beside is not None:
                measure("beside", args.beside.resolve(), folder, args)
            measure("present", ROOT, folder, args)


if __name__ == "__main__":
    main()
