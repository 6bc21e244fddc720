"""The windows of a mask: their lattice, and those of a region in bands and batches, in lattice order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsi_segment.inference.engine.tissue import TissueMask
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.grid.lattice import Lattice, stride_of
from wsi_segment.inference.slides.frame import MaskFrame
from wsi_segment.inference.slides.pixels import PixelSource
from wsi_segment.model.card import ModelCard


def lattice_of(frame: MaskFrame, card: ModelCard, overlap: float) -> Lattice:
    """Return the lattice of a mask for a model.

    Raises:
        InputError: the overlap is out of range.
    """
    core = card.window - 2 * card.margin
    stride = stride_of(overlap, core, card.output_stride)
    return Lattice(width=frame.width, height=frame.height, window=card.window, stride=stride, margin=card.margin)


@dataclass(frozen=True, slots=True)
class Band:
    """Some window rows of a region: where their windows are, and the pixels of all of them."""

    m_box: Box
    pixels: NDArray[np.uint8]
    """RGB of ``m_box``."""
    windows: tuple[Box, ...]
    """Windows with tissue, in lattice order."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows for one call of the network."""

    windows: tuple[Box, ...]
    pixels: NDArray[np.uint8]
    """(B, window, window, 3); overwritten by the next batch."""


def read_bands(
    source: PixelSource, lattice: Lattice, tissue: TissueMask, m_region: Box, band_rows: int
) -> Iterator[Band]:
    """Read the windows that touch a region and hold tissue, in bands.

    Memory bound:
        One band of ``band_rows`` window rows; rows that neighbouring bands share are read twice.
    """
    rows, columns = lattice.touching(m_region)
    tops, lefts = lattice.corners(rows, columns)
    wanted = tissue.windows_with_tissue(tops, lefts, lattice.core)
    for start in range(0, len(rows), band_rows):
        y, x = np.nonzero(wanted[start : start + band_rows])
        if not len(y):
            continue
        windows = tuple(lattice.box(rows[start + j], columns[i]) for j, i in zip(y, x, strict=True))
        m_box = Box(min(w.x0 for w in windows), windows[0].y0, max(w.x1 for w in windows), windows[-1].y1)
        yield Band(m_box, source.read(m_box), windows)


def cut_batches(bands: Iterator[Band], size: int) -> Iterator[Batch]:
    """Cut the windows of all bands into batches of ``size``; the last one of a band may be smaller.

    All batches are cut into the same memory: a batch holds until the next one is asked for.
    """
    buffer: NDArray[np.uint8] | None = None
    for band in bands:
        for start in range(0, len(band.windows), size):
            windows = band.windows[start : start + size]
            if buffer is None:
                buffer = np.empty((size, windows[0].height, windows[0].width, 3), np.uint8)
            for index, window in enumerate(windows):
                buffer[index] = _cut(band, window)
            yield Batch(windows, buffer[: len(windows)])


def _cut(band: Band, window: Box) -> NDArray[np.uint8]:
    y, x = window.y0 - band.m_box.y0, window.x0 - band.m_box.x0
    return band.pixels[y : y + window.height, x : x + window.width]
