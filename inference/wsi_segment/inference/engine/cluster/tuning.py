"""What runs on a scheduler, and the work that Dask does for its own sake, turned down.

A scheduler needs this module alone: nothing here may import the engine, which would double the scheduler's memory.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distributed import Scheduler

_SLOWER = {"tick": 1.0, "monitor": 5.0, "memory_monitor": 1.0, "stealing": 1.0}
"""Seconds between two runs of the servers' periodic work; by default 20, 500 and 100 ms, and 1 s."""
_STOPPED = ("profile", "profile-cycle")
TTL_SECONDS = 20.0
"""A worker that has been silent for this long is given up; by default 5 minutes."""
_TTL_LOOK_SECONDS = 5.0
PACKAGES = (
    "wsi-segment", "dask", "distributed", "numpy", "zarr", "tifffile", "imagecodecs", "pillow", "rasterio",
)  # fmt: skip
"""Those that client, scheduler and workers must have in one version, besides what the provenance says of libraries."""

_log = logging.getLogger(__name__)
_LOGGERS = ("distributed", "distributed.client", "distributed.core")
_SHARED_LOGGERS = ("tornado.application", "tornado.general", "asyncio")
"""Those that others in this process log to as well, such as Jupyter."""


def turn_down(server: Any) -> None:
    """Make a scheduler, worker or nanny of Dask do rarely, or not at all, what is not needed here."""
    for name, callback in server.periodic_callbacks.items():
        if name in _STOPPED:
            callback.stop()
        elif name in _SLOWER:
            callback.callback_time = max(callback.callback_time, 1000 * _SLOWER[name])


def turn_down_worker(dask_worker: Any) -> None:
    """Do that on a worker or nanny; Dask passes it itself."""
    turn_down(dask_worker)


def paused_above(worker: Any) -> int:
    """Return the bytes of memory above which Dask pauses a worker, so that it begins nothing; 0 for any."""
    manager = worker.memory_manager
    return int((manager.memory_limit or 0) * (manager.memory_pause_fraction or 1))


def set_up_scheduler(dask_scheduler: Scheduler) -> dict[str, Any]:
    """Turn a scheduler's own work down, have it give up silent workers soon, and return what a client asks of it."""
    scheduler: Any = dask_scheduler
    turn_down(scheduler)
    if scheduler.worker_ttl is not None and (look := scheduler.periodic_callbacks.get("worker-ttl")) is not None:
        scheduler.worker_ttl = min(scheduler.worker_ttl, TTL_SECONDS)
        if look.callback_time > 1000 * _TTL_LOOK_SECONDS:
            look.stop()  # or it would wait for the time of the next look by the old period, of 5 minutes
            look.callback_time = 1000 * _TTL_LOOK_SECONDS
            look.start()
    return {
        "versions": installed(),
        "allowed_failures": scheduler.allowed_failures,
        "gives_up_silent_workers": scheduler.worker_ttl is not None,
    }


def warn_of_settings(address: str, scheduler: Mapping[str, Any]) -> None:
    """Warn of what :func:`set_up_scheduler` found, and left as whoever started the scheduler wants it."""
    if not scheduler["gives_up_silent_workers"]:
        _log.warning(
            "%s gives up no worker that falls silent, so a run waits for ever for one that is stopped or whose machine "
            "hangs; start it without `distributed.scheduler.worker-ttl: null`",
            address,
        )


def look_at_workers(dask_scheduler: Scheduler) -> tuple[int, dict[Any, str], list[str]]:
    """Return how many tasks the workers can run at once, by the keys of tasks the workers which begin none, and those.

    Dask pauses a worker whose memory is nearly full: it ends what it runs, and what waits there stays there.
    """
    scheduler: Any = dask_scheduler
    halted = set(scheduler.workers.values()) - scheduler.running
    waits = {task.key: one.address for one in halted for task in one.processing}
    paused = sorted(one.address for one in halted if one.status.name == "paused")
    return sum(one.nthreads for one in scheduler.running), waits, paused


def installed() -> dict[str, str]:
    """Return the versions of :data:`PACKAGES` in this process."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


class _Hush:
    """Keeps Dask from writing lines of its own while any such context lasts: what happens is said in one."""

    def __init__(self) -> None:
        self._lock, self._users = threading.Lock(), 0
        self._levels: dict[str, int] = {}

    def __enter__(self) -> None:
        with self._lock:
            self._users += 1
            if self._users > 1:
                return
            for name in _LOGGERS:
                self._levels[name] = logging.getLogger(name).level
                logging.getLogger(name).setLevel(logging.CRITICAL + 1)
            for name in _SHARED_LOGGERS:
                logging.getLogger(name).addFilter(_is_of_others)

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users:
                return
            for name, level in self._levels.items():
                logging.getLogger(name).setLevel(level)
            for name in _SHARED_LOGGERS:
                logging.getLogger(name).removeFilter(_is_of_others)


def _is_of_others(record: logging.LogRecord) -> bool:
    """Return whether a line is not of Dask's own thread, nor of a task of Dask that another thread cleared away."""
    return record.threadName != "IO loop" and "distributed" not in record.getMessage()


HUSH = _Hush()
"""That of this process."""
