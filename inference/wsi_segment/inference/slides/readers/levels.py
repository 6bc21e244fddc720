"""Which pictures are levels of another one: those that show the same, which their pixels alone can say."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.slides.readers.segments import PageReader

_PATCH, _CELLS = 128, 32
"""Side of a compared patch in pixels of the coarser picture, and of its average."""
_LARGEST_SIDE = 2048
"""Pixels of the finer picture that a patch may take on a side."""
_READ_WHOLE = 1 << 20
"""Pixels of a picture that is read at once."""
_COMPARED = 4
"""Patches of most contrast that are compared."""

_FAR_APART = 40.0
"""Mean difference in grey levels that no two levels have, sharpened or compressed as they may be."""
_FLAT = 1.5
"""Standard deviation of detail, in grey levels, below which there is nothing to recognise."""
_FLAT_APART = 12.0
"""Mean difference that two flat pictures may have."""
_ALIKE = 0.2
"""Correlation of detail from which on two pictures are one. Over four patches that of two pictures lies within 0.05
of 0, and that of a level which keeps one pixel of 4 x 4 of pure noise at 0.25; levels of slides have above 0.8."""


def shows_the_same(fine: PageReader, coarse: PageReader) -> bool:
    """Compare patches of a picture with the same places of a finer one.

    Memory bound:
        One patch of the finer picture, 2,048 x 2,048 px.

    Raises:
        SlideError: the pixels cannot be decoded.
        RunError: they could not be fetched over the network.
    """
    across, down = fine.width / coarse.width, fine.height / coarse.height
    side = max(8, min(_PATCH, int(_LARGEST_SIDE / max(across, down))))
    if coarse.width * coarse.height <= _READ_WHOLE:  # sooner than segments that are decoded for several patches
        whole = _grey(coarse.read(coarse.whole))
        patches = [(box, whole[box.y0 : box.y1, box.x0 : box.x1]) for box in _places(coarse, side)]
    else:
        patches = [(box, _grey(coarse.read(box))) for box in _places(coarse, side)]
    patches.sort(key=lambda patch: float(patch[1].std()), reverse=True)
    here, there = [], []
    for box, grey in patches[:_COMPARED]:
        wide = Box(round(box.x0 * across), round(box.y0 * down), round(box.x1 * across), round(box.y1 * down))
        cells = min(_CELLS, box.width), min(_CELLS, box.height)
        here.append(_averaged(grey, cells))
        there.append(_averaged(_grey(fine.read(wide.intersect(fine.whole))), cells))
    if np.mean([np.abs(a - b).mean() for a, b in zip(here, there, strict=True)]) > _FAR_APART:
        return False
    a, b = (np.concatenate([_detail(patch) for patch in patches]) for patches in (here, there))
    if max(a.std(), b.std()) < _FLAT:
        return bool(np.mean([np.abs(a - b).mean() for a, b in zip(here, there, strict=True)]) < _FLAT_APART)
    return bool((a * b).mean() > _ALIKE * max(a.std() * b.std(), 1e-9))


def _places(reader: PageReader, side: int) -> list[Box]:
    """Return patches spread over a picture, and the middles of the segments that hold most."""
    size = min(side, reader.width), min(side, reader.height)
    corners = {
        (round((reader.width - size[0]) * x / 2), round((reader.height - size[1]) * y / 2))
        for x in range(3)
        for y in range(3)
    }
    for index in reader.fullest(3):
        box = reader.segment(index)
        middle = (box.x0 + box.x1 - size[0]) // 2, (box.y0 + box.y1 - size[1]) // 2
        corners.add((min(max(0, middle[0]), reader.width - size[0]), min(max(0, middle[1]), reader.height - size[1])))
    return [Box(x, y, x + size[0], y + size[1]) for x, y in sorted(corners)]


def _grey(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(pixels.mean(axis=2), np.float32)


def _averaged(grey: NDArray[np.float32], cells: tuple[int, int]) -> NDArray[np.float32]:
    return np.asarray(Image.fromarray(grey).resize(cells, Image.Resampling.BOX))


def _detail(patch: NDArray[np.float32]) -> NDArray[np.float32]:
    """Take from a patch what it has in common with any picture of tissue on glass: broad light and dark."""
    height, width = patch.shape
    broad = Image.fromarray(patch).resize((max(1, width // 8), max(1, height // 8)), Image.Resampling.BOX)
    return np.ravel(patch - np.asarray(broad.resize((width, height), Image.Resampling.BILINEAR), np.float32))
