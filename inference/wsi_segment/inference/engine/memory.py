"""How much memory there is to use, inside a container as outside."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path

import psutil

SHARE = 0.75
"""Of the free memory, when no limit is given."""

_M_MMAP_THRESHOLD = -3
"""From glibc's malloc.h."""

_CGROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)


def return_freed_memory() -> None:
    """Free what earlier runs left behind, and have large arrays go back to the system when they are freed.

    zarr keeps the frames of a lookup that found nothing in a reference cycle, and with them a run's whole network;
    Python may not look for cycles for many slides. glibc learns to keep blocks of up to 32 MiB in its heaps, where
    they fragment as threads come and go; a fixed threshold stops that. Elsewhere nothing needs to be done.
    """
    gc.collect()
    try:
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 1 << 20)
    except (AttributeError, OSError, TypeError):
        return


def default_limit() -> int:
    """Return three quarters of the free memory of the machine, or of the container where that is less; bytes."""
    free = int(psutil.virtual_memory().available)
    for most, used in _CGROUPS:
        try:
            free = min(free, int(most.read_text()) - int(used.read_text()))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return int(free * SHARE)
