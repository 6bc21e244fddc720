"""How long a running job goes on after it was cancelled, and whether its worker rests then.

A job with the bundled model is begun, cancelled at a random moment of its inference, and watched until it is dismissed;
TRIES times. The CPU time that the worker takes in the half second after that says whether the cores are free.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from live_server import Served, write_large_slide, write_slides


def main() -> None:
    """All tries, on one server."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=50)
    args = parser.parse_args()
    rng, seconds, waiting, after, killed = random.Random(0), [], [], [], 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = write_slides(Path(scratch) / "served")
        write_large_slide(folder / "slides" / "large.tiff", 12_000)
        with Served(folder, "--workers", 1) as served, served.client() as client:
            for _ in range(args.tries):
                job = client.submit("slides/large.tiff", overlap=0.5)["id"]
                queued = client.submit("slides/large.tiff", priority=-1)["id"]
                for event in client.events("jobs", job):
                    if event["kind"] == "progress" and event["stage"] == "segment":
                        break
                time.sleep(rng.uniform(0, 1))
                started = time.monotonic()
                assert client.cancel(queued)["status"] == "dismissed", served.log
                waiting.append(time.monotonic() - started)
                started = time.monotonic()
                client.cancel(job)
                while client.job(job)["status"] == "running":
                    time.sleep(0.02)
                assert client.job(job)["status"] == "dismissed", served.log
                seconds.append(time.monotonic() - started)
                before = {worker: sum(worker.cpu_times()[:2]) for worker in served.workers()}
                killed += not before  # one that does not let go for 5 s is killed, and another begun
                time.sleep(0.5)
                after += [sum(worker.cpu_times()[:2]) - spent for worker, spent in before.items()]
    for name, values in (("running", seconds), ("waiting", waiting), ("CPU s in the half second after", after)):
        p50, p95, most = np.percentile(values, [50, 95, 100])
        print(f"{name}: {len(values)} tries, median {p50:.2f}, p95 {p95:.2f}, longest {most:.2f} s")
    print(f"{killed} workers had to be killed")


if __name__ == "__main__":
    main()
