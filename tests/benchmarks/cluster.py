"""What a Dask cluster costs beside the threads of one process: CPU seconds, set-up, empty regions, memory.

``cost``: CPU seconds of scheduler, client and two single-threaded workers, beside two threads of one process, on slides
of two sizes at the model's pixel size, half of each tissue. The ratio is that of the slopes, so that what both pay once
does not count; what is paid once is printed too. Both runs of a pair go on in turns of a second, one stopped while the
other computes: a shared machine gets faster and slower by a fifth within a minute, and so both of them feel it.
``--notes FILE`` keeps what was measured, so that repeats can be made one by one. The package's bytecode is made before,
as installing it does: where Python may not write any, each process would compile what it imports. ``empty``: regions
without tissue through 64 slots. ``requests``: what a slide in a bucket of an emulator is asked for by some workers,
beside what their regions need.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))
import wsi_segment
from live_cluster import LiveCluster
from wsi_segment.model.card import DEFAULT_MODEL, find_model

if TYPE_CHECKING:
    from wsi_segment.inference import SegmentOptions
    from wsi_segment.inference.engine.prepare import Prepared

MIB = 1 << 20
TURN_SECONDS = 1.0
RUN = """
import json, sys, time
from wsi_segment.inference import segment, SegmentOptions
started = time.perf_counter()
address = sys.argv[4] if len(sys.argv) > 4 else None
options = SegmentOptions(overwrite=True, region_size=int(sys.argv[3]) or None, workers=0 if address else 2)
summary = segment(sys.argv[1], out=sys.argv[2], options=options, quiet=True, scheduler=address)
print(json.dumps({"windows": summary.windows, "regions": summary.regions, "wall": time.perf_counter() - started}))
"""


def start(slide: Path, out: Path, region_size: int, address: str | None = None) -> subprocess.Popen[str]:
    """Start to segment in a process of its own."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", RUN, str(slide), str(out), str(region_size), *([address] if address else [])]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def end(process: subprocess.Popen[str]) -> tuple[float, dict[str, float]]:
    """Wait for a process; its CPU seconds, and what it says."""
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_utime + usage.ru_stime, json.loads(said)


def take_turns(one: list[int], other: list[int]) -> None:
    """Let two groups of processes go on in turns, until the first of either has ended."""
    try:
        while not any(psutil.Process(pids[0]).status() == psutil.STATUS_ZOMBIE for pids in (one, other)):
            for going, standing in ((one, other), (other, one)):
                tell(standing, signal.SIGSTOP)
                tell(going, signal.SIGCONT)
                time.sleep(TURN_SECONDS)
    finally:
        tell([*one, *other], signal.SIGCONT)


def tell(pids: list[int], what: signal.Signals) -> None:
    """Send all of them a signal."""
    for pid in pids:
        os.kill(pid, what)


def used(pids: list[int]) -> float:
    """CPU seconds of processes so far."""
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


