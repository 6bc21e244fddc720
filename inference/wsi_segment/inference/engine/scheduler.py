"""Running the tasks of a plan: Dask's threads, one task per region."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from wsi_segment.inference.grid.region import Region
from wsi_segment.inference.mask.ledger import FinishedRegion


def run_tasks(
    task: Callable[[Region], FinishedRegion],
    regions: Sequence[Region],
    workers: int,
    done: Callable[[FinishedRegion], None],
    stop: threading.Event,
) -> None:
    """Run a task for each region; the first failure stops the others and is raised.

    Args:
        task: Called on worker threads.
        regions: In the order in which they are started.
        workers: Number of threads.
        done: Called with each result as it comes, on the thread that has it, never on two at once.
        stop: Set here when something failed, so that running tasks end soon.
    """
    if not regions:
        return
    from dask.base import compute  # loaded once pixels are there to be computed, not to look at a slide
    from dask.delayed import delayed

    lock = threading.Lock()

    def run(region: Region) -> None:
        finished = task(region)
        with lock:
            done(finished)

    start, count = delayed(run, traverse=False), len(regions)
    # Dask starts independent tasks by their names, the last one first
    calls = [start(region, dask_key_name=f"region-{count - index:08d}") for index, region in enumerate(regions)]
    with ThreadPoolExecutor(workers, thread_name_prefix="region") as pool:
        try:
            compute(*calls, scheduler="threads", pool=pool, num_workers=workers, optimize_graph=False)  # type: ignore[no-untyped-call]
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
