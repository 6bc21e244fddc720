"""A slide in, a mask out: the stages of the engine in their order."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from wsi_segment.errors import InputError, ReplacedSlideError, RunError
from wsi_segment.files import printable
from wsi_segment.inference.engine.memory import return_freed_memory
from wsi_segment.inference.engine.networks.network import Network
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.prepare import Prepared
from wsi_segment.inference.engine.scheduling.local_threads import LocalThreads
from wsi_segment.inference.engine.scheduling.scheduler import Order, Run, Scheduler
from wsi_segment.inference.mask.ledger import FinishedRegion, RunIdentity
from wsi_segment.inference.mask.mask import Mask
from wsi_segment.inference.mask.partial import Output
from wsi_segment.inference.mask.store import MaskLayout
from wsi_segment.inference.mask.summary import Summary, class_areas, pixels_per_class, write_summary
from wsi_segment.inference.progress import Progress, Report, Watch, silent
from wsi_segment.inference.slides.location import is_remote
from wsi_segment.inference.slides.slide import Slide
from wsi_segment.model.card import Model, ModelCard


def segment(
    path: Path,
    model: Model,
    out: Path,
    options: SegmentOptions,
    report: Report = silent,
    stop: threading.Event | None = None,
    network: Network | None = None,
    before_publishing: Callable[[Slide, Mask, Summary], None] | None = None,
    scheduler: Scheduler | None = None,
) -> Summary:
    """Segment one slide into an OME-Zarr mask.

    The same call continues a run that was cut off. The final name holds a complete store or nothing.

    Args:
        path: A slide file, a DICOM folder or one of its files.
        model: Its card says what the network needs.
        out: The store to write; its parent is created where it is missing.
        options: Every choice.
        report: Called with progress, from any thread.
        stop: Set it to end the run; regions that are finished are kept.
        network: Used in place of the model's weights, by the threads of this process.
        before_publishing: Called with the slide, the complete mask and the summary, to write further files.
            The store gets its final name only after it, so that the same call writes it again if it was cut off.
        scheduler: Computes the regions; None for the threads of this process.

    Raises:
        InputError: slide, model, output or parameters are at fault, or ``options.strict`` and there is a doubt.
        RunError: the disk is full or fails.
        Cancelled: ``stop`` was set.
    """
    if network is not None and scheduler is not None:
        raise InputError("`network`: is of this process, and with `scheduler` others compute; give one of the two")
    started = time.monotonic()
    watch = Watch(report, stop or threading.Event())
    return_freed_memory()
    if scheduler is not None and not is_remote(out):
        out = out.absolute()  # workers have folders of their own to be in
    output = Output(out, options.overwrite)
    order = Order(path, model, options, output.started())
    try:
        with (scheduler or LocalThreads(network)).opened(order, watch) as run:
            with disk_errors(out):
                prepared, kept = _compute(run, model, options=options, output=output, watch=watch)
                seconds = round(time.monotonic() - started, 2)
                summary = _summarise(
                    prepared, path=path, out=out, card=model.card, finished=output.finished, kept=kept, seconds=seconds
                )
                if before_publishing is not None:
                    before_publishing(run.slide, output.mask(), summary)
                output.refuse_taken()
                write_summary(summary, out)  # before the mask: a finished mask is never without its summary
                output.publish()
            return summary
    finally:
        output.release()


def _compute(run: Run, model: Model, options: SegmentOptions, output: Output, watch: Watch) -> tuple[Prepared, int]:
    """Compute what is missing; return all that is known now, and how many regions an earlier run had done."""
    prepared, plan = run.prepared, run.prepared.plan
    layout = MaskLayout(prepared.metadata(model, options), plan.budget.region_size, prepared.provenance)
    writer = output.begin(RunIdentity.of(prepared.provenance), layout, watch.wait)
    kept = len(output.finished)
    count = _WindowCounter(watch.report, plan.windows, sum(region.windows for region in output.finished.values()))
    missing = plan.regions.without(output.finished).fullest_first()  # at the end all workers are busy, with little

    def done(region: FinishedRegion) -> None:
        output.check()
        output.take(region)

    prepared = prepared.with_likeness(run.compute(output, writer, missing, done=done, count=count))
    try:
        run.finish(output, writer, prepared.provenance, watch.step("pyramid"))
    except ReplacedSlideError:  # its regions may be of both, and its fingerprint that of either
        output.discard()
        raise
    return prepared, kept


def _summarise(
    prepared: Prepared,
    *,
    path: Path,
    out: Path,
    card: ModelCard,
    finished: Mapping[str, FinishedRegion],
    kept: int,
    seconds: float,
) -> Summary:
    size, frame = prepared.size, prepared.frame
    counts = pixels_per_class(finished.values(), len(card.classes))
    areas = class_areas(counts, [entry.name for entry in card.classes], size, frame.downsample)
    return Summary(
        slide=printable(path),
        out=printable(out),
        model=f"{card.name} {card.version}",
        mpp=size.mpp,
        mpp_source=size.source,
        mask_mpp=prepared.mask_mpp,
        width=frame.width,
        height=frame.height,
        tissue_mm2=round(sum(area.area_mm2 for area in areas), 6),
        slide_mm2=prepared.slide_mm2,
        classes=areas,
        windows=prepared.plan.windows,
        regions=len(finished),
        regions_kept=kept,
        regions_skipped=sum(not region.windows for region in finished.values()),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=seconds,
        device=prepared.provenance["parameters"]["provider"],
        precision=prepared.provenance["parameters"]["precision"],
        warnings=prepared.doubts,
        provenance=prepared.provenance,
    )


class _WindowCounter:
    """A sum of windows over all threads, for the report."""

    def __init__(self, report: Report, total: int, kept: int) -> None:
        self._report, self._total, self._kept, self._done = report, total, kept, kept
        self._lock = threading.Lock()
        self(0)

    def __call__(self, windows: int) -> None:
        with self._lock:
            self._done += windows
            self._report(Progress("segment", self._done, self._total, self._kept))


@contextmanager
def disk_errors(out: Path) -> Iterator[None]:
    """Turn a failure of the disk into one line; everything that is in the ledger is kept."""
    try:
        yield
    except OSError as error:
        reason = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else (error.strerror or str(error))
        raise RunError(
            f"{out}: cannot be written: {reason}; what is finished is kept, run the same command again"
        ) from error
