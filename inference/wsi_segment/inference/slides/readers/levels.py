"""Which pictures are levels of another one: those that show the same, which their pixels alone can say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.slides.slide import Slide

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
_FLAT = 3.0
"""Standard deviation of detail, in grey levels, below which there is nothing to recognise."""
_FLAT_APART = 12.0
"""Mean difference that two flat pictures may have."""
_ALIKE = 0.67
"""Correlation of detail, of all colours, from which on two pictures are one. Levels that were averaged, that keep every
eighth pixel, that lie a pixel off or are JPEG of quality 30 have 0.78 and more; other tissue of the same outline,
colours and grain, and the slide upside down or mirrored, 0.57 and less."""


class Picture(Protocol):
    """What can be compared: a directory of a TIFF, or a level of a slide."""

    @property
    def whole(self) -> Box:
        """All of it."""

    def read(self, inside: Box, /) -> NDArray[np.uint8]:
        """Return RGB (height, width, 3) of a box that lies in it."""

    def telling(self) -> list[Box]:
        """Return boxes that are known to hold much."""


@dataclass(frozen=True, slots=True)
class LevelPicture:
    """A level of an open slide."""

    slide: Slide
    level: int

    @property
    def whole(self) -> Box:
        """All of the level."""
        return Box(0, 0, self.slide.levels[self.level].width, self.slide.levels[self.level].height)

    def read(self, inside: Box, /) -> NDArray[np.uint8]:
        """Return RGB (height, width, 3) of a box that lies in the level."""
        return self.slide.read(self.level, inside)

    def telling(self) -> list[Box]:
        """Return no boxes: nothing is known of the level before it is read."""
        return []


def true_levels(slide: Slide) -> list[int]:
    """Return the levels that show the same as level 0; each is compared with the next finer one of them.

    Raises:
        SlideError: the pixels cannot be decoded.
    """
    found = [0]
    for level in range(1, len(slide.levels)):
        if shows_the_same(LevelPicture(slide, found[-1]), LevelPicture(slide, level)):
            found.append(level)
    return found


def shows_the_same(fine: Picture, coarse: Picture) -> bool:
    """Compare patches of a picture with the same places of a finer one.

    Memory bound:
        One patch of the finer picture, 2,048 x 2,048 px.

    Raises:
        SlideError: the pixels cannot be decoded.
        RunError: they could not be fetched over the network.
    """
    whole = coarse.whole
    across, down = fine.whole.width / whole.width, fine.whole.height / whole.height
    side = max(8, min(_PATCH, int(_LARGEST_SIDE / max(across, down))))
    if whole.width * whole.height <= _READ_WHOLE:  # sooner than segments that are decoded for several patches
        everything = coarse.read(whole)
        patches = [(box, everything[box.y0 : box.y1, box.x0 : box.x1]) for box in _places(coarse, side)]
    else:
        patches = [(box, coarse.read(box)) for box in _places(coarse, side)]
    patches.sort(key=lambda patch: float(patch[1].std()), reverse=True)
    here, there = [], []
    for box, pixels in patches[:_COMPARED]:
        wide = Box(round(box.x0 * across), round(box.y0 * down), round(box.x1 * across), round(box.y1 * down))
        cells = min(_CELLS, box.width), min(_CELLS, box.height)
        here.append(_averaged(pixels, cells))
        there.append(_averaged(fine.read(wide.intersect(fine.whole)), cells))
    if np.mean([np.abs(a - b).mean() for a, b in zip(here, there, strict=True)]) > _FAR_APART:
        return False
    a, b = (np.concatenate([_detail(patch) for patch in patches]) for patches in (here, there))
    if max(a.std(), b.std()) < _FLAT:
        return bool(np.mean([np.abs(a - b).mean() for a, b in zip(here, there, strict=True)]) < _FLAT_APART)
    return bool((a * b).mean() > _ALIKE * max(a.std() * b.std(), 1e-9))


def _places(picture: Picture, side: int) -> list[Box]:
    """Return patches spread over a picture, and the middles of the boxes that hold most."""
    whole = picture.whole
    width, height = min(side, whole.width), min(side, whole.height)
    far_x, far_y = whole.width - width, whole.height - height
    corners = {(round(far_x * x / 2), round(far_y * y / 2)) for x in range(3) for y in range(3)}
    for box in picture.telling():
        x, y = (box.x0 + box.x1 - width) // 2, (box.y0 + box.y1 - height) // 2
        corners.add((min(max(0, x), far_x), min(max(0, y), far_y)))
    return [Box(x, y, x + width, y + height) for x, y in sorted(corners)]


def _averaged(pixels: NDArray[np.uint8], cells: tuple[int, int]) -> NDArray[np.float32]:
    """Return a patch in cells, RGB (height, width, 3), each the mean of what it covers."""
    return np.asarray(Image.fromarray(pixels).resize(cells, Image.Resampling.BOX), np.float32)


def _detail(patch: NDArray[np.float32]) -> NDArray[np.float32]:
    """Take from a patch what it has in common with any picture of tissue on glass: broad light and dark."""
    height, width = patch.shape[:2]
    coarse = max(1, width // 8), max(1, height // 8)
    channels = [Image.fromarray(np.ascontiguousarray(patch[..., channel])) for channel in range(3)]
    broad = [
        np.asarray(one.resize(coarse, Image.Resampling.BOX).resize((width, height), Image.Resampling.BILINEAR))
        for one in channels
    ]
    return np.ravel(patch - np.stack(broad, axis=-1))
