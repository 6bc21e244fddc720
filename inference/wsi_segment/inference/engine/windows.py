"""The windows of a mask: their lattice, and those of a region in bands and batches, in lattice order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsi_segment.errors import InputError
from wsi_segment.inference.engine.blocks import pieces_of
from wsi_segment.inference.engine.kinds.smooth import halo_of
from wsi_segment.inference.engine.options import DEFAULT_OVERLAP
from wsi_segment.inference.engine.tissue import TissueMask
from wsi_segment.inference.grid.box import Box, ceil_div
from wsi_segment.inference.grid.lattice import BLOCK_MARGIN, BLOCK_SIDES, BLOCK_STEP, Lattice, stride_of
from wsi_segment.inference.slides.frame import MaskFrame
from wsi_segment.inference.slides.pixels import PixelSource
from wsi_segment.model.card import WINDOW, ModelCard


def lattice_of(frame: MaskFrame, card: ModelCard, window: int | None = None, overlap: float | None = None) -> Lattice:
    """Return the lattice of a mask for a model.

    Without a choice it is one of blocks where the card states that a window of their size was checked, and else one of
    windows. An overlap means windows, and so does the side that the card gives them.

    Args:
        frame: Its size is read.
        card: Of the model.
        window: Side of a window, as on the card, or of a block's core, one of ``BLOCK_SIDES``.
        overlap: Share of a window that its neighbour covers too.

    Raises:
        InputError: the overlap is out of range, or the model was not checked on windows of that side.
    """
    sides, width, height = settle_sides(card, window, overlap), frame.width, frame.height
    if sides.overlap is None:
        margin = _block_margin(card)
        side = sides.window + 2 * margin
        return Lattice(width=width, height=height, window=side, stride=sides.window, margin=margin, blocks=True)
    stride = stride_of(sides.overlap, card.window - 2 * card.margin, card.output_stride)
    return Lattice(
        width=width, height=height, window=card.window, stride=stride, margin=card.margin, halo=halo_of(card)
    )


@dataclass(frozen=True, slots=True)
class Sides:
    """Which lattice a run has."""

    window: int
    """Side of a window, or of a block's core."""
    overlap: float | None
    """Overlap of windows; None for blocks."""


def settle_sides(card: ModelCard, window: int | None, overlap: float | None) -> Sides:
    """Return what was chosen, and the model's own choice in place of None; see :func:`lattice_of`."""
    if overlap is None and window != card.window:
        side = _block_side(card) if window is None else _checked_side(card, window)
        if side is not None:
            return Sides(side, None)
    elif window not in (None, card.window):
        raise InputError(
            f"`window` {window} with an `overlap`: only windows of the model's own side, {card.window}, overlap; "
            "leave one of the two out"
        )
    return Sides(card.window, DEFAULT_OVERLAP if overlap is None else overlap)


def _block_side(card: ModelCard) -> int | None:
    """Return the side of the largest blocks that a model can be shown, None for none."""
    return next(iter(_possible_sides(card)), None)


def _possible_sides(card: ModelCard) -> list[int]:
    """Return the sides of blocks that a model was checked on; none where their pieces would not be whole cells."""
    if card.margin or BLOCK_STEP % card.output_stride:
        return []
    return [side for side in BLOCK_SIDES if side + 2 * _block_margin(card) <= (card.checked_window or 0)]


def _block_margin(card: ModelCard) -> int:
    """Return the margin of blocks: wide enough for the halo of kinds that are smoothed."""
    return max(BLOCK_MARGIN, ceil_div(halo_of(card), BLOCK_STEP) * BLOCK_STEP)


def _checked_side(card: ModelCard, window: int) -> int:
    possible = _possible_sides(card)
    if window not in possible:
        sides = " or ".join(map(str, (card.window, *possible)))
        reason = "" if possible else "; its card states no checked_window, so larger ones may compute something else"
        raise InputError(f"`window` {window} is not possible with {card.name}: give {sides}{reason}")
    return window


@dataclass(frozen=True, slots=True)
class Window:
    """A part of the mask that the network is shown at once."""

    m_box: Box
    """Pixels that the network sees; may reach over the mask's edge."""
    m_core: Box
    """Pixels whose classes are used: all but the margin."""


def box_around(windows: Sequence[Window]) -> Box:
    """Return the smallest box around all that windows see, of which there must be one at least."""
    boxes = [window.m_box for window in windows]
    return Box(
        min(box.x0 for box in boxes),
        min(box.y0 for box in boxes),
        max(box.x1 for box in boxes),
        max(box.y1 for box in boxes),
    )


