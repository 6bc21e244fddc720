"""Running the tasks of a plan: Dask's threads, one task a region."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dask.base import compute
from dask.callbacks import Callback
from dask.delayed import delayed
from wsi_segment.inference.ledger import FinishedRegion
from wsi_segment.inference.plan import Region


class _Finished(Callback):
    """Hands each result on as it comes, in the thread that waits for them all."""

    def __init__(self, done: Callable[[FinishedRegion], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._done = done

    def _posttask(self, key: Any, value: Any, dsk: Any, state: Any, worker_id: Any) -> None:
        if isinstance(value, FinishedRegion):
            self._done(value)


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
        regions: In the order in which they are begun.
        workers: Number of threads.
        done: Called in this thread with each result as it comes.
        stop: Set here when something failed, so that running tasks end soon.
    """
    if not regions:
        return
    calls = [delayed(task, pure=False, traverse=False)(region) for region in regions]
    with ThreadPoolExecutor(workers, thread_name_prefix="region") as pool, _Finished(done):
        try:
            compute(*calls, scheduler="threads", pool=pool, num_workers=workers, optimize_graph=False)  # type: ignore[no-untyped-call]
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
