"""Signs of life of the tasks that a worker process is at; each has one pulse, from its first step to its last."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from wsi_segment.inference.progress import OwnStop

STALL_SECONDS = 45.0
"""Seconds without progress after which a region counts as hanging; more if the network is slow."""
PATIENT_SECONDS = 270.0
"""The same of opening, planning and coarse levels, and of regions whose slide or output is not on a disk: a request to
a bucket is repeated for 255 s, which is no hang. Three tries fit into the 15 minutes that a service waits, except where
a plan hangs after a long opening: each of the two may take as long."""
_LOADS = 20
"""A region also counts as hanging only after this many times what loading and trying its network took."""


def region_limit(load_seconds: float, *, remote: bool) -> float:
    """Return after how many seconds without progress a region hangs.

    Args:
        load_seconds: Seconds that loading and trying the network took.
        remote: Whether the slide or the output is not on a disk.
    """
    return max(PATIENT_SECONDS if remote else STALL_SECONDS, _LOADS * load_seconds)


@dataclass(slots=True, eq=False)
class Pulse:
    """The signs of life of one task."""

    token: str
    """Of the run."""
    name: str
    """Of what the task is one of; see ``Items`` of the feeder."""
    index: int
    limit: float = PATIENT_SECONDS
    """Seconds without a sign after which it hangs."""
    windows: int = 0
    changed: float = field(default_factory=time.monotonic)
    told: int = -1
    """Windows of which the client knows; it is told of a task without any too, so that it knows that it has begun."""

    def renew(self, limit: float | None = None) -> None:
        """Give a sign of life, from which on the limit is another one if it is given."""
        self.limit = limit or self.limit
        self.changed = time.monotonic()

    def count(self, windows: int) -> None:
        """Count windows that were predicted."""
        self.windows += windows
        self.renew()


class LivelyStop(OwnStop):
    """The event that ends a run, as one of its tasks is given it: whoever asks whether to end is alive."""

    def __init__(self, outer: threading.Event, pulse: Pulse) -> None:
        super().__init__(outer)
        self._pulse = pulse

    def is_set(self) -> bool:
        """Return whether the run is to end."""
        self._pulse.renew()
        return super().is_set()


class Pulses:
    """Those of all tasks of a process."""

    def __init__(self) -> None:
        self._pulses: list[Pulse] = []
        self._lock = threading.Lock()

    @contextmanager
    def of(self, token: str, name: str, index: int) -> Iterator[Pulse]:
        """Yield the pulse of a task, which lasts as long as the context."""
        pulse = Pulse(token, name, index)
        with self._lock:
            self._pulses.append(pulse)
        try:
            yield pulse
        finally:
            with self._lock:
                self._pulses.remove(pulse)

    def has(self, token: str) -> bool:
        """Return whether any task of a run is there."""
        with self._lock:
            return any(pulse.token == token for pulse in self._pulses)

    def news(self, now: float) -> dict[tuple[str, str], list[tuple[int, int, bool]]]:
        """Return for token and name of tasks the index, the windows so far and whether it hangs of each with news."""
        found = defaultdict[tuple[str, str], list[tuple[int, int, bool]]](list)
        with self._lock:
            for pulse in self._pulses:
                hangs = now - pulse.changed > pulse.limit
                if hangs or pulse.windows != pulse.told:
                    pulse.told = pulse.windows
                    found[pulse.token, pulse.name].append((pulse.index, pulse.windows, hangs))
        return found
