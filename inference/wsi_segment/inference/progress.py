"""What a run reports while it works, and how to stop it."""

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
    >>> reports = []
    >>> summary = segment("slide.tiff", out="watched.zarr", report=reports.append)
    >>> reports[-1].stage, reports[-1].done == reports[-1].total
    ('segment', True)
    """

    stage: Stage
    """The stage that the run is in."""
    done: int
    """Windows for ``segment``, rows or blocks else."""
    total: int
    """How many there are; 0 while that is not known."""
    kept: int = 0
    """Units of ``done`` that were taken over from an earlier run that was cut off."""
    reason: str = ""
    """What a run waits for, and what can be done about it; with ``waiting`` alone."""


Report = Callable[[Progress], None]
"""Called from any thread, often; must return soon."""


def silent(progress: Progress) -> None:
    """Report to nobody."""


Step = Callable[[int, int], None]
"""Called with (steps done, steps in all) of one stage; may raise to stop it."""


def no_step(done: int, total: int) -> None:
    """Take a step that nobody watches."""


class OwnStop(threading.Event):
    """Ends one run: set by the run itself where it fails, or once the event of whoever watches it is set.

    That one may end other runs too, of the slides that come next, and is never set from here.
    """

    def __init__(self, outer: threading.Event) -> None:
        super().__init__()
        self._outer = outer

    def is_set(self) -> bool:
        """Return whether the run is to end."""
        return super().is_set() or self._outer.is_set()


@dataclass(frozen=True, slots=True)
class Watch:
    """Whoever watches a run: where it reports to, and what ends it."""

    report: Report = silent
    stop: threading.Event = field(default_factory=threading.Event)
    """Set from any thread to end the run; finished regions are kept."""

    def check(self) -> None:
        """Raise an error if the run was asked to end.

        Raises:
            Cancelled: ``stop`` is set.
        """
        if self.stop.is_set():
            raise Cancelled("stopped")

    def step(self, stage: Stage) -> Step:
        """Return a step function that reports a stage and raises once the run was asked to end."""

        def step(done: int, total: int) -> None:
            self.check()
            self.report(Progress(stage, done, total))

        return step

    def wait(self, reason: str) -> None:
        """Report that the run waits, and for what; raise once it was asked to end."""
        self.check()
        self.report(Progress("waiting", 0, 0, reason=reason))
