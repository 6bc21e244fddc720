"""Whole-slide segmentation from Python: a slide in, a mask out.

    >>> from wsi_segment.inference import Mask, segment
    >>> summary = segment("slide.tiff", out="new.zarr", quiet=True)
    >>> mask = Mask.open("new.zarr")
    >>> mask.at(300, 300).name in [area.name for area in summary.classes]
    True

Names are loaded when they are first used, so that importing one of them takes no time and no library that it does
not need. Errors are in :mod:`wsi_segment.errors`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsi_segment.lazy_names import lazy_names

if TYPE_CHECKING:
    import threading
    from pathlib import Path

    from wsi_segment.inference.engine.cluster.address import Cluster, Tls
    from wsi_segment.inference.engine.options import SegmentOptions
    from wsi_segment.inference.grid.box import Box
    from wsi_segment.inference.mask.geojson import write_geojson
    from wsi_segment.inference.mask.mask import Mask, MaskClass, Outline
    from wsi_segment.inference.mask.summary import ClassArea, Summary
    from wsi_segment.inference.mask.verify import Verification, verify
    from wsi_segment.inference.progress import Progress, Report
    from wsi_segment.inference.slides.doubt import Doubt
    from wsi_segment.inference.slides.open import open_slide
    from wsi_segment.inference.slides.slide import Level, PixelSize, Slide
    from wsi_segment.model.card import Model, ModelCard, SegmentClass, find_model

__all__ = [
    "Box",
    "ClassArea",
    "Cluster",
    "Doubt",
    "Level",
    "Mask",
    "MaskClass",
    "Model",
    "ModelCard",
    "Outline",
    "PixelSize",
    "Progress",
    "SegmentClass",
    "SegmentOptions",
    "Slide",
    "Summary",
    "Tls",
    "Verification",
    "find_model",
    "open_slide",
    "segment",
    "verify",
    "write_geojson",
]

_HOMES = {
    "Box": "inference.grid.box",
    "ClassArea": "inference.mask.summary",
    "Cluster": "inference.engine.cluster.address",
    "Doubt": "inference.slides.doubt",
    "Level": "inference.slides.slide",
    "Mask": "inference.mask.mask",
    "MaskClass": "inference.mask.mask",
    "Model": "model.card",
    "ModelCard": "model.card",
    "Outline": "inference.mask.mask",
    "PixelSize": "inference.slides.slide",
    "Progress": "inference.progress",
    "SegmentClass": "model.card",
    "SegmentOptions": "inference.engine.options",
    "Slide": "inference.slides.slide",
    "Summary": "inference.mask.summary",
    "Tls": "inference.engine.cluster.address",
    "Verification": "inference.mask.verify",
    "find_model": "model.card",
    "open_slide": "inference.slides.open",
    "verify": "inference.mask.verify",
    "write_geojson": "inference.mask.geojson",
}
"""Where each name that is loaded on first use is defined, below ``wsi_segment``."""

if not TYPE_CHECKING:  # a type checker that saw it would accept every name
    __getattr__, __dir__ = lazy_names(__name__, _HOMES, __all__)


def segment(
    slide: str | Path,
    *,
    out: str | Path,
    model: str | Path | Model = "colorectal-biopsy",
    options: SegmentOptions | None = None,
    report: Report | None = None,
    stop: threading.Event | None = None,
    quiet: bool = False,
    scheduler: str | Cluster | None = None,
) -> Summary:
    """Segment one slide into an OME-Zarr mask.

    The same call continues a run that was cut off. Calls may run in several threads at once.

    >>> summary = segment("slide.tiff", out="segmented.zarr", model="colorectal-biopsy", quiet=True)
    >>> summary.mask_mpp, sum(area.percent_of_tissue for area in summary.classes) > 99.9
    (1.13, True)

    Args:
        slide: A slide file, a DICOM folder or one of its files, or an address such as ``https://…`` or ``s3://…``.
        out: The store to write, usually ``NAME.zarr``, or its address in an object store (``s3://…``); its parent is
            created where it is missing. Summaries as JSON and CSV are written beside it.
        model: Name of a bundled model, a model folder, or what :func:`find_model` returned.
        options: Every other choice; None for the defaults.
        report: Called with each :class:`Progress`, from any thread; None for a progress bar on a terminal or in a
            notebook.
        stop: Set it to end the run; finished regions are kept.
        quiet: Draw no progress bar.
        scheduler: Address of a Dask scheduler, such as ``tcp://host:8786``, or a :class:`Cluster` that is connected;
            its workers compute the regions. None for the threads of this process.

    Returns:
        Areas by class, and how the run went. :meth:`Mask.open` opens the mask.

    Raises:
        InputError: slide, model, output or options are at fault.
        RunError: the disk is full or fails, or the cluster is lost.
        Cancelled: ``stop`` was set.
    """
    from contextlib import nullcontext

    from wsi_segment.inference.engine.cluster.address import connected
    from wsi_segment.inference.engine.options import SegmentOptions
    from wsi_segment.inference.engine.segment import segment as run
    from wsi_segment.inference.progress import silent
    from wsi_segment.inference.progress_bar import shown
    from wsi_segment.inference.slides.location import output_location, slide_location
    from wsi_segment.model.card import Model, find_model

    location = slide_location(slide)
    found = model if isinstance(model, Model) else find_model(model)
    watched = shown(location.name) if report is None and not quiet else nullcontext(report or silent)
    with watched as watcher, connected(scheduler) as workers:
        return run(
            location,
            model=found,
            out=output_location(out),
            options=options or SegmentOptions(),
            report=watcher,
            stop=stop,
            scheduler=workers,
        )