def windows_of(lattice: Lattice, tissue: TissueMask, rows: range, columns: range) -> list[list[Window]]:
    """Return the windows with tissue among some rows and columns of a lattice, a list per row, in lattice order."""
    tops, lefts = lattice.corners(rows, columns)
    wanted = tissue.within(lattice.halo).windows_with_tissue(tops, lefts, lattice.core)
    found = []
    for row, wanted_here in zip(rows, wanted, strict=True):
        cores = [lattice.core_box(row, columns[i]) for i in np.flatnonzero(wanted_here).tolist()]
        if lattice.blocks:
            found.append(
                [Window(seen, core) for block in cores for core, seen in pieces_of(tissue, block, lattice.margin)]
            )
        else:
            found.append([Window(core.grown(lattice.margin), core) for core in cores])
    return found


def count_windows(lattice: Lattice, tissue: TissueMask, m_region: Box) -> int:
    """Count the windows with tissue that touch a region and its halo; a block as the patches of 128 px it is worth."""
    rows, columns = lattice.touching(m_region.grown(lattice.halo))
    if lattice.blocks:
        return sum(worth_of(window) for row in windows_of(lattice, tissue, rows, columns) for window in row)
    tops, lefts = lattice.corners(rows, columns)
    return int(np.count_nonzero(tissue.within(lattice.halo).windows_with_tissue(tops, lefts, lattice.core)))


def worth_of(window: Window) -> int:
    """Return how many patches of 128 px a block's core is worth, rounded up."""
    return ceil_div(window.m_core.width * window.m_core.height, WINDOW * WINDOW)


@dataclass(frozen=True, slots=True)
class Band:
    """Some window rows of a region: where their windows are, and the pixels of all of them."""

    m_box: Box
    pixels: NDArray[np.uint8]
    """RGB of ``m_box``."""
    windows: tuple[Window, ...]
    """Windows with tissue, in lattice order."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows for one call of the network."""

    windows: tuple[Window, ...]
    pixels: NDArray[np.uint8]
    """(B, height, width, 3); overwritten by the next batch."""


def read_bands(
    source: PixelSource, lattice: Lattice, tissue: TissueMask, m_region: Box, band_rows: int
) -> Iterator[Band]:
    """Read the windows that touch a region and hold tissue, in bands.

    Memory bound:
        One band of ``band_rows`` window rows; rows that neighbouring bands share are read twice.
    """
    rows, columns = lattice.touching(m_region)
    for start in range(0, len(rows), band_rows):
        by_row = windows_of(lattice, tissue, rows[start : start + band_rows], columns)
        windows = tuple(window for row in by_row for window in row)
        if not windows:
            continue
        m_box = box_around(windows)
        if lattice.blocks:
            m_box = m_box.intersect(source.frame.box)
        yield Band(m_box, source.read(m_box), windows)


def cut_batches(bands: Iterator[Band], size: int) -> Iterator[Batch]:
    """Cut the windows of all bands into batches of ``size``; the last one of a band may be smaller.

    All batches are cut into the same memory: a batch holds until the next one is asked for.
    """
    buffer: NDArray[np.uint8] | None = None
    for band in bands:
        for start in range(0, len(band.windows), size):
            windows = band.windows[start : start + size]
            shape = size, windows[0].m_box.height, windows[0].m_box.width, 3
            if buffer is None or buffer.shape != shape:
                buffer = np.empty(shape, np.uint8)
            for index, window in enumerate(windows):
                buffer[index] = _cut(band, window.m_box)
            yield Batch(windows, buffer[: len(windows)])


def _cut(band: Band, m_box: Box) -> NDArray[np.uint8]:
    """Cut a window out of its band; beyond the band, which ends with the mask then, its own pixels are mirrored.

    Blocks alone reach there: white would be seen as glass.
    """
    inside = m_box.intersect(band.m_box)
    y, x = inside.y0 - band.m_box.y0, inside.x0 - band.m_box.x0
    pixels = band.pixels[y : y + inside.height, x : x + inside.width]
    if inside == m_box:
        return pixels
    rows = inside.y0 - m_box.y0, m_box.y1 - inside.y1
    columns = inside.x0 - m_box.x0, m_box.x1 - inside.x1
    return np.pad(pixels, (rows, columns, (0, 0)), mode="symmetric")
