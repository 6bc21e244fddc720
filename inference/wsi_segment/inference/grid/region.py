"""Regions: how a mask is divided into units of work."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from wsi_segment.inference.grid.box import Box, ceil_div

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


class Regions(Sequence[Region]):
    """Regions of one mask, each made as it is asked for, since there may be 100,000; the mask's own are row by row.

    >>> regions = Regions(1000, 600, 512, windows=np.array([0, 7, 5, 9]))
    >>> regions[1]
    Region(row=0, column=1, m_box=Box(x0=512, y0=0, x1=1000, y1=512), windows=7)
    >>> [region.key for region in regions.without({"0,0"}).fullest_first()]
    ['1,1', '0,1', '1,0']

    Memory bound:
        8 bytes for each region of the mask, and 8 for each of the sequence.
    """

    def __init__(
        self, width: int, height: int, size: int, windows: NDArray[np.int64], numbers: NDArray[np.int64] | None = None
    ) -> None:
        """Take regions of a mask.

        Args:
            width: Of the mask, in pixels.
            height: Of the mask, in pixels.
            size: Side of a region in mask pixels.
            windows: Those of each region of the mask, row by row.
            numbers: Which regions, counted row by row; None for all in this order.
        """
        self.width, self.height, self.size, self.windows = width, height, size, windows
        self.numbers = np.arange(len(windows)) if numbers is None else numbers
        """Which regions of the mask these are, counted row by row."""

    def without(self, keys: Container[str]) -> Regions:
        """Return those whose keys are not among some, in the same order."""
        others = (number for number in self.numbers if self._numbered(number).key not in keys)
        return self._chosen(np.fromiter(others, np.int64))

    def fullest_first(self) -> Regions:
        """Return the same, those with most windows first."""
        return self._chosen(self.numbers[np.argsort(-self.windows[self.numbers], kind="stable")])

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> Region: ...

    @overload
    def __getitem__(self, index: slice) -> Regions: ...

    def __getitem__(self, index: int | slice) -> Region | Regions:
        if isinstance(index, slice):
            return self._chosen(self.numbers[index])
        return self._numbered(self.numbers[index])

    def _chosen(self, numbers: NDArray[np.int64]) -> Regions:
        return Regions(self.width, self.height, self.size, windows=self.windows, numbers=numbers)

    def _numbered(self, number: np.int64) -> Region:
        row, column = divmod(int(number), ceil_div(self.width, self.size))
        x, y = column * self.size, row * self.size
        m_box = Box(x, y, min(x + self.size, self.width), min(y + self.size, self.height))
        return Region(row, column, m_box, int(self.windows[number]))
