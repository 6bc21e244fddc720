"""How much memory there is to use, inside a container as outside."""

from __future__ import annotations

from pathlib import Path

import psutil

SHARE = 0.75
"""Of what is free, when no limit is given."""

_CGROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)


def default_limit() -> int:
    """Three quarters of the free memory of the machine, or of the container where that is less; bytes."""
    free = int(psutil.virtual_memory().available)
    for most, used in _CGROUPS:
        try:
            free = min(free, int(most.read_text()) - int(used.read_text()))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return int(free * SHARE)
