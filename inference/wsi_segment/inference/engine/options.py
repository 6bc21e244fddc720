"""The options of a segmentation."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from wsi_segment.errors import InputError
from wsi_segment.inference.engine.networks.network import Device, PrecisionChoice
from wsi_segment.inference.grid.region import REGION_SIZES
from wsi_segment.inference.mask.ngff import OmeZarrVersion
from wsi_segment.inference.slides.location import slide_location

TissueMethod = Literal["otsu", "none"] | Path
"""How tissue is found; a path is a GeoJSON file of outlines."""


DEFAULT_OVERLAP = 0.25
"""Overlap of windows if none is given; blocks do not overlap."""


@dataclass(frozen=True, slots=True)
class SegmentOptions:
    """How a slide is segmented.

    >>> SegmentOptions(overlap=0.5, probabilities=True).ome_zarr
    '0.5'
    """

    mpp: float | None = None
    """µm per level-0 pixel, in place of what the slide states."""
    image: int | None = None
    """Image of the file to segment, counted from 0 as ``info`` lists them; None for the slide."""
    window: int | None = None
    """Side of what the network is shown at once, mask pixels: the card's, or 512 or 1,024 for blocks of that size in
    their surroundings; None for the largest that the card states as checked, else for the card's."""
    overlap: float | None = None
    """Share of a window that its neighbour covers too; it means windows of the card's side, not blocks. None for 0.25
    where there are no blocks."""
    apply_icc: bool = False
    """Bring colours from the slide's ICC profile to sRGB; else the profile is only recorded."""
    tissue: TissueMethod = "otsu"
    """How tissue is found: ``otsu``, ``none`` to analyse everything, or a GeoJSON file of outlines, or its address."""
    region: Path | None = None
    """GeoJSON file of outlines beyond which nothing is analysed, or its address; to cells of tissue of about 16 µm."""
    device: Device = "auto"
    """Device that runs the network."""
    precision: PrecisionChoice = "auto"
    """Precision of the network; ``auto`` is what is fast on the device and processor, among the model's files."""
    batch_size: int = 16
    """Windows per network call."""
    workers: int = 0
    """Threads; 0 for one per core."""
    memory_limit: int | None = None
    """Bytes for the whole process; None for three quarters of what is free."""
    region_size: int | None = None
    """Side of a region in mask pixels, one of ``REGION_SIZES``; None to choose by the mask's size."""
    ome_zarr: OmeZarrVersion = "0.5"
    """0.5 is Zarr v3 with shards; 0.4 is Zarr v2, for QuPath, Bio-Formats and OMERO."""
    probabilities: bool = False
    """Keep the probability of each class too, as uint8."""
    overwrite: bool = False
    """Replace a finished output, or an unfinished one of another run."""
    strict: bool = False
    """Refuse a slide with any doubt, see :class:`wsi_segment.inference.slides.doubt.Doubt`, before its network runs."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise InputError(f"`batch_size` is {self.batch_size}; give 1 or more")
        if self.workers < 0:
            raise InputError(f"`workers` is {self.workers}; give 0 for one per core, or more")
        for name, choices in (("device", Device), ("precision", PrecisionChoice), ("ome_zarr", OmeZarrVersion)):
            *others, last = get_args(choices)
            if getattr(self, name) not in (*others, last):
                raise InputError(f"`{name}` is {getattr(self, name)!r}; give {', '.join(others)} or {last}")
        for name, words in (("tissue", ("otsu", "none")), ("region", ())):  # addresses, and paths as text
            if isinstance(value := getattr(self, name), str) and value not in words:
                object.__setattr__(self, name, slide_location(value))
        if self.region_size is not None and self.region_size not in REGION_SIZES:
            raise InputError(f"`region_size` is {self.region_size}; give one of {REGION_SIZES}")

    @property
    def threads(self) -> int:
        """Number of worker threads; as many as cores where none is given."""
        if self.workers:
            return self.workers
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1
