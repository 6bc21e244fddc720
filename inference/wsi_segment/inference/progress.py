"""What a run tells its watcher, and how it is told to stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Stage = Literal["tissue", "segment", "pyramid", "outlines"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a stage is."""

    stage: Stage
    done: int
    """Windows for ``segment``, rows or blocks else."""
    total: int
    kept: int = 0
    """Of ``done``: taken over from an earlier run that was cut off."""


Report = Callable[[Progress], None]
"""Called from any thread, often; must return soon."""


def silent(progress: Progress) -> None:
    """A report for nobody."""


Step = Callable[[int, int], None]
"""Called with (steps done, steps in all) of one stage; may raise to stop it."""


def no_step(done: int, total: int) -> None:
    """Take a step that nobody watches."""
