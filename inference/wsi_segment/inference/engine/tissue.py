"""Where the tissue is: a coarse mask, found once per slide, so that glass is neither read nor computed."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi_segment.errors import InputError
from wsi_segment.inference.engine.morphology import GAUSSIAN_REACH, grown, grown_square, shrunk, smoothed, without_small
from wsi_segment.inference.engine.options import TissueMethod
from wsi_segment.inference.engine.outlined.outlined_cells import outlined_cells
from wsi_segment.inference.grid.box import Box, ceil_div
from wsi_segment.inference.grid.region import CHUNK
from wsi_segment.inference.progress import Step
from wsi_segment.inference.slides.doubt import Doubt
from wsi_segment.inference.slides.frame import MaskFrame
from wsi_segment.inference.slides.pixels import PixelSource, read_whole
from wsi_segment.inference.slides.slide import Slide

CELL_MICRONS = 16.0
"""Aim for the side of a cell; cells are a power of two of mask pixels."""
MOST_CELLS = 6 << 20
"""On very large slides cells become larger, so that memory stays bounded."""
TISSUE_BYTES = 32 * MOST_CELLS
"""What finding tissue takes at most, beyond one band of pixels."""
_CHEAP = 1 << 26
"""Pixels of the level that tissue is looked for in, up to which it is read only to compare outlines with it."""

_THRESHOLD_RANGE = (8.0, 40.0)
"""Bounds on Otsu's threshold, in grey levels of chroma: below is noise of white glass, above is strong stain."""
_INK_MARGIN = 12.0
"""Grey levels by which green exceeds red in marker ink; haematoxylin, eosin and DAB all keep red above green."""
_INK_EDGE = 2
"""Cells around ink that are mixed with it."""
_GLASS_DARKEST, _GLASS_CHROMA = 190, 18
"""Grey levels: glass has no channel below, and no stronger tint."""
_STRIP = 64
_SMALLEST_MICRONS = 50.0
"""Side of the smallest piece that counts as tissue; smaller ones are dust."""
_LARGEST_HOLE_MICRONS = 150.0
"""Side of the largest hole that counts as part of the tissue around it."""


