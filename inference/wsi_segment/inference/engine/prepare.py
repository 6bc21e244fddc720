"""What a run settles before its first window: scale, lattice, tissue, plan and provenance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wsi_segment.errors import InputError, SlideError
from wsi_segment.inference.engine.applicability.slide_likeness import Applicability, FieldSurvey
from wsi_segment.inference.engine.memory import Budget, make_budget
from wsi_segment.inference.engine.networks.network import NetworkFacts
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.plan import Plan, make_plan
from wsi_segment.inference.engine.provenance import add_likeness, make_provenance
from wsi_segment.inference.engine.tissue import TissueMask, find_tissue
from wsi_segment.inference.engine.windows import lattice_of
from wsi_segment.inference.grid.lattice import Lattice
from wsi_segment.inference.mask.ledger import RunIdentity
from wsi_segment.inference.mask.ngff import MaskMetadata
from wsi_segment.inference.mask.pyramid import level_shapes
from wsi_segment.inference.places.bucket_folder import is_bucket
from wsi_segment.inference.places.kept_bytes import KEPT_BYTES
from wsi_segment.inference.progress import Watch
from wsi_segment.inference.slides.candidate import Known
from wsi_segment.inference.slides.doubt import Doubt
from wsi_segment.inference.slides.fingerprint import slide_fingerprint
from wsi_segment.inference.slides.frame import MaskFrame, mask_frame
from wsi_segment.inference.slides.pixels import PixelSource
from wsi_segment.inference.slides.slide import PixelSize, Slide, pixel_size_of
from wsi_segment.inference.slides.slide_files import slide_files
from wsi_segment.model.card import Model


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that is settled before the first window is read; it travels to wherever regions are computed."""

    size: PixelSize
    frame: MaskFrame
    lattice: Lattice
    tissue: TissueMask
    plan: Plan
    provenance: dict[str, Any]
    doubts: tuple[Doubt, ...]
    """Doubts about the slide and its tissue."""
    likeness: Applicability | None
    """Of the slide to the training images, if it was looked for and the model's card can tell."""
    batch_size: int
    """Windows per network call."""
    slide_mm2: float
    """Area of the part of the slide that was scanned."""

    @property
    def mask_mpp(self) -> float:
        """µm per mask pixel."""
        return self.size.mpp * self.frame.downsample

    def with_likeness(self, likeness: Applicability | None) -> Prepared:
        """Return the same with the slide's likeness to the training images in provenance and doubts."""
        if likeness is None:
            return self
        provenance = add_likeness(self.provenance, likeness, self.frame.downsample)
        return replace(self, likeness=likeness, provenance=provenance, doubts=self.doubts + likeness.doubts())

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


def prepare(
    slide: Slide,
    *,
    path: Path,
    model: Model,
    options: SegmentOptions,
    look: bool = True,
    known: Known | None = None,
    load: Callable[[], NetworkFacts | None] = lambda: None,
    watch: Watch | None = None,
    started: RunIdentity | None = None,
) -> Prepared:
    """Settle scale, lattice, tissue and plan of a run; see :func:`segment`.

    Args:
        slide: Open; its colours may be managed already.
        path: Where it lies.
        model: Its card says what the network needs.
        options: Every choice.
        look: Look for the slide's likeness to the training images too; ``options.strict`` always does.
        known: What opening it found out.
        load: Loads the model's network, once slide and model were found to fit; gives None where another network is
            used in its place.
        watch: Receives the rows searched for tissue so far.
        started: Identity of the unfinished run in the output's place. If that is this very run it keeps its region
            size, though another amount of memory may be free now.

    Raises:
        InputError: slide, model or parameters are at fault, or ``options.strict`` and there is a doubt.
        Cancelled: ``watch.stop`` was set.
    """
    card, watch, known = model.card, watch or Watch(), known or Known()
    # a stated pixel size that is not used leaves no doubt
    doubts = tuple(one for one in slide.doubts if options.mpp is None or one.code != "pixel-size-differs")
    _refuse_doubts(path, doubts, options)
    size = pixel_size_of(slide, path, options.mpp)
    frame = mask_frame(slide, size.mpp, card.mpp)
    lattice = lattice_of(frame, card, options.window, options.overlap)
    if (loaded := load()) is not None:
        # smaller calls than a graph's fixed batch would compute copies of windows
        options = replace(options, batch_size=max(options.batch_size, loaded.batch or 1))
    kept_bytes = KEPT_BYTES if is_bucket(path) else 0
    budget = make_budget(frame, lattice, card, options, kept_bytes=kept_bytes)
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
    likeness: Applicability | None = None
    if look or options.strict:
        likeness = FieldSurvey(PixelSource(slide, frame), tissue, card, mpp=size.mpp, stop=watch.stop).finish()
    _refuse_doubts(path, doubts if likeness is None else doubts + likeness.doubts(), options)
    try:
        fingerprint = known.fingerprint or slide_fingerprint(slide_files(path), known.parts)
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
        budget = make_budget(
            frame, lattice, card, replace(options, region_size=started.region_size), kept_bytes=kept_bytes
        )
        provenance = describe(budget)
    plan = make_plan(frame, lattice, tissue, budget)
    return Prepared(
        size=size,
        frame=frame,
        lattice=lattice,
        tissue=tissue,
        plan=plan,
        provenance=provenance,
        doubts=doubts,
        likeness=likeness,
        batch_size=options.batch_size,
        slide_mm2=round(slide.bounds.width * size.x * slide.bounds.height * size.y / 1e6, 6),
    )


def _refuse_doubts(path: Path, doubts: tuple[Doubt, ...], options: SegmentOptions) -> None:
    if options.strict and doubts:
        raise InputError(f"{path}: {doubts[0].message} (refused because of `strict`)")
