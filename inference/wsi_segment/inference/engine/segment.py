"""A slide in, a mask out: the stages of the engine in their order."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wsi_segment.errors import InputError, RunError, SlideError
from wsi_segment.files import printable, sync_tree
from wsi_segment.inference.engine.memory import Budget, make_budget, return_freed_memory
from wsi_segment.inference.engine.networks.network import LoadedNetwork, Network, load_network
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.plan import Plan, make_plan
from wsi_segment.inference.engine.predict import RegionPredictor
from wsi_segment.inference.engine.provenance import make_provenance
from wsi_segment.inference.engine.region_task import RegionTask
from wsi_segment.inference.engine.scheduler import run_tasks
from wsi_segment.inference.engine.tissue import TissueMask, find_tissue
from wsi_segment.inference.engine.windows import lattice_of
from wsi_segment.inference.grid.lattice import Lattice
from wsi_segment.inference.mask.ledger import FinishedRegion, RunIdentity
from wsi_segment.inference.mask.ngff import MaskMetadata
from wsi_segment.inference.mask.partial import Output
from wsi_segment.inference.mask.pyramid import level_shapes
from wsi_segment.inference.mask.store import MaskStore
from wsi_segment.inference.mask.summary import Summary, class_areas, pixels_per_class, write_summary
from wsi_segment.inference.progress import Progress, Report, Watch, silent
from wsi_segment.inference.slides.doubt import Doubt
from wsi_segment.inference.slides.fingerprint import slide_fingerprint
from wsi_segment.inference.slides.frame import MaskFrame, mask_frame
from wsi_segment.inference.slides.open import open_slide
from wsi_segment.inference.slides.pixels import PixelSource
from wsi_segment.inference.slides.readers.icc import ColourManaged
from wsi_segment.inference.slides.readers.scaled import with_scaled_levels
from wsi_segment.inference.slides.slide import PixelSize, Slide, pixel_size_of
from wsi_segment.inference.slides.slide_files import slide_files
from wsi_segment.model.card import Model, ModelCard


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that is settled before the first window is read."""

    slide: Slide
    size: PixelSize
    frame: MaskFrame
    lattice: Lattice
    network: Network
    tissue: TissueMask
    plan: Plan
    provenance: dict[str, Any]
    doubts: tuple[Doubt, ...]
    """Of the slide, and what its tissue gives rise to."""
    batch_size: int
    """Windows per network call."""

    @property
    def mask_mpp(self) -> float:
        """µm per mask pixel."""
        return self.size.mpp * self.frame.downsample

    def metadata(self, model: Model, options: SegmentOptions) -> MaskMetadata:
        """Return the OME-Zarr metadata of the mask."""
        levels = len(level_shapes(self.frame.height, self.frame.width))
        return MaskMetadata(
            version=options.ome_zarr,
            levels=levels,
            frame=self.frame,
            size=self.size,
            classes=model.card.classes,
            probabilities=options.probabilities,
        )


def segment(
    path: Path,
    model: Model,
    out: Path,
    options: SegmentOptions,
    report: Report = silent,
    stop: threading.Event | None = None,
    network: Network | None = None,
    before_publishing: Callable[[Slide, Path, Summary], None] = lambda slide, store, summary: None,
) -> Summary:
    """Segment one slide into an OME-Zarr mask.

    The same call continues a run that was cut off. The final name holds a complete store or nothing.

    Args:
        path: A slide file, a DICOM folder or one of its files.
        model: Its card says what the network needs.
        out: The store to write; its parent is created where it is missing.
        options: Every choice.
        report: Told of progress, from any thread.
        stop: Set it to end the run; regions that are finished are kept.
        network: Used in place of the model's weights.
        before_publishing: Called with the slide, the complete store and the summary, to write whatever else is wanted.
            The store gets its final name only after it, so that the same call writes it again if it was cut off.

    Raises:
        InputError: slide, model, output or parameters are at fault, or ``options.strict`` and there is a doubt.
        RunError: the disk is full or fails.
        Cancelled: ``stop`` was set.
    """
    started = time.monotonic()
    watch = Watch(report, stop or threading.Event())
    return_freed_memory()
    output = Output(out, options.overwrite)
    slide = open_slide(path, options.image)
    try:
        scaled = with_scaled_levels(slide)
        seen = ColourManaged(scaled) if options.apply_icc else scaled
        prepared = prepare(
            seen, path=path, model=model, options=options, watch=watch, network=network, started=output.started()
        )
        with disk_errors(out):
            finished, kept = _compute(prepared, model, options=options, output=output, watch=watch)
            seconds = round(time.monotonic() - started, 2)
            summary = _summarise(
                prepared, path=path, out=out, card=model.card, finished=finished, kept=kept, seconds=seconds
            )
            before_publishing(slide, output.store, summary)
            output.refuse_taken()
            write_summary(summary, out)  # before the mask: a finished mask is never without its summary
            output.publish()
        return summary
    finally:
        output.release()
        slide.close()


