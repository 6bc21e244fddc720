"""From overlapping window predictions to class ids.

Probabilities are averaged with a Hann weight on the network's own output grid, one cell per output stride;
only the class ids are brought to full size.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from wsi_segment.errors import ModelError
from wsi_segment.inference.engine.kinds.decision import Upsampling, class_of, edge_cells, enlarge, refine_borders
from wsi_segment.inference.grid.box import Box, ceil_div


def softmax(logits: NDArray[np.float32], out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """Turn logits (B, C, h, w) into probabilities of that shape.

    Args:
        logits: As the network gave them.
        out: Array of that shape to use, so that no memory is mapped for each batch; may be ``logits``.

    Raises:
        ModelError: some are not numbers or infinite, of which the first class would come out without a word.
    """
    with np.errstate(invalid="ignore"):
        shifted: NDArray[np.float32] = np.subtract(logits, logits.max(axis=1, keepdims=True), out=out)
    np.exp(shifted, out=shifted)
    total = shifted.sum(axis=1, keepdims=True)
    if not np.isfinite(total).all():
        raise ModelError(
            "the network gives values that are not numbers (NaN), as where it divides by the spread of a window of one "
            "colour, or float16 overflows; export it so that it gives numbers for every window, in float32"
        )
    shifted /= total
    return shifted


def window_weight(cells: int) -> NDArray[np.float32]:
    """Return the Hann weight (cells, cells) of an overlapping window's output.

    It is taken at cell centres, where it is positive; with half overlap the sum is constant.
    """
    profile = np.sin(np.pi * (np.arange(cells) + 0.5) / cells) ** 2
    return np.outer(profile, profile).astype(np.float32)


class RegionStitcher:
    """Accumulates the windows of one region. They must come in lattice order.

    Memory bound:
        (classes + 1) x 4 bytes per cell of the region, sums and averages alike; class ids once more at full size.
        Windows come in lattice order, so the order of every cell's additions, and with it the last bit of
        its sum, is the same for all regions.
    """

    def __init__(
        self,
        m_region: Box,
        classes: int,
        output_stride: int,
        weight: NDArray[np.float32] | None = None,
        *,
        lesion_first: bool = False,
    ) -> None:
        """Stitch ``m_region``; where cells are to be interpolated it must start on a whole one.

        Without a weight all cells of a core count the same, as where cores lie side by side. See :func:`class_of` for
        ``lesion_first``.
        """
        self._region, self._stride, self._weight, self._lesion_first = m_region, output_stride, weight, lesion_first
        self._row, self._column = m_region.y0 // output_stride, m_region.x0 // output_stride
        rows = ceil_div(m_region.y1, output_stride) - self._row
        columns = ceil_div(m_region.x1, output_stride) - self._column
        self._sums = np.zeros((classes, rows, columns), np.float32)
        self._weights = np.zeros((rows, columns), np.float32)

    def add(self, m_core: Box, probabilities: NDArray[np.float32]) -> None:
        """Add the probabilities (C, h, w) of one window's core; the part outside the region is left out.

        Args:
            m_core: Starts on a whole cell of the mask; only its corner counts.
            probabilities: One cell per output stride; of the weight's shape, where there is one.
        """
        y = m_core.y0 // self._stride - self._row
        x = m_core.x0 // self._stride - self._column
        rows, columns = self._weights.shape
        height, width = probabilities.shape[1:]
        src_rows = slice(max(0, -y), min(height, rows - y))
        src_columns = slice(max(0, -x), min(width, columns - x))
        dst_rows = slice(max(0, y), min(rows, y + height))
        dst_columns = slice(max(0, x), min(columns, x + width))
        weight = np.float32(1) if self._weight is None else self._weight[src_rows, src_columns]
        self._sums[:, dst_rows, dst_columns] += probabilities[:, src_rows, src_columns] * weight
        self._weights[dst_rows, dst_columns] += weight

    def probabilities(self) -> NDArray[np.float32]:
        """Average all windows (C, rows, columns), one cell per output stride; all 0 where no window came.

        The sums become the averages where they are, and no window may be added afterwards.
        """
        covered = np.broadcast_to(self._weights > 0, self._sums.shape)
        np.divide(self._sums, self._weights, out=self._sums, where=covered)
        np.sign(self._weights, out=self._weights)  # averages divided again stay as they are
        return self._sums

    def probability_planes(self, upsampling: Upsampling) -> Iterator[NDArray[np.uint8]]:
        """Yield probability * 255 of each class, (height, width), in card order; one plane at a time."""
        probabilities = self.probabilities()
        interpolated = upsampling == "bilinear" and self._stride > 1
        edges = edge_cells(np.asarray(probabilities.any(axis=0)), self._stride) if interpolated else []
        for plane in probabilities:
            full = enlarge(plane, self._stride, upsampling)
            for cells in edges:
                cells.refine(full, plane)
            yield np.rint(full[self._inside] * np.float32(255)).astype(np.uint8)

    def class_ids(self, upsampling: Upsampling) -> NDArray[np.uint8]:
        """Return class ids (height, width) from 1 at full size; 0 where no window came."""
        probabilities = self.probabilities()
        ids = class_of(probabilities, lesion_first=self._lesion_first)
        full = ids.repeat(self._stride, axis=0).repeat(self._stride, axis=1)
        if upsampling == "bilinear" and self._stride > 1:
            refine_borders(full, probabilities, ids, self._stride, lesion_first=self._lesion_first)
        return full[self._inside]

    @property
    def _inside(self) -> tuple[slice, slice]:
        """The region's rows and columns among the pixels of its cells."""
        y, x = self._region.y0 - self._row * self._stride, self._region.x0 - self._column * self._stride
        return slice(y, y + self._region.height), slice(x, x + self._region.width)