def write_half(path: Path, side: int) -> Path:
    """A JPEG slide of which the left half is tissue."""
    import numpy as np

    from synthetic import tissue_like, write_slide

    part = tissue_like(3000, 3000)[476:2524, 476:2524]  # of which a large slide is made again and again
    count = -(-side // len(part))
    pixels = np.full((side, side, 3), 245, np.uint8)
    pixels[:, : side // 2] = np.tile(part, (count, -(-count // 2), 1))[:side, : side // 2]
    return write_slide(path, pixels, mpp=find_model(DEFAULT_MODEL).card.mpp, levels=4, compression="jpeg")


def write_glass(path: Path, side: int) -> Path:
    """A JPEG slide without tissue: its regions need all that a worker opens, and nothing is predicted."""
    import numpy as np

    from synthetic import write_slide

    pixels = np.full((side, side, 3), 245, np.uint8)
    return write_slide(path, pixels, mpp=find_model(DEFAULT_MODEL).card.mpp, levels=4, compression="jpeg")


def cost(folder: Path, sides: list[int], repeats: int, region_size: int, notes: Path | None) -> None:
    """Print CPU seconds of both ways, and the ratio of their slopes."""
    for package in wsi_segment.__path__:
        compileall.compile_dir(package, quiet=1)
    slides = [write_half(folder / f"{side}.tiff", side) for side in sides]
    glass = write_glass(folder / "glass.tiff", 4096)
    with LiveCluster(folder / "cluster") as live:
        workers = [live.add_worker(nanny=False) for _ in range(2)]
        assert live.scheduler is not None
        pids = [live.scheduler.pid, *(worker.pid for worker in workers)]
        while live.log("scheduler.log").count("Register worker") < 2:
            time.sleep(0.2)
        started = [used([pid]) for pid in pids]
        print(f"CPU s to start: scheduler {started[0]:.2f}, workers {started[1]:.2f} and {started[2]:.2f}")
        end(start(glass, folder / "warm.zarr", region_size=1024, address=live.address))
        ready = [used([pid]) for pid in pids[1:]]
        print(f"CPU s of a worker until it is set up (16 regions without tissue): {ready[0]:.2f}, {ready[1]:.2f}")
        rounds: list[dict[str, float]] = json.loads(notes.read_text()) if notes is not None and notes.exists() else []
        print(" side  local  cluster, of it client  scheduler  windows  regions")
        for number in range(repeats):
            found: dict[str, float] = {}
            for side, slide in zip(sides, slides, strict=True):
                local = start(slide, folder / "l.zarr", region_size)
                client = start(slide, folder / "c.zarr", region_size, live.address)
                before, scheduler = used(pids), used(pids[:1])
                turns = [local.pid], [client.pid, *pids]
                take_turns(*(turns if number % 2 else turns[::-1]))
                alone, _ = end(local)
                own, said = end(client)
                scheduler, cpu = used(pids[:1]) - scheduler, own + used(pids) - before
                found |= {f"{side} local": alone, f"{side} cluster": cpu}
                print(
                    f"{side:5d} {alone:6.2f}  {cpu:7.2f}  {own:12.2f}  {scheduler:9.2f}  {said['windows']:7d}  "
                    f"{said['regions']:7d}",
                    flush=True,
                )
            rounds.append(found)
            print(f"       ratio of the slopes {ratio(sides, found):.3f}", flush=True)
        if notes is not None:
            notes.write_text(json.dumps(rounds))
        medians = {way: statistics.median(one[way] for one in rounds) for way in rounds[0]}
        print({way: round(value, 2) for way, value in medians.items()})
        ratios = [ratio(sides, one) for one in rounds]
        print(f"{len(rounds)} rounds: median of their ratios {statistics.median(ratios):.3f}", end=", ")
        print(f"ratio of the medians' slopes {ratio(sides, medians):.3f}")


def ratio(sides: list[int], found: dict[str, float]) -> float:
    """Return how much more CPU a further part of a slide takes on a cluster."""
    small, large = sides
    return (found[f"{large} cluster"] - found[f"{small} cluster"]) / (found[f"{large} local"] - found[f"{small} local"])


def settled_small(slide: Path, options: SegmentOptions) -> Prepared:
    """Write a small slide and settle a run of it; in a process of its own, so that the client is only a client."""
    from wsi_segment.inference.engine.prepare import prepare
    from wsi_segment.inference.slides.open import open_slide

    with open_slide(write_half(slide, 1024)) as opened:
        return prepare(opened, path=slide, model=find_model(DEFAULT_MODEL), options=options)


def empty(folder: Path, count: int) -> None:
    """Print the rate of regions without tissue, and what each costs scheduler and client.

    All but a slide of this size is as in a run: the client counts each region, and gets the mask published.
    """
    import numpy as np

    from wsi_segment.inference.engine.cluster.cluster_run import ClusterRun, FilesHere
    from wsi_segment.inference.engine.cluster.connection import Connection
    from wsi_segment.inference.engine.cluster.facts import settle_for_all
    from wsi_segment.inference.engine.cluster.feeding import Feeder
    from wsi_segment.inference.engine.cluster.lending import Lender
    from wsi_segment.inference.engine.cluster.settling import Settlement
    from wsi_segment.inference.engine.memory import return_freed_memory
    from wsi_segment.inference.engine.options import SegmentOptions
    from wsi_segment.inference.engine.plan import Plan
    from wsi_segment.inference.engine.scheduling.scheduler import Order
    from wsi_segment.inference.grid.region import Regions
    from wsi_segment.inference.mask.ledger import RunIdentity
    from wsi_segment.inference.mask.partial import Output
    from wsi_segment.inference.mask.store import MaskLayout
    from wsi_segment.inference.progress import Watch
    from wsi_segment.inference.slides.candidate import Known

    slide, model = folder / "s.tiff", find_model(DEFAULT_MODEL)
    options = SegmentOptions(region_size=512, overlap=0.0)
    with ProcessPoolExecutor(1, get_context("spawn")) as elsewhere:
        small = elsewhere.submit(settled_small, slide, options).result()
    with LiveCluster(folder / "cluster") as live:
        for _ in range(2):
            live.add_worker(nanny=False, threads=32)
        with Connection(live.address) as cluster:
            across = round(count**0.5)
            frame = replace(small.frame, width=512 * across, height=512 * across)
            regions = Regions(frame.width, frame.height, 512, windows=np.zeros(across**2, np.int64))
            prepared = replace(small, frame=frame, plan=Plan(regions, small.plan.budget))
            provenance = prepared.provenance
            order, watch, token = Order(slide, model, options), Watch(), "0badcafe"
            return_freed_memory()
            while cluster.slots() < 64:
                time.sleep(0.5)
            facts = cluster.facts("auto", watch)
            choice = settle_for_all(model.card, "auto", "auto", facts)
            output = Output(folder / "m.zarr", overwrite=True)
            layout = MaskLayout(prepared.metadata(model, options), 512, provenance)
            writer = output.begin(RunIdentity.of(provenance), layout)
            feeder = Feeder(cluster, token, watch, model=model, file=choice.settled.file)
            settlement = Settlement(prepared, Known(), Lender("", ()))
            here = FilesHere(order)
            cluster_run = ClusterRun(feeder, token, order, choice=choice, settlement=settlement, here=here)
            assert live.scheduler is not None
            before = used([live.scheduler.pid]), time.process_time(), time.perf_counter()
            cluster_run.compute(output, writer, regions.fullest_first(), done=output.take, count=lambda windows: None)
            wall, done = time.perf_counter() - before[2], len(output.finished)
            scheduler, client = used([live.scheduler.pid]) - before[0], time.process_time() - before[1]
            rss = [psutil.Process(pid).memory_info().rss / (1 << 20) for pid in (live.scheduler.pid, os.getpid())]
            print(
                f"{done} empty regions through 64 slots: {done / wall:.0f}/s, CPU ms a region: scheduler "
                f"{1000 * scheduler / done:.2f}, client {1000 * client / done:.2f}; "
                f"RSS MiB: scheduler {rss[0]:.0f}, client {rss[1]:.0f}"
            )
            cluster_run.finish(output, writer, provenance, watch.step("pyramid"))
            output.publish()
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"with its coarse levels, published: the client's RSS was at most {peak:.0f} MiB")
            output.release()


def requests(folder: Path, side: int, region_size: int, workers: int) -> None:
    """Print the requests of a run from a bucket into a bucket."""
    from buckets import emulated
    from requested import touched_bytes
    from wsi_segment.inference import Cluster, Progress, SegmentOptions, segment

    slide, options = write_half(folder / "s.tiff", side), SegmentOptions(region_size=region_size or None)
    touched = touched_bytes(slide, find_model(DEFAULT_MODEL), options)
    with emulated() as bucket, LiveCluster(folder / "cluster") as live:
        bucket.client.upload_file(str(slide), bucket.name, "s.tiff")
        for _ in range(workers):
            live.add_worker(nanny=False)
        while live.log("scheduler.log").count("Register worker") < workers:
            time.sleep(0.2)
        started = time.monotonic()
        with Cluster(live.address) as cluster:
            planned: list[tuple[int, int]] = []

            def note(told: Progress) -> None:
                if told.stage == "segment" and not planned:
                    planned.append((bucket.made("GET", r"/s\.tiff"), bucket.sent_of["s.tiff"]))

            place = f"s3://{bucket.name}"
            summary = segment(f"{place}/s.tiff", out=f"{place}/m.zarr", options=options, report=note, scheduler=cluster)
        wall = time.monotonic() - started
        gets, shards = bucket.made("GET", r"/s\.tiff"), bucket.made("PUT", r"m\.zarr/.*/c/")
        records = bucket.made("PUT", "/regions-")
        shard_reads = sum(method != "PUT" and "m.zarr/" in path and "/c/" in path for method, path in bucket.requests)
        others = len(bucket.requests) - gets - shards - records
        fetched = bucket.sent_of["s.tiff"]
        print(
            f"{side} px, {touched.tiles} tiles, {workers} workers, {summary.regions} regions of "
            f"{region_size or 'any'} px: {gets} GETs of the slide, {gets / touched.tiles:.3f} a tile, "
            f"{planned[0][0]} for the plan; {fetched / MIB:.2f} MiB, {planned[0][1] / MIB:.2f} for the plan, "
            f"{fetched / touched.by_regions:.3f} x those of the tiles that each region touches "
            f"({touched.by_regions / MIB:.2f}), {fetched / touched.once:.3f} x if each tile counts once "
            f"({touched.once / MIB:.2f}); {shards} shards put, {shard_reads} asked for, {records} records put, "
            f"{others} other requests in {wall:.0f} s"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("cost", "empty", "requests"))
    parser.add_argument("--sides", type=int, nargs=2, default=[8192, 16384])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--regions", type=int, default=20000)
    parser.add_argument("--notes", type=Path)
    parser.add_argument("--side", type=int, default=8192)
    parser.add_argument("--region-size", type=int, default=0, help="0 for what the command chooses")
    parser.add_argument("--workers", type=int, default=8)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="cluster-"))
    try:
        if args.what == "cost":
            cost(folder, args.sides, args.repeats, region_size=args.region_size, notes=args.notes)
        elif args.what == "requests":
            requests(folder, args.side, args.region_size, args.workers)
        else:
            empty(folder, args.regions)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
