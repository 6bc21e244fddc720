"""Regions: how a mask is divided into units of work."""

from __future__ import annotations

from dataclasses import dataclass

from wsi_segment.inference.grid.box import Box

CHUNK = 512
"""Side of a Zarr chunk in mask pixels; regions and shards are whole chunks."""

REGION_SIZES = (4096, 2048, 1024, 512)
"""Sides that a region can have: a power of two of chunks, so that its coarser levels are whole chunks too."""


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
