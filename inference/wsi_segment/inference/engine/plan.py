"""The plan of a run: its regions and their windows, before the first pixel is read."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from wsi_segment.inference.engine.memory import Budget
from wsi_segment.inference.engine.tissue import TissueMask
from wsi_segment.inference.engine.windows import count_windows
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.grid.lattice import Lattice
from wsi_segment.inference.grid.region import Regions
from wsi_segment.inference.slides.frame import MaskFrame


@dataclass(frozen=True, slots=True)
class Plan:
    """All regions of a mask, within a budget."""

    regions: Regions
    budget: Budget

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the windows of each region, of which most are alike, in few bytes."""
        regions = self.regions
        return _unpacked, (zlib.compress(regions.windows.tobytes(), 1), regions.width, regions.height, self.budget)

    @property
    def windows(self) -> int:
        """Windows in all; those on a border count in each region, and blocks as the patches that they are worth."""
        return int(self.regions.windows.sum())


def make_plan(frame: MaskFrame, lattice: Lattice, tissue: TissueMask, budget: Budget) -> Plan:
    """Divide a mask into regions and count the windows of each."""

    def windows(m_box: Box) -> int:
        # a window may hold tissue beyond the region only; then the region itself has nothing to show
        return count_windows(lattice, tissue, m_box) if tissue.touches(m_box) else 0

    counts = np.fromiter(map(windows, Box(0, 0, frame.width, frame.height).tiles(budget.region_size)), np.int64)
    return Plan(Regions(frame.width, frame.height, budget.region_size, windows=counts), budget)


def _unpacked(packed: bytes, width: int, height: int, budget: Budget) -> Plan:
    counts = np.frombuffer(zlib.decompress(packed), np.int64)
    return Plan(Regions(width, height, budget.region_size, windows=counts), budget)
