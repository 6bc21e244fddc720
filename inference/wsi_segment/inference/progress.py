"""What a run tells its watcher, and how it is told to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from wsi_segment.errors import Cancelled

Stage = Literal["waiting", "tissue", "segment", "pyramid", "outlines"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a stage is.

    >>> from wsi_segment.inference import segment
    >>> told = []
    >>> summary = segment("slide.tiff", out="watched.zarr", report=told.append)
    >>> told[-1].stage, told[-1].done == told[-1].total
    ('segment', True)
    """

    stage: Stage
    """What the run is at."""
    done: int
    """Windows for ``segment``, rows or blocks else."""
    total: int
    """How many there are; 0 while that is not known."""
    kept: int = 0
    """Of ``done``: taken over from an earlier run that was cut off."""


Report = Callable[[Progress], None]
"""Called from any thread, often; must return soon."""


def silent(progress: Progress) -> None:
    """Report to nobody."""


Step = Callable[[int, int], None]
"""Called with (steps done, steps in all) of one stage; may raise to stop it."""


def no_step(done: int, total: int) -> None:
    """Take a step that nobody watches."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Who watches a run: whom it reports to, and what ends it."""

    report: Report = silent
    stop: threading.Event = field(default_factory=threading.Event)
    """Set, from any thread, when the run shall end; finished regions are kept."""

    def check(self) -> None:
        """Raise where the run shall end.

        Raises:
            Cancelled: ``stop`` is set.
        """
        if self.stop.is_set():
            raise Cancelled("stopped")

    def step(self, stage: Stage) -> Step:
        """Return a step function that reports a stage and, when the run shall end, ends it."""

        def step(done: int, total: int) -> None:
            self.check()
            self.report(Progress(stage, done, total))

        return step