def prepare(
    slide: Slide,
    *,
    path: Path,
    model: Model,
    options: SegmentOptions,
    watch: Watch | None = None,
    network: Network | None = None,
    started: RunIdentity | None = None,
) -> Prepared:
    """Settle scale, lattice, tissue and plan of a run; see :func:`segment`.

    Args:
        slide: Open; its colours may be managed already.
        path: Where it lies.
        model: Its card says what the network needs.
        options: Every choice.
        watch: Told of the rows in which tissue is looked for.
        network: Used in place of the model's weights.
        started: Identity of the unfinished run in the output's place. If that is this very run it keeps its region
            size, though another amount of memory may be free now.

    Raises:
        InputError: slide, model or parameters are at fault, or ``options.strict`` and there is a doubt.
        Cancelled: ``watch.stop`` was set.
    """
    card, watch = model.card, watch or Watch()
    doubts = slide.doubts
    _refuse_doubts(path, doubts, options)
    size = pixel_size_of(slide, path, options.mpp)
    frame = mask_frame(slide, size.mpp, card.mpp)
    lattice = lattice_of(frame, card, options.window, options.overlap)
    loaded: LoadedNetwork | None = None
    if network is None:
        network = loaded = load_network(model, options.device, options.precision, options.batch_size)
        # smaller calls than a graph's fixed batch would compute copies of windows
        options = replace(options, batch_size=max(options.batch_size, loaded.batch or 1))
    budget = make_budget(frame, lattice, card, options)
    tissue = find_tissue(
        slide,
        frame,
        mask_mpp=size.mpp * frame.downsample,
        method=options.tissue,
        step=watch.step("tissue"),
        region=options.region,
    )
    doubts += tissue.doubts
    if not tissue.cells.any():
        doubts += (Doubt("no-tissue", "no tissue was found; `tissue` none analyses everything"),)
    _refuse_doubts(path, doubts, options)
    try:
        fingerprint = slide_fingerprint(slide_files(path))
    except OSError as error:
        raise SlideError(f"{path}: cannot be read: {error.strerror}") from error

    def describe(budget: Budget) -> dict[str, Any]:
        return make_provenance(
            fingerprint=fingerprint,
            slide=slide,
            size=size,
            frame=frame,
            tissue=tissue,
            lattice=lattice,
            model=model,
            options=options,
            network=loaded,
            region_size=budget.region_size,
            doubts=doubts,
        )

    provenance = describe(budget)
    if started is not None and started.differs_in_region_size_only(RunIdentity.of(provenance)):
        budget = make_budget(frame, lattice, card, replace(options, region_size=started.region_size))
        provenance = describe(budget)
    plan = make_plan(frame, lattice, tissue, budget)
    return Prepared(
        slide=slide,
        size=size,
        frame=frame,
        lattice=lattice,
        network=network,
        tissue=tissue,
        plan=plan,
        provenance=provenance,
        doubts=doubts,
        batch_size=options.batch_size,
    )


def _refuse_doubts(path: Path, doubts: tuple[Doubt, ...], options: SegmentOptions) -> None:
    if options.strict and doubts:
        raise InputError(f"{path}: {doubts[0].message} (refused, as `strict` wants it)")


def _compute(
    prepared: Prepared, model: Model, options: SegmentOptions, output: Output, watch: Watch
) -> tuple[list[FinishedRegion], int]:
    """Compute what is missing; return all regions, and how many of them an earlier run had finished."""
    plan, identity = prepared.plan, RunIdentity.of(prepared.provenance)
    ledger = output.begin(identity)
    if ledger.started is None:
        MaskStore.create(output.store, prepared.metadata(model, options), plan.budget.region_size, prepared.provenance)
        sync_tree(output.partial)  # regions count as finished later: what describes them must not be lost before
    with ledger.opened(identity):
        kept = list(ledger.finished.values())
        predictor = RegionPredictor(
            source=PixelSource(prepared.slide, prepared.frame),
            lattice=prepared.lattice,
            tissue=prepared.tissue,
            network=prepared.network,
            card=model.card,
            batch_size=prepared.batch_size,
            band_rows=plan.budget.band_rows,
            count=_WindowCounter(watch.report, plan.windows, sum(region.windows for region in kept)),
            stop=watch.stop,
        )
        store = MaskStore(output.store, plan.budget.region_size)
        missing = [region for region in plan.regions if region.key not in ledger.finished]
        missing.sort(key=lambda region: region.windows, reverse=True)  # at the end all workers are busy, with little
        run_tasks(RegionTask(predictor, store), missing, workers=plan.budget.workers, done=ledger.add, stop=watch.stop)
        store.finish(ledger.finished.values(), watch.step("pyramid"))
        return list(ledger.finished.values()), len(kept)


def _summarise(
    prepared: Prepared,
    *,
    path: Path,
    out: Path,
    card: ModelCard,
    finished: list[FinishedRegion],
    kept: int,
    seconds: float,
) -> Summary:
    size, frame = prepared.size, prepared.frame
    counts = pixels_per_class(finished, len(card.classes))
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
        slide_mm2=round(prepared.slide.bounds.width * size.x * prepared.slide.bounds.height * size.y / 1e6, 6),
        classes=areas,
        windows=prepared.plan.windows,
        regions=len(finished),
        regions_kept=kept,
        regions_skipped=sum(not region.windows for region in finished),
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
