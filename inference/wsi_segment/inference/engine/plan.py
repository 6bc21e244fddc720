"""The plan of a run: what it costs, and its regions, before the first pixel is read."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import numpy as np

from wsi_segment.errors import InputError
from wsi_segment.inference.engine.memory import default_limit
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.tissue import TISSUE_BYTES, TissueMask
from wsi_segment.inference.grid.box import Box, ceil_div
from wsi_segment.inference.grid.lattice import Lattice
from wsi_segment.inference.grid.region import REGION_SIZES, Region
from wsi_segment.inference.slides.frame import MaskFrame
from wsi_segment.model.card import WINDOW, ModelCard

_log = logging.getLogger(__name__)

FEWEST_REGIONS = 16
"""A slide is divided into at least so many regions where it can be, so that many cores share a small slide. The
number of cores has no say, as long as there is memory for all of them: the same slide gives the same store then."""

_BASE_BYTES = 300 << 20
"""Interpreter, libraries and network."""
_WINDOW_BYTES = 6 << 20
"""Activations of a window of 128 px inside onnxruntime, its pixels and its logits; more in proportion to its area."""
_BAND_SOURCE_PIXELS = 4 << 20
"""Level pixels that are read at once; also what a Ctrl-C may have to wait for."""
_SOURCE_BYTES = 8
"""RGBA and RGB of a level pixel, and a strip that is being interpolated."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How a mask is divided, and the memory that this takes."""

    region_size: int
    band_rows: int
    """Window rows whose pixels are read together."""
    workers: int
    bytes_per_worker: int

    @property
    def peak_bytes(self) -> int:
        """Estimate of the largest memory that the run holds."""
        return _BASE_BYTES + TISSUE_BYTES + self.workers * self.bytes_per_worker


@dataclass(frozen=True, slots=True)
class Plan:
    """All regions of a mask, within a budget."""

    regions: tuple[Region, ...]
    budget: Budget

    @property
    def windows(self) -> int:
        """Windows in all; those on a border count in each region."""
        return sum(region.windows for region in self.regions)


def region_size_for(width: int, height: int) -> int:
    """Choose the side of a region for a mask of that size."""
    for size in REGION_SIZES:
        if math.ceil(width / size) * math.ceil(height / size) >= FEWEST_REGIONS:
            return size
    return REGION_SIZES[-1]


def make_budget(frame: MaskFrame, lattice: Lattice, card: ModelCard, options: SegmentOptions) -> Budget:
    """Add up what a run takes.

    Where memory is short, regions become smaller first, and then workers fewer.

    Raises:
        InputError: even one worker on the smallest regions does not fit.
    """
    limit = default_limit() if options.memory_limit is None else options.memory_limit
    largest = options.region_size or region_size_for(frame.width, frame.height)
    sizes = [largest] if options.region_size else [size for size in REGION_SIZES if size <= largest]
    budgets = [
        _budget_for(size, workers=options.threads, frame=frame, lattice=lattice, card=card, options=options)
        for size in sizes
    ]
    for budget in budgets:
        if budget.peak_bytes <= limit:
            return budget
    smallest = budgets[-1]
    workers = (limit - _BASE_BYTES - TISSUE_BYTES) // smallest.bytes_per_worker
    if workers < 1:
        least = _BASE_BYTES + TISSUE_BYTES + smallest.bytes_per_worker
        raise InputError(
            f"a run of one worker takes about {least >> 20} MiB, {limit >> 20} MiB are allowed; "
            "raise `memory_limit` or lower `batch_size`"
        )
    return Budget(smallest.region_size, smallest.band_rows, workers, smallest.bytes_per_worker)


def make_plan(frame: MaskFrame, lattice: Lattice, tissue: TissueMask, budget: Budget) -> Plan:
    """Divide a mask into regions and count the windows of each."""
    size, found = budget.region_size, []
    for row, y in enumerate(range(0, frame.height, size)):
        for column, x in enumerate(range(0, frame.width, size)):
            m_box = Box(x, y, x + size, y + size).intersect(frame.box)
            tops, lefts = lattice.corners(*lattice.touching(m_box))
            windows = int(np.count_nonzero(tissue.windows_with_tissue(tops, lefts, lattice.core)))
            # a window may hold tissue beyond the region only; then the region itself has nothing to show
            found.append(Region(row, column, m_box, windows if tissue.touches(m_box) else 0))
    return Plan(tuple(found), budget)


def _budget_for(
    size: int, *, workers: int, frame: MaskFrame, lattice: Lattice, card: ModelCard, options: SegmentOptions
) -> Budget:
    """Add up, buffer by buffer, what one worker holds at most while it computes a region of ``size`` mask pixels."""
    band_width = min(size, frame.width) + 2 * lattice.window
    band_rows = max(1, int(_BAND_SOURCE_PIXELS / (frame.ratio**2 * band_width * lattice.stride)))
    band_height = min(size + 2 * lattice.window, (band_rows - 1) * lattice.stride + lattice.window)
    # a region may begin and end within a cell where the stride does not divide it
    cells = (ceil_div(size, card.output_stride) + (size % card.output_stride > 0)) ** 2
    classes, pixels = len(card.classes), size * size
    bytes_of = {
        "level pixels of a band": math.ceil(band_width * frame.ratio)
        * math.ceil(band_height * frame.ratio)
        * _SOURCE_BYTES,
        "band": band_width * band_height * 3,
        "sums and averages": cells * classes * 8,
        "weights, ids and borders of cells": cells * 16,
        "ids, tissue, the pyramid and its encoding at full size": 8 * pixels,
        # one class at full size as float32 three times, as uint8, halved and encoded
        "probabilities": 16 * pixels if options.probabilities else 0,
        "batch": options.batch_size * math.ceil(_WINDOW_BYTES * (lattice.window / WINDOW) ** 2),
    }
    _log.debug("a region of %d px takes %s", size, {name: f"{count >> 10} KiB" for name, count in bytes_of.items()})
    return Budget(size, band_rows, workers, sum(bytes_of.values()))
