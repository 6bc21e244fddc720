"""The port between the engine and what computes regions: the threads of this process, or the workers of a cluster.

Plan, ledger, resume, cancel and progress are the engine's own; a scheduler opens a slide where it is read, settles its
plan there, and has the regions computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from wsi_segment.inference.engine.applicability.slide_likeness import Applicability
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.prepare import Prepared
from wsi_segment.inference.grid.region import Region
from wsi_segment.inference.mask.ledger import FinishedRegion, RunIdentity
from wsi_segment.inference.mask.partial import Output
from wsi_segment.inference.mask.region_writer import RegionWriter
from wsi_segment.inference.progress import Step, Watch
from wsi_segment.inference.slides.slide import Slide
from wsi_segment.model.card import Model


@dataclass(frozen=True, slots=True)
class Order:
    """What a run is made from."""

    path: Path
    """A slide file, a DICOM folder or one of its files."""
    model: Model
    """Its card says what the network needs."""
    options: SegmentOptions
    """Every choice."""
    started: RunIdentity | None = None
    """Identity of the unfinished run in the output's place."""


class Run(Protocol):
    """One slide, open wherever its regions are computed."""

    @property
    def prepared(self) -> Prepared:
        """What was settled."""

    @property
    def slide(self) -> Slide:
        """The slide, open in this process."""

    def compute(
        self,
        output: Output,
        writer: RegionWriter,
        regions: Sequence[Region],
        done: Callable[[FinishedRegion], None],
        count: Callable[[int], None],
    ) -> Applicability | None:
        """Compute regions; the first failure stops the others and is raised.

        Args:
            output: Of the run; workers elsewhere find there what they need.
            writer: They are written with; it may travel to other processes.
            regions: In the order in which they are started.
            done: Called with each result as it comes, never on two threads at once.
            count: Called from any thread with the number of further windows predicted.

        Returns:
            The slide's likeness to the training images; None where the model's card cannot tell.

        Raises:
            Cancelled: the run was stopped.
            SlideError: pixels cannot be read.
            RunError: the cluster is lost, or a region killed its workers again and again.
        """

    def finish(self, output: Output, writer: RegionWriter, provenance: dict[str, Any], step: Step) -> None:
        """Make the coarse levels and the metadata, when all regions are finished; see :meth:`Output.finish`.

        Args:
            output: Of the run.
            writer: As for :meth:`compute`.
            provenance: The whole of it.
            step: Called with (blocks done, 0) after each; may raise to stop.
        """


class Scheduler(Protocol):
    """Whatever computes regions."""

    def opened(self, order: Order, watch: Watch) -> AbstractContextManager[Run]:
        """Open a slide, settle its plan, and close it in the end.

        Args:
            order: What the run is made from.
            watch: Receives progress; ends the run when its ``stop`` is set.

        Raises:
            InputError: slide, model or options are at fault.
            Cancelled: ``watch.stop`` was set.
            RunError: the cluster is lost.
        """
