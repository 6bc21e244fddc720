"""Seconds from the kill of a server at work, which is started again at once, to the first region that is finished.

The server and its workers are killed with signal 9; the same command is started again. A region is finished when it is
in the ledger of its job, which is told by the time of its file. Jobs are small, and the cheap model computes them. No
audit hook slows the processes, as one does in ``tests/service/workers/test_kill.py``.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from live_server import Served, write_slides


def first_region(served: Served, since: float) -> float:
    """When the first region after a moment was finished; Unix time."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for ledger in served.data.glob("results/*/mask.zarr.partial/ledger.jsonl"):
            with suppress(FileNotFoundError):  # its mask is published
                if (stat := ledger.stat()).st_mtime > since and stat.st_size:
                    return stat.st_mtime
        time.sleep(0.01)
    raise AssertionError(served.log)


def main() -> None:
    """Kill and start again, TRIES times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    seconds = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = write_slides(Path(scratch) / "served", height=1100, width=1300)
        with Served(folder, "--workers", args.workers, "--worker-threads", 1) as served:
            for _ in range(args.tries):
                with served.client() as client:
                    for _ in range(3 * args.workers):
                        client.submit("slides/s0.tiff", model="channels", overlap=0.75)
                first_region(served, time.time())
                time.sleep(random.uniform(0, 1))
                killed = time.time()
                served.stop(signal.SIGKILL)
                served.start(wait=False)
                seconds.append(first_region(served, killed + 0.2) - killed)
                served.wait_for("/health/live")
    p50, most = np.percentile(seconds, [50, 100])
    print(f"{len(seconds)} restarts with {args.workers} workers: median {p50:.2f}, longest {most:.2f} s")


if __name__ == "__main__":
    main()
