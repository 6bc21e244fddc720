"""The plan of a run: its regions and their windows, before the first pixel is read."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from wsi_segment.inference.engine.memory import Budget
from wsi_segment.inference.engine.tissue import TissueMask
from wsi_segment.inference.engine.windows import count_windows
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.grid.lattice import Lattice
from wsi_segment.inference.grid.region import Region
from wsi_segment.inference.slides.frame import MaskFrame


@dataclass(frozen=True, slots=True)
class Plan:
    """All regions of a mask, within a budget."""

    regions: tuple[Region, ...]
    budget: Budget

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the windows of each region alone: where regions lie follows from their size and the last one."""
        windows = np.array([region.windows for region in self.regions], np.int64)
        m_last = self.regions[-1].m_box
        return _unpacked, (zlib.compress(windows.tobytes(), 1), m_last.x1, m_last.y1, self.budget)

    @property
    def windows(self) -> int:
        """Windows in all; those on a border count in each region, and blocks as the patches that they are worth."""
        return sum(region.windows for region in self.regions)


def make_plan(frame: MaskFrame, lattice: Lattice, tissue: TissueMask, budget: Budget) -> Plan:
    """Divide a mask into regions and count the windows of each."""
    found = []
    for row, column, m_box in places(frame.width, frame.height, budget.region_size):
        windows = count_windows(lattice, tissue, m_box)
        # a window may hold tissue beyond the region only; then the region itself has nothing to show
        found.append(Region(row, column, m_box, windows if tissue.touches(m_box) else 0))
    return Plan(tuple(found), budget)


def places(width: int, height: int, size: int) -> Iterator[tuple[int, int, Box]]:
    """Yield row, column and pixels of each region of a mask, row by row."""
    across = [(column, x, min(x + size, width)) for column, x in enumerate(range(0, width, size))]
    for row, y in enumerate(range(0, height, size)):
        y1 = min(y + size, height)
        for column, x, x1 in across:  # numbers that all boxes share: of 100,000 each would be an object of its own
            yield row, column, Box(x, y, x1, y1)


def _unpacked(packed: bytes, width: int, height: int, budget: Budget) -> Plan:
    counts = np.frombuffer(zlib.decompress(packed), np.int64).tolist()
    where = places(width, height, budget.region_size)
    return Plan(tuple(Region(*place, windows) for place, windows in zip(where, counts, strict=True)), budget)
