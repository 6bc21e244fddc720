"""Running the tasks of a plan: threads, one task per region."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

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
    lock = threading.Lock()
    failures: list[BaseException] = []

    def run(region: Region) -> None:
        if failures:  # those that wait in the queue
            return
        try:
            finished = task(region)
            with lock:
                done(finished)
        except BaseException as error:  # raised below, on the caller's thread
            failures.append(error)
            stop.set()

    with ThreadPoolExecutor(workers, thread_name_prefix="region") as pool:
        try:
            wait([pool.submit(run, region) for region in regions])
        except BaseException:  # a Ctrl-C while it waits
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    if failures:
        raise failures[0]