@dataclass(frozen=True, slots=True)
class TissueMask:
    """A cell is ``cell`` x ``cell`` mask pixels; the first cell starts at mask pixel (0, 0)."""

    cells: NDArray[np.bool_]
    """(rows, columns), True = tissue."""
    cell: int
    _counts: NDArray[np.int32]
    """Integral image of ``cells``, one row and column larger."""
    doubts: tuple[Doubt, ...] = ()
    """Doubts about outlines that were not used."""
    beyond: TissueMask | None = None
    """All tissue of the slide, where ``cells`` are those within some outlines only."""
    near: dict[int, TissueMask] = field(default_factory=dict, repr=False, compare=False)
    """Results of :meth:`within`, kept."""

    @classmethod
    def of(
        cls,
        cells: NDArray[np.bool_],
        cell: int,
        doubts: tuple[Doubt, ...] = (),
        found: NDArray[np.bool_] | None = None,
    ) -> TissueMask:
        """Make a mask of the cells to analyse, and of all that were found where those are more."""
        counts = np.zeros((cells.shape[0] + 1, cells.shape[1] + 1), np.int32)
        np.cumsum(cells, axis=0, dtype=np.int32, out=counts[1:, 1:])
        np.cumsum(counts[1:, 1:], axis=1, out=counts[1:, 1:])
        return cls(cells, cell, counts, doubts, beyond=None if found is None else cls.of(found, cell))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle a bit per cell, compressed: a mask travels to each worker of a cluster."""
        packed = zlib.compress(np.packbits(self.cells).tobytes(), 1)
        return _unpacked, (packed, self.cells.shape, self.cell, self.doubts, self.beyond)

    @property
    def found(self) -> TissueMask:
        """All tissue of the slide."""
        return self.beyond or self

    def within(self, halo: int) -> TissueMask:
        """Return the tissue to analyse, and what other tissue lies within some mask pixels of it."""
        if not halo or self.beyond is None:
            return self
        if halo not in self.near:
            around = grown_square(self.cells, ceil_div(halo, self.cell))
            self.near[halo] = TissueMask.of(around & self.beyond.cells, self.cell)
        return self.near[halo]

    @property
    def share(self) -> float:
        """Share of cells with tissue."""
        return float(self.cells.mean()) if self.cells.size else 0.0

    def windows_with_tissue(
        self, m_tops: NDArray[np.int64], m_lefts: NDArray[np.int64], window: int
    ) -> NDArray[np.bool_]:
        """Tell which windows touch a tissue cell.

        Args:
            m_tops: First pixel row of each window row.
            m_lefts: First pixel column of each window column.
            window: Side of a window.

        Returns:
            (rows, columns), True where some tissue lies in the window.
        """
        top, bottom = self._cell_range(m_tops, window, self.cells.shape[0])
        left, right = self._cell_range(m_lefts, window, self.cells.shape[1])
        counts = self._counts
        inside = counts[np.ix_(bottom, right)] - counts[np.ix_(top, right)]
        inside -= counts[np.ix_(bottom, left)] - counts[np.ix_(top, left)]
        return inside > 0

    def touches(self, m_box: Box) -> bool:
        """Return whether any tissue cell shares a pixel with a box."""
        rows = slice(m_box.y0 // self.cell, ceil_div(m_box.y1, self.cell))
        columns = slice(m_box.x0 // self.cell, ceil_div(m_box.x1, self.cell))
        return bool(self.cells[rows, columns].any())

    def bounds_within(self, m_box: Box) -> Box:
        """Return the smallest box around the tissue cells that share a pixel with a box, cut to it; empty for none.

        The box may reach over the mask's edge.
        """
        m_box = m_box.intersect(Box(0, 0, self.cells.shape[1] * self.cell, self.cells.shape[0] * self.cell))
        y0, x0 = m_box.y0 // self.cell, m_box.x0 // self.cell
        cells = self.cells[y0 : ceil_div(m_box.y1, self.cell), x0 : ceil_div(m_box.x1, self.cell)]
        rows, columns = np.flatnonzero(cells.any(axis=1)), np.flatnonzero(cells.any(axis=0))
        if not len(rows):
            return Box(m_box.x0, m_box.y0, m_box.x0, m_box.y0)
        corners = (x0 + columns[0], y0 + rows[0], x0 + columns[-1] + 1, y0 + rows[-1] + 1)
        return Box(*(int(corner) * self.cell for corner in corners)).intersect(m_box)

    def pixels(self, m_box: Box) -> NDArray[np.bool_]:
        """Return the tissue per mask pixel, (height, width), of a box that starts on a cell."""
        rows = slice(m_box.y0 // self.cell, ceil_div(m_box.y1, self.cell))
        columns = slice(m_box.x0 // self.cell, ceil_div(m_box.x1, self.cell))
        full = self.cells[rows, columns].repeat(self.cell, axis=1).repeat(self.cell, axis=0)
        return full[: m_box.height, : m_box.width]

    def clear_glass(self, plane: NDArray[np.uint8], m_box: Box) -> None:
        """Set what is no tissue to 0, in place, in a plane (height, width) of a box that starts on a chunk."""
        for top in range(0, m_box.height, CHUNK):  # at full size, the tissue of a large box is as large as the plane
            strip = Box(m_box.x0, m_box.y0 + top, m_box.x1, min(m_box.y0 + top + CHUNK, m_box.y1))
            plane[top : top + CHUNK] *= self.pixels(strip)

    def _cell_range(
        self, starts: NDArray[np.int64], window: int, count: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return np.minimum(starts // self.cell, count), np.minimum(-(-(starts + window) // self.cell), count)


def _unpacked(
    packed: bytes, shape: tuple[int, int], cell: int, doubts: tuple[Doubt, ...], beyond: TissueMask | None
) -> TissueMask:
    bits = np.frombuffer(zlib.decompress(packed), np.uint8)
    cells = np.unpackbits(bits, count=shape[0] * shape[1]).reshape(shape).astype(bool)
    return replace(TissueMask.of(cells, cell, doubts), beyond=beyond)


def cell_size(frame: MaskFrame, mask_mpp: float) -> int:
    """Choose the side of a cell in mask pixels: about 16 µm, more where that would be too many cells."""
    cell: int = 2 ** min(7, max(2, round(math.log2(CELL_MICRONS / mask_mpp))))
    while cell < CHUNK and ceil_div(frame.width, cell) * ceil_div(frame.height, cell) > MOST_CELLS:
        cell *= 2
    return cell


def find_tissue(
    slide: Slide,
    frame: MaskFrame,
    mask_mpp: float,
    method: TissueMethod,
    step: Step,
    region: Path | None = None,
) -> TissueMask:
    """Find the tissue of a slide.

    Args:
        slide: Read in bands at low resolution.
        frame: Of the mask.
        mask_mpp: µm per mask pixel.
        method: ``otsu``: Otsu's threshold on chroma, without pen marks and dust; ``none``: everything is tissue;
            a path: the polygons of a GeoJSON file.
        step: Called with (rows read, rows in all) after each band; may raise to stop.
        region: GeoJSON file of outlines beyond which nothing counts as tissue.

    Memory bound:
        ``TISSUE_BYTES``, and one band of :func:`wsi_segment.inference.slides.pixels.read_whole`.

    Raises:
        InputError: a file of outlines is at fault, or no tissue lies within the region.
    """
    cell = cell_size(frame, mask_mpp)
    doubts: tuple[Doubt, ...] = ()
    coarse, found = frame.coarser(slide, cell), None

    @cache
    def stained() -> NDArray[np.bool_]:
        return tissue_of(read_whole(PixelSource(slide, coarse), step), mask_mpp * cell)

    if not isinstance(method, str):
        read = slide.levels[coarse.level]  # a large slide without a coarse level is not read whole for a doubt
        to_compare = stained if read.width * read.height <= _CHEAP else None
        cells, doubts = outlined_cells(
            method, "tissue", slide=slide, frame=frame, cell=cell, mask_mpp=mask_mpp, stained=to_compare
        )
    elif method == "none":
        to_compare = None
        cells = np.ones((ceil_div(frame.height, cell), ceil_div(frame.width, cell)), bool)
    else:
        to_compare, cells = stained, stained()
    if region is not None:
        inside, more = outlined_cells(
            region, "region", slide=slide, frame=frame, cell=cell, mask_mpp=mask_mpp, stained=to_compare
        )
        found, cells = cells, cells & inside
        doubts += more
        if not cells.any():
            raise InputError(
                f"`region` {region}: no tissue lies within its outlines; correct them, or set `tissue` to none to "
                "analyse all that they hold"
            )
    return TissueMask.of(cells, cell, doubts, found)


def tissue_of(thumbnail: NDArray[np.uint8], mpp: float) -> NDArray[np.bool_]:
    """Find the tissue of a low-resolution image.

    Glass, shadows and black ink are grey once the lamp's tint is divided out, so chroma (largest minus smallest
    channel) tells tissue from them. Otsu's threshold (1979) divides the chroma histogram; small pieces go, small
    holes are filled, and a margin of one pixel is added. Green and blue ink is no tissue; red and violet ink looks
    like stain at this resolution, and counts as tissue.

    Args:
        thumbnail: RGB (h, w, 3).
        mpp: µm per pixel of it.

    Returns:
        (h, w), True = tissue.
    """
    chroma, ink = np.empty(thumbnail.shape[:2], np.float32), np.empty(thumbnail.shape[:2], bool)
    glass = glass_colour(thumbnail)
    balance = (glass.max() / glass).astype(np.float32)
    for start in range(0, len(thumbnail), _STRIP):
        above = min(start, GAUSSIAN_REACH)
        smooth = smoothed(thumbnail[start - above : start + _STRIP + GAUSSIAN_REACH])[above : above + _STRIP]
        smooth *= balance
        chroma[start : start + _STRIP] = smooth.max(axis=2) - smooth.min(axis=2)
        ink[start : start + _STRIP] = smooth[..., 1] - smooth[..., 0] > _INK_MARGIN
    ink = grown(without_small(ink, _INK_EDGE**2), _INK_EDGE)
    stained = chroma[~ink]
    if not stained.size:
        return np.zeros(chroma.shape, bool)
    tissue = (chroma > np.clip(otsu_threshold(stained), *_THRESHOLD_RANGE)) & ~ink
    tissue = shrunk(grown(np.pad(tissue, 2, mode="edge"), 2), 2)[2:-2, 2:-2]
    tissue = ~without_small(~tissue, (_LARGEST_HOLE_MICRONS / mpp) ** 2)
    tissue = without_small(tissue, min((_SMALLEST_MICRONS / mpp) ** 2, tissue.size / 100))
    return grown(tissue) & ~ink


def glass_colour(thumbnail: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Find the colour (3,) of empty glass: the median of the brightest tenth of what is bright and nearly grey.

    Pure white is left out, it was not scanned. Where less than a hundredth is like glass, white.
    """
    sample = thumbnail.reshape(-1, 3)[:: max(1, thumbnail.size // (3 << 20))]
    darkest, brightest = sample.min(axis=1), sample.max(axis=1)
    bright = (darkest >= _GLASS_DARKEST) & (darkest < 255) & (brightest - darkest <= _GLASS_CHROMA)
    if bright.mean() < 0.01:
        return np.full(3, 255.0)
    levels = darkest[bright]
    brightest_tenth: NDArray[np.float64] = np.median(sample[bright][levels >= np.quantile(levels, 0.9)], axis=0)
    return brightest_tenth


def otsu_threshold(values: NDArray[np.float32]) -> float:
    """Find the value that divides a histogram of 0..255 with the largest variance between both parts."""
    histogram = np.bincount(np.clip(values, 0, 255).astype(np.int64).ravel(), minlength=256).astype(np.float64)
    below = histogram.cumsum()
    above = below[-1] - below
    weighted = (histogram * np.arange(256)).cumsum()
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = weighted / below - (weighted[-1] - weighted) / above
        between = np.nan_to_num(below * above * difference**2)
    best = np.flatnonzero(between == between.max())
    return float(best.mean()) + 0.5
