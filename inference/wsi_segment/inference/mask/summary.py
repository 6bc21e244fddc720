"""What came out: areas by class, for people and for programs."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from wsi_segment.inference.mask.ledger import FinishedRegion
from wsi_segment.inference.slides.doubt import Doubt
from wsi_segment.inference.slides.frame import MaskFrame
from wsi_segment.inference.slides.slide import PixelSize
from wsi_segment.model.card import ModelCard


@dataclass(frozen=True, slots=True)
class ClassArea:
    """The area of one class."""

    id: int
    name: str
    pixels: int
    area_mm2: float
    percent_of_tissue: float


@dataclass(frozen=True, slots=True)
class Summary:
    """The result of one slide."""

    slide: str
    out: str
    model: str
    mpp: float
    """µm per level-0 pixel."""
    mpp_source: str
    mask_mpp: float
    """µm per mask pixel."""
    width: int
    height: int
    """Of the mask."""
    tissue_mm2: float
    """What was analysed."""
    slide_mm2: float
    classes: tuple[ClassArea, ...]
    windows: int
    """Windows of all regions; those on a border count in each."""
    regions: int
    regions_kept: int
    """Regions taken over from an earlier run."""
    regions_skipped: int
    """Regions without tissue, of which no window was read."""
    finished: str
    """When, ISO 8601, UTC."""
    seconds: float
    """That this run took."""
    device: str
    warnings: tuple[Doubt, ...]
    """What a reader of the result should know, and what the provenance lists too."""
    provenance: dict[str, Any]


def class_areas(
    finished: Iterable[FinishedRegion], card: ModelCard, size: PixelSize, frame: MaskFrame
) -> tuple[ClassArea, ...]:
    """Areas of all classes in card order, from the counts of the regions."""
    counts = [0] * (len(card.classes) + 1)
    for region in finished:
        counts = [a + b for a, b in zip(counts, region.pixels, strict=True)]
    mm2 = size.x * size.y * frame.downsample**2 / 1e6
    tissue = sum(counts[1:])
    return tuple(
        ClassArea(
            id=class_id,
            name=entry.name,
            pixels=counts[class_id],
            area_mm2=round(counts[class_id] * mm2, 6),
            percent_of_tissue=round(100 * counts[class_id] / tissue, 3) if tissue else 0.0,
        )
        for class_id, entry in enumerate(card.classes, start=1)
    )


def summary_json(summary: Summary) -> str:
    """The whole summary as JSON."""
    return json.dumps(asdict(summary), indent=2) + "\n"


def write_summary(summary: Summary, out: Path) -> tuple[Path, Path]:
    """``<name>.summary.json`` and ``<name>.summary.csv`` beside the store."""
    stem = out.name.removesuffix(".zarr")
    as_json, as_csv = out.with_name(f"{stem}.summary.json"), out.with_name(f"{stem}.summary.csv")
    with _replacing(as_json) as file:
        file.write(summary_json(summary))
    with _replacing(as_csv) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["slide", "class_id", "class", "pixels", "area_mm2", "percent_of_tissue"])
        for row in summary.classes:
            writer.writerow([summary.slide, row.id, row.name, row.pixels, row.area_mm2, row.percent_of_tissue])
    return as_json, as_csv


@contextmanager
def _replacing(path: Path) -> Iterator[IO[str]]:
    """A file that takes its name when it is complete and on the disk."""
    beside = path.with_name(f"{path.name}.partial")
    with beside.open("w", newline="", encoding="utf-8") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
