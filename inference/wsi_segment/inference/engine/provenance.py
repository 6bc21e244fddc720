"""What a mask was made from: fingerprints, versions and parameters, but neither times nor names of files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import openslide

from wsi_segment.errors import InputError
from wsi_segment.inference.engine.applicability.slide_likeness import Applicability
from wsi_segment.inference.engine.kinds.smooth import decision_of
from wsi_segment.inference.engine.networks.network import NetworkFacts
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.tissue import TissueMask
from wsi_segment.inference.engine.windows import settle_sides
from wsi_segment.inference.grid.lattice import BLOCK_STEP, Lattice
from wsi_segment.inference.slides.doubt import Doubt
from wsi_segment.inference.slides.frame import MaskFrame
from wsi_segment.inference.slides.geojson_features import naming, read_packed
from wsi_segment.inference.slides.slide import PixelSize, Slide
from wsi_segment.model.card import MODEL_FILE, Model, ModelCard


def make_provenance(
    *,
    fingerprint: str,
    slide: Slide,
    size: PixelSize,
    frame: MaskFrame,
    tissue: TissueMask,
    lattice: Lattice,
    model: Model,
    options: SegmentOptions,
    network: NetworkFacts | None,
    region_size: int,
    doubts: Sequence[Doubt],
) -> dict[str, Any]:
    """Return the record, as JSON, that goes into the store and that a continued run must repeat.

    ``network`` is None where one was given in place of the model's.

    Raises:
        InputError: a file of outlines cannot be read.
    """
    card, file = model.card, MODEL_FILE if network is None else network.file
    return {
        "model": {
            "name": card.name,
            "version": card.version,
            "sha256": card.files[file],
            "card": card_digest(card, file),
        },
        "slide": {
            "fingerprint": fingerprint,
            "reader": slide.reader,
            "icc_profile": None if slide.icc_profile is None else hashlib.sha256(slide.icc_profile).hexdigest(),
            "mpp_x": size.x,
            "mpp_y": size.y,
            "mpp_source": size.source,
            "level": frame.level,
            **_scaled_decoding(slide, frame, tissue),
            "bounds": [slide.bounds.x0, slide.bounds.y0, slide.bounds.x1, slide.bounds.y1],
            **({} if options.image is None else {"image": options.image}),
        },
        "mask": {
            "downsample": frame.downsample,
            "origin": [frame.s_x0, frame.s_y0],
            "width": frame.width,
            "height": frame.height,
            "classes": [entry.name for entry in card.classes],
        },
        "parameters": {
            **_lattice(lattice, card, options),
            **decision_of(card),
            "tissue": options.tissue if isinstance(options.tissue, str) else outlines_digest(options.tissue, "tissue"),
            "region": None if options.region is None else outlines_digest(options.region, "region"),
            "region_size": region_size,
            "apply_icc": options.apply_icc,
            "ome_zarr": options.ome_zarr,
            "probabilities": options.probabilities,
            "provider": "given network" if network is None else network.provider,
            "precision": card.precision if network is None else network.precision,
        },
        "versions": versions() | ({} if network is None else network.versions),
        "warnings": [asdict(doubt) for doubt in doubts],
    }


def outlines_digest(path: Path, field: str) -> str:
    """Return by what a file of outlines is recorded.

    Raises:
        InputError: it cannot be read; ``field`` is what it was given as.
    """
    try:
        with naming(path):
            return f"geojson {hashlib.sha256(read_packed(path)).hexdigest()}"
    except InputError as error:
        raise InputError(f"`{field}` {error}") from error


def add_likeness(provenance: dict[str, Any], likeness: Applicability, downsample: float) -> dict[str, Any]:
    """Return the record with what the slide looks like, which follows from the rest and tells no run from another.

    Args:
        provenance: See :func:`make_provenance`.
        likeness: Of the slide to the training images.
        downsample: Level-0 pixels per mask pixel.
    """
    last = {
        "versions": provenance["versions"],
        "warnings": provenance["warnings"] + [asdict(doubt) for doubt in likeness.doubts()],
    }
    first = {key: value for key, value in provenance.items() if key not in last}
    return first | {"applicability": likeness.as_dict(downsample)} | last


def _scaled_decoding(slide: Slide, frame: MaskFrame, tissue: TissueMask) -> dict[str, Any]:
    """Say what was decoded at a smaller scale than it is stored at, and by how much; nothing for most slides."""
    levels = {"mask": frame.level, "tissue": frame.coarser(slide, tissue.cell).level}
    scales = {use: slide.levels[level].scale for use, level in levels.items() if slide.levels[level].scale > 1}
    return {"decoded_at": {use: f"1/{scale}" for use, scale in scales.items()}} if scales else {}


def _lattice(lattice: Lattice, card: ModelCard, options: SegmentOptions) -> dict[str, Any]:
    """Return what tells the lattice; that of windows as it has always been."""
    sides = {"stride": lattice.stride, "window": lattice.window}
    if lattice.blocks:
        return sides | {"blocks": {"margin": lattice.margin, "step": BLOCK_STEP, "beyond": "mirrored"}}
    return {"overlap": settle_sides(card, options.window, options.overlap).overlap} | sides


def versions() -> dict[str, str]:
    """Return the versions of everything that bears on pixels."""
    libraries = ("wsi-segment", "numpy", "zarr", "tifffile", "imagecodecs", "pillow", "rasterio")
    return {name: version(name) for name in libraries} | {
        "onnxruntime": _onnxruntime_version(),
        "openslide": openslide.__library_version__,
    }


def _onnxruntime_version() -> str:
    """Return the version of the one build that is installed; who only feeds a cluster need not load it, 18 MiB."""
    found = []
    for name in ("onnxruntime-gpu", "onnxruntime"):
        with suppress(PackageNotFoundError):
            found.append(version(name))
    if len(found) == 1:
        return found[0]
    import onnxruntime

    return str(onnxruntime.__version__)


def card_digest(card: ModelCard, file: str) -> str:
    """Hash every field of a card that bears on pixels with sha256; of its files, the one that is run."""
    # None is left out, so that cards without the fields of later versions keep their sum
    origin = {"attribution", "training_data", "started_from", "averaged_with"}
    prose = {"description", "limitations", "applicability"} | origin
    one = card.model_copy(update={"files": {file: card.files[file]}})
    fields = one.model_dump_json(exclude=prose | {"metrics", "variants"}, exclude_none=True)
    return hashlib.sha256(fields.encode()).hexdigest()
