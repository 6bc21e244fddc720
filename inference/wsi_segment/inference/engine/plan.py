"""The plan of a run: its regions and their windows, before the first pixel is read."""

from __future__ import annotations

from dataclasses import dataclass

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

    @property
    def windows(self) -> int:
        """Windows in all; those on a border count in each region, and blocks as the patches that they are worth."""
        return sum(region.windows for region in self.regions)


def make_plan(frame: MaskFrame, lattice: Lattice, tissue: TissueMask, budget: Budget) -> Plan:
    """Divide a mask into regions and count the windows of each."""
    size, found = budget.region_size, []
    for row, y in enumerate(range(0, frame.height, size)):
        for column, x in enumerate(range(0, frame.width, size)):
            m_box = Box(x, y, x + size, y + size).intersect(frame.box)
            windows = count_windows(lattice, tissue, m_box)
            # a window may hold tissue beyond the region only; then the region itself has nothing to show
            found.append(Region(row, column, m_box, windows if tissue.touches(m_box) else 0))
    return Plan(tuple(found), budget)
