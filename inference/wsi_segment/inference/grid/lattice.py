"""The one lattice of windows that a whole mask is computed on.

A window is read whole, and the network gives its core: all of it but a margin on each side, which is 0 for networks
that pad their input. The core of window (row, column) starts at mask pixel ``stride * row``, likewise in x. Regions
take the windows whose cores touch them, so what a pixel is made of does not depend on how the mask was divided::

                 |<--- chunk --->|<--- chunk --->|
                 |<----------- region ---------->|
    windows  |<---- 1 ---->|     .               |
             .      |<---- 2 ---->|              |
             .      .      |<---- 3 ---->|       |
             .      .      .      |<---- 4 ---->|
             .      .      .      .      |<---- 5 ---->|
             |<---->|                            |<--->|
              stride                              halo: what windows of the region need beyond it

    one window   |<-->|<------- core ------->|<-->|
                 margin                      margin: seen by the network, nothing given for it

Neighbouring windows lie a stride apart and share the rest of their cores, where their predictions are averaged.

A block is a window for networks that are convolutions all through. Its core is several patches wide, regions are whole
cores, which lie side by side, and its margin holds the core's real surroundings, so that nothing is averaged and no
pixel is given twice::

    blocks   |<-->|<------- core ------->|<-->|
             margin                  |<-->|<------- core ------->|<-->|
                                     margin    shared pixels are seen twice, and given once

Of a block only boxes around its tissue are computed, in steps of :data:`BLOCK_STEP`. What is averaged over a
neighbourhood is taken from the box and its margin alone, which is as wide as the halo of the average or wider. Of
windows that are averaged themselves, a region takes those that touch its halo too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsi_segment.errors import InputError
from wsi_segment.inference.grid.box import Box, ceil_div

BLOCK_SIDES = (1024, 512)
"""Sides that the core of a block can have, mask pixels; regions are whole blocks."""
BLOCK_MARGIN = 64
"""Real surroundings of a block on each side, mask pixels."""
BLOCK_STEP = 32
"""Blocks are cropped in steps of it, mask pixels: the deepest stride of the networks that are common here."""


@dataclass(frozen=True, slots=True)
class Lattice:
    """Windows over a mask of ``width`` x ``height``; margins and the last windows may reach over its edge."""

    width: int
    height: int
    window: int
    """Side of a window, pixels."""
    stride: int
    """Distance of neighbouring windows, pixels."""
    margin: int = 0
    """Pixels on each side of a window that the network sees and nothing is taken of."""
    halo: int = 0
    """Pixels around a region whose windows are computed too, since its kinds are averaged with theirs; of blocks 0."""
    blocks: bool = False
    """Whether windows are blocks: cropped to their tissue, and with mirrored pixels beyond the mask, not white."""

    def __post_init__(self) -> None:
        if not 0 < self.stride <= self.core:
            raise ValueError(f"stride {self.stride} must be between 1 and the window's core of {self.core}")

    @property
    def core(self) -> int:
        """Side of the part of a window that the network gives classes for, pixels."""
        return self.window - 2 * self.margin

    @property
    def rows(self) -> int:
        """Number of window rows; every mask pixel lies in at least one."""
        return self._count(self.height)

    @property
    def columns(self) -> int:
        """Number of window columns."""
        return self._count(self.width)

    def core_box(self, row: int, column: int) -> Box:
        """Return the pixels of a window that classes are given for, in the mask's frame."""
        x0, y0 = column * self.stride, row * self.stride
        return Box(x0, y0, x0 + self.core, y0 + self.core)

    def box(self, row: int, column: int) -> Box:
        """Return the pixels of a window, in the mask's frame.

        >>> Lattice(width=600, height=600, window=128, stride=96).box(1, 2)
        Box(x0=192, y0=96, x1=320, y1=224)
        """
        return self.core_box(row, column).grown(self.margin)

    def touching(self, m_box: Box) -> tuple[range, range]:
        """Return rows and columns of the windows whose cores share a pixel with a box."""
        return self._touching(m_box.y0, m_box.y1, self.rows), self._touching(m_box.x0, m_box.x1, self.columns)

    def corners(self, rows: range, columns: range) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the first pixel row of each row of cores and first pixel column of each column of cores."""
        return np.asarray(rows, np.int64) * self.stride, np.asarray(columns, np.int64) * self.stride

    def _count(self, extent: int) -> int:
        return max(0, ceil_div(extent - self.core, self.stride)) + 1

    def _touching(self, start: int, stop: int, count: int) -> range:
        first = max(0, (start - self.core) // self.stride + 1)
        last = min(count, ceil_div(stop, self.stride))
        return range(first, last)


def stride_of(overlap: float, window: int, output_stride: int) -> int:
    """Return the distance of windows for an overlap, rounded to whole output cells.

    >>> stride_of(0.25, window=128, output_stride=8)
    96

    Args:
        overlap: Share of a window's core that its neighbour's core covers too, 0 up to 0.9.
        window: Side of a window's core, pixels.
        output_stride: Pixels per output cell; windows must start on a cell.

    Raises:
        InputError: the overlap is out of range.
    """
    if not 0 <= overlap <= 0.9:
        raise InputError(f"`overlap` {overlap} is out of range; give a share between 0 and 0.9")
    return max(output_stride, round(window * (1 - overlap) / output_stride) * output_stride)
