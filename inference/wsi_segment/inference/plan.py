"""The plan of a run: its regions, and what they cost, before the first pixel is read."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import psutil
from wsi_segment.inference.box import Box
from wsi_segment.inference.frame import MaskFrame
from wsi_segment.inference.lattice import Lattice
from wsi_segment.inference.run import Run
from wsi_segment.inference.tissue import TissueMask
from wsi_segment.model.card import ModelCard
from wsi_segment.model.errors import InputError

REGION_SIZES = (4096, 2048, 1024, 512)
FEWEST_REGIONS = 16
"""A slide is divided into at least so many regions where it can be, so that many cores share a small slide. The
number of cores has no say: the same slide gives the same store on every machine."""

_BASE_BYTES = 400 << 20
"""Interpreter, libraries and network."""
_WINDOW_BYTES = 6 << 20
"""Activations of one window inside onnxruntime, its pixels and its logits."""
_BAND_SOURCE_PIXELS = 8 << 20
"""Level pixels that are read at once."""


@dataclass(frozen=True, slots=True)
class Region:
    """The unit of work, of writing and of resuming: whole shards of the mask."""

    row: int
    column: int
    m_box: Box
    windows: int
    """Windows with tissue that touch it; 0 for a region that is never read."""

    @property
    def key(self) -> str:
        """Name in the ledger."""
        return f"{self.row},{self.column}"


@dataclass(frozen=True, slots=True)
class Plan:
    """All regions of a mask, and the resources that computing them takes."""

    regions: tuple[Region, ...]
    region_size: int
    band_rows: int
    """Window rows whose pixels are read together."""
    workers: int
    bytes_per_worker: int

    @property
    def windows(self) -> int:
        """Windows in all; those on a border count in each region."""
        return sum(region.windows for region in self.regions)

    @property
    def peak_bytes(self) -> int:
        """Estimate of the largest memory that the run holds."""
        return _BASE_BYTES + self.workers * self.bytes_per_worker


def region_size_for(width: int, height: int) -> int:
    """Side of a region for a mask of that size."""
    for size in REGION_SIZES:
        if math.ceil(width / size) * math.ceil(height / size) >= FEWEST_REGIONS:
            return size
    return REGION_SIZES[-1]


def make_plan(frame: MaskFrame, lattice: Lattice, tissue: TissueMask, card: ModelCard, run: Run) -> Plan:
    """Divide a mask into regions and add up what they take.

    Where memory is short, fewer workers are used than the run asks for.

    Raises:
        InputError: even one worker does not fit.
    """
    size = run.region_size or region_size_for(frame.width, frame.height)
    band_width = min(size, frame.width) + 2 * lattice.window
    band_rows = max(1, int(_BAND_SOURCE_PIXELS / (frame.ratio**2 * band_width * lattice.stride)))
    band_height = min(size + 2 * lattice.window, (band_rows - 1) * lattice.stride + lattice.window)
    source = math.ceil(band_width * frame.ratio) * math.ceil(band_height * frame.ratio) * 7
    cells = math.ceil(size / card.output_stride) ** 2
    # sums, weights and averages on the output grid; ids, tissue and the pyramid and its encoding at full size
    stitched = cells * (8 * len(card.classes) + 16) + 5 * size * size
    if run.probabilities:
        # one class at full size as float32 twice, as uint8 and encoded
        stitched += 11 * size * size
    per_worker = source + band_width * band_height * 3 + stitched + run.batch_size * _WINDOW_BYTES
    limit = int(psutil.virtual_memory().available * 0.75) if run.memory_limit is None else run.memory_limit
    fitting = (limit - _BASE_BYTES) // per_worker
    if fitting < 1:
        raise InputError(
            f"a run of one worker takes about {(_BASE_BYTES + per_worker) >> 20} MiB, {limit >> 20} MiB are allowed; "
            "raise --memory-limit or lower --batch-size"
        )
    return Plan(
        regions=tuple(_regions(frame, lattice, tissue, size)),
        region_size=size,
        band_rows=band_rows,
        workers=min(run.threads, fitting),
        bytes_per_worker=per_worker,
    )


def _regions(frame: MaskFrame, lattice: Lattice, tissue: TissueMask, size: int) -> list[Region]:
    found = []
    for row, y in enumerate(range(0, frame.height, size)):
        for column, x in enumerate(range(0, frame.width, size)):
            m_box = Box(x, y, x + size, y + size).intersect(frame.box)
            tops, lefts = lattice.corners(*lattice.touching(m_box))
            windows = int(np.count_nonzero(tissue.windows_with_tissue(tops, lefts, lattice.window)))
            # a window may hold tissue beyond the region only; then the region itself has nothing to show
            windows = windows if tissue.pixels(m_box).any() else 0
            found.append(Region(row, column, m_box, windows))
    return found
