"""Constants of ``cluster_simulation.py``, measured: what a slide costs a worker, its command, and the scheduler.

One worker of one thread takes a few slides of one size, half of each tissue, one after the other, from a folder into
that folder, or from a bucket of an emulator into that bucket. Their command is a process of its own, so that the
emulator does not count for it. Seconds of planning and of the coarse levels are those that pass for the command, since
it is that long that a worker has nothing else to do; what is computed is counted in CPU seconds. A small slide goes
before, so that all is loaded. An emulator answers slowly where an object is large, so that planning takes long there.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.cluster import used, write_half
from buckets import emulated
from live_cluster import LiveCluster

COMMAND = """
import json, sys, time
import psutil
from wsi_segment.inference import Cluster, segment

def used(pid):
    return sum(psutil.Process(pid).cpu_times()[:2])

place, address, worker, scheduler, *slides = sys.argv[1:]
pids = int(worker), int(scheduler)
with Cluster(address) as cluster:
    for slide in slides:
        marks = {}
        def note(told):
            name = told.stage if told.stage != "segment" or told.done else "planned"
            marks.setdefault(name, [time.monotonic(), time.process_time(), *map(used, pids)])
        marks["begin"] = [time.monotonic(), time.process_time(), *map(used, pids)]
        summary = segment(f"{place}/{slide}", out=f"{place}/{slide}.zarr", report=note, quiet=True, scheduler=cluster)
        marks["end"] = [time.monotonic(), time.process_time(), *map(used, pids)]
        print(json.dumps({"regions": summary.regions} | marks), flush=True)
"""


def main() -> None:
    """Measure, and print what the simulation takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=16384)
    parser.add_argument("--slides", type=int, default=3)
    parser.add_argument("--where", choices=("folder", "bucket"), default="folder")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="constants-"))
    try:
        names = ["small.tiff", *(f"{number}.tiff" for number in range(args.slides))]
        with ExitStack() as stack:
            live = stack.enter_context(LiveCluster(folder / "cluster"))
            for name, side in ((names[0], 2048), (names[1], args.side)):
                write_half(folder / name, side)
            for name in names[2:]:
                shutil.copy(folder / names[1], folder / name)
            place = str(folder)
            if args.where == "bucket":
                bucket = stack.enter_context(emulated())
                place = f"s3://{bucket.name}"
                for name in names:
                    bucket.client.upload_file(str(folder / name), bucket.name, name)
            worker = live.add_worker(nanny=False)
            while "Register worker" not in live.log("scheduler.log"):
                time.sleep(0.2)
            assert live.scheduler is not None
            given = [place, live.address, str(worker.pid), str(live.scheduler.pid), *names]
            environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
            done = subprocess.run(
                [sys.executable, "-c", COMMAND, *given], env=environment, stdout=subprocess.PIPE, text=True, check=True
            )
            print(f"CPU s of the worker in all: {used([worker.pid]):.2f}")
        found = []
        for line in done.stdout.splitlines()[1:]:
            marks = json.loads(line)
            clock, client, busy, scheduler = range(4)
            full = marks["regions"] / 2  # half of all pixels, though some regions touch a little of that half
            last = marks.get("pyramid", marks["end"])
            found.append(
                {
                    "regions": marks["regions"],
                    "region (CPU s)": (last[busy] - marks["planned"][busy]) / full,
                    "plan (s)": marks["planned"][clock] - marks["begin"][clock],
                    "plan (CPU s)": marks["planned"][busy] - marks["begin"][busy],
                    "finish (s)": marks["end"][clock] - last[clock],
                    "finish (CPU s)": marks["end"][busy] - last[busy],
                    "client (CPU s a slide)": marks["end"][client] - marks["begin"][client],
                    "scheduler (CPU ms a task)": 1000
                    * (marks["end"][scheduler] - marks["begin"][scheduler])
                    / (marks["regions"] + 2),
                }
            )
            print({name: round(value, 3) for name, value in found[-1].items()})
        print("medians", {name: round(statistics.median(one[name] for one in found), 3) for name in found[0]})
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
