"""What came out: areas by class, for people and for programs."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wsi_segment.inference.mask.ledger import FinishedRegion
from wsi_segment.inference.places.sites import writing
from wsi_segment.inference.slides.doubt import Doubt
from wsi_segment.inference.slides.slide import PixelSize

_SUFFIX = ".zarr"


@dataclass(frozen=True, slots=True)
class ClassArea:
    """The area of one class.

    >>> from wsi_segment.inference import Mask
    >>> round(sum(area.percent_of_tissue for area in Mask.open("mask.zarr").areas()))
    100
    """

    id: int
    """Value of the class in the mask, from 1."""
    name: str
    """Name on the model's card."""
    pixels: int
    """Mask pixels of the class."""
    area_mm2: float
    """Their area in mm², to six decimals."""
    percent_of_tissue: float
    """Their share of all that was analysed, in percent, to three decimals."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The result of one slide; ``NAME.summary.json`` beside a mask holds the same.

    >>> from wsi_segment.inference import segment
    >>> summary = segment("slide.tiff", out="summed.zarr", quiet=True)
    >>> summary.width, summary.height, summary.mpp
    (531, 531, 1.0)
    """

    slide: str
    """Path or address of the slide."""
    out: str
    """Path of the mask."""
    model: str
    """Name and version of the model."""
    mpp: float
    """µm per level-0 pixel."""
    mpp_source: str
    """Source of the pixel size: a tag of the file, or ``given by the user``."""
    mask_mpp: float
    """µm per mask pixel."""
    width: int
    """Columns of the mask."""
    height: int
    """Rows of the mask."""
    tissue_mm2: float
    """Area that was analysed, in mm²."""
    slide_mm2: float
    """Area of the part of the slide that was scanned."""
    classes: tuple[ClassArea, ...]
    """One per class of the model, in the order of ids."""
    windows: int
    """Windows of all regions; those on a border count in each."""
    regions: int
    """Regions of the mask, those without tissue included."""
    regions_kept: int
    """Regions taken over from an earlier run."""
    regions_skipped: int
    """Regions without tissue, of which no window was read."""
    finished: str
    """Time at which the run ended, ISO 8601, UTC."""
    seconds: float
    """Seconds that this run took."""
    device: str
    """Execution provider of onnxruntime."""
    precision: str
    """Precision of the network: fp32, bf16, fp16 or int8."""
    warnings: tuple[Doubt, ...]
    """Doubts that a reader of the result should know; the provenance lists them too."""
    provenance: dict[str, Any]
    """Model, slide, mask, parameters and versions, as the mask holds them."""


def class_areas(
    pixels: Sequence[int], names: Sequence[str], size: PixelSize, downsample: float
) -> tuple[ClassArea, ...]:
    """Return the areas of all classes but "not analysed".

    Args:
        pixels: Mask pixels of class 0, 1, ..., C.
        names: Of class 1, ..., C.
        size: Of the slide's level-0 pixels.
        downsample: Level-0 pixels per mask pixel, along one axis.
    """
    mm2 = size.x * size.y * downsample**2 / 1e6
    tissue = sum(pixels[1:])
    return tuple(
        ClassArea(
            id=class_id,
            name=name,
            pixels=pixels[class_id],
            area_mm2=round(pixels[class_id] * mm2, 6),
            percent_of_tissue=round(100 * pixels[class_id] / tissue, 3) if tissue else 0.0,
        )
        for class_id, name in enumerate(names, start=1)
    )


def pixels_per_class(finished: Iterable[FinishedRegion], classes: int) -> list[int]:
    """Return the mask pixels of class 0, 1, ..., C of some regions together, for C classes."""
    counts = [0] * (classes + 1)
    for region in finished:
        counts = [a + b for a, b in zip(counts, region.pixels, strict=True)]
    return counts


def summary_json(summary: Summary) -> str:
    """Return the whole summary as JSON."""
    return json.dumps(asdict(summary), indent=2) + "\n"


def is_store_name(name: str) -> bool:
    """Return whether a name is one of a mask: it ends in ``.zarr``, however that is spelt."""
    return name.lower().endswith(_SUFFIX)


def store_stem(name: str) -> str:
    """Return the name of a mask without its suffix; other files of it begin with that.

    >>> store_stem("a.zarr"), store_stem("A.OME.ZARR"), store_stem("b")
    ('a', 'A.OME', 'b')
    """
    return name[: -len(_SUFFIX)] if is_store_name(name) else name


def summary_paths(out: Path) -> tuple[Path, Path]:
    """Return ``<name>.summary.json`` and ``<name>.summary.csv`` beside a store."""
    stem = store_stem(out.name)
    return out.with_name(f"{stem}.summary.json"), out.with_name(f"{stem}.summary.csv")


def write_summary(summary: Summary, out: Path) -> tuple[Path, Path]:
    """Write a summary beside its store, see :func:`summary_paths`."""
    as_json, as_csv = summary_paths(out)
    with writing(as_json, text=True) as file:
        file.write(summary_json(summary))
    with writing(as_csv, text=True) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["slide", "class_id", "class", "pixels", "area_mm2", "percent_of_tissue"])
        for row in summary.classes:
            writer.writerow([summary.slide, row.id, row.name, row.pixels, row.area_mm2, row.percent_of_tissue])
    return as_json, as_csv
