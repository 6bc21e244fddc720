"""Which pictures are levels of another one: those that show the same, which their pixels alone can say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.slides.slide import Slide

_PATCH, _CELLS, _BROAD = 128, 32, 4
"""Side of a compared patch in pixels of the coarser picture, and of its averages."""
_LARGEST_SIDE = 2048
"""Pixels of the finer picture that a patch may take on a side."""
_READ_WHOLE = 1 << 20
"""Pixels of a picture that is read at once."""
_COMPARED = 4
"""Patches of most contrast that are compared, beside those that hold much in one picture and little in the other."""

_FAR_APART = 40.0
"""Difference in grey levels that two levels never reach in a patch or part of one, even if sharpened or compressed."""
_OTHER_HUE = 14.0
"""The same of colours less their grey, where there are any: red for blue, or YCbCr taken for RGB."""
_COLOURED, _SAME_HUE = 0.02, 0.8
"""Share of a patch that must have colours for that, and the cosine of those of one picture."""
_FLAT = 3.0
"""Standard deviation of detail, in grey levels, below which there is nothing to recognise."""
_FLAT_APART = 12.0
"""Mean difference that two flat pictures may have."""
_ALIKE = 0.67
"""Correlation of detail, of all colours, from which on two pictures are one. Levels that were averaged, that keep every
eighth pixel, that lie a pixel off or are JPEG of quality 30 have 0.78 and more; other tissue of the same outline,
colours and grain, and the slide upside down or mirrored, 0.57 and less."""
_PATCH_ALIKE, _PATCH_DETAIL = 0.3, 6.0
"""Correlation of detail that a single patch has, where its standard deviation in one of the two is as large."""
_REACH = 8
"""Pixels of the coarser picture up to which a shift is looked for."""
_ROUNDED = 1
"""Pixels by which a level may lie off: it may be every second pixel, and sizes are rounded."""
_LEAST_DETAIL = 1e-3
"""Share of a patch's detail (the root of the sum of squares) below which a part of it has none."""
_BETTER = 0.04
"""Correlation by which a shifted picture must fit better than one in place."""


LEAST_SIDE = 16
"""Pixels of a level on a side below which nothing can be recognised in it, so that it is never used."""


class Picture(Protocol):
    """What can be compared: a directory of a TIFF, or a level of a slide."""

    @property
    def whole(self) -> Box:
        """All of it."""

    def read(self, inside: Box, /) -> NDArray[np.uint8]:
        """Return RGB (height, width, 3) of a box that lies in it."""

    def telling(self) -> list[Box]:
        """Return boxes that are known to hold much."""

    def density(self, columns: int, rows: int) -> NDArray[np.float64] | None:
        """Return how much (rows, columns) cells of the picture hold, in any unit; None where that is not known."""


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

    def density(self, columns: int, rows: int) -> NDArray[np.float64] | None:
        """Return None: nothing is known of the level before it is read."""
        return None


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

    Every patch must fit on its own, so that a level of which a part was never written is none; and no other place
    nearby may fit better. Pictures of a few pixels cannot be distinguished from others, and prove nothing.

    Memory bound:
        One patch of the finer picture, 2,048 x 2,048 px.

    Raises:
        SlideError: the pixels cannot be decoded.
        RunError: they could not be fetched over the network.
    """
    whole = coarse.whole
    if min(whole.width, whole.height) < LEAST_SIDE:
        return False
    across, down = fine.whole.width / whole.width, fine.whole.height / whole.height
    side = max(8, min(_PATCH, int(_LARGEST_SIDE / max(across, down))))
    chosen = _unlike(fine, coarse, side)
    if whole.width * whole.height <= _READ_WHOLE:  # sooner than segments that are decoded for several patches
        everything = coarse.read(whole)
        patches = [(box, everything[box.y0 : box.y1, box.x0 : box.x1]) for box in _places(coarse, side)]
    else:
        patches = [(box, coarse.read(box)) for box in _places(coarse, side)]
    patches.sort(key=lambda patch: float(patch[1].std()), reverse=True)
    patches = patches[:_COMPARED] + [(box, coarse.read(box)) for box in chosen]
    here, there = [], []
    for box, pixels in patches:
        wide = Box(round(box.x0 * across), round(box.y0 * down), round(box.x1 * across), round(box.y1 * down))
        here.append(pixels)
        there.append(_averaged(fine.read(wide.intersect(fine.whole)), (box.width, box.height)))
    return _are_one(here, there) and not _lie_apart(here, there)


def _are_one(here: list[NDArray[np.uint8]], there: list[NDArray[np.uint8]]) -> bool:
    """Return whether patches show the same, each of them and all together."""
    averaged = [[_cells(patch) for patch in patches] for patches in (here, there)]
    details = [[_detail(patch) for patch in patches] for patches in averaged]
    apart = [float(np.abs(a - b).mean()) for a, b in zip(*averaged, strict=True)]
    broadly = [float(np.abs(_broad(a) - _broad(b)).max()) for a, b in zip(here, there, strict=True)]
    alone = [
        _correlation(a, b) for a, b in zip(*details, strict=True) if max(float(a.std()), float(b.std())) > _PATCH_DETAIL
    ]
    if max(apart + broadly) > _FAR_APART or min(alone, default=1.0) < _PATCH_ALIKE:
        return False
    if any(_have_other_hues(a, b) for a, b in zip(*averaged, strict=True)):
        return False
    a, b = (np.concatenate(patches) for patches in details)
    if max(a.std(), b.std()) < _FLAT:
        return bool(np.mean(apart) < _FLAT_APART)
    return _correlation(a, b) > _ALIKE


def _correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float((a * b).mean() / max(float(a.std() * b.std()), 1e-9))


def _lie_apart(here: list[NDArray[np.uint8]], there: list[NDArray[np.uint8]]) -> bool:
    """Return whether patches fit better when moved by some pixels, all of them by the same.

    Each patch counts alike, and by its detail: edges between light and dark fit nearly as well a few pixels off.
    """
    pairs = [
        (_sharp(a), _middle(_sharp(b)))
        for a, b in list(zip(here, there, strict=True))[:_COMPARED]
        if min(a.shape[:2]) > 4 * _REACH
    ]
    pairs = [(a, b / _length(b)) for a, b in pairs if float(b.std()) >= _FLAT]
    if not pairs:
        return False
    fits = np.mean([_fits(a, b) for a, b in pairs], axis=0)
    near = slice(_REACH - _ROUNDED, _REACH + _ROUNDED + 1)
    return bool(fits.max() > fits[near, near].max() + _BETTER)


def _fits(patch: NDArray[np.float32], middle: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the correlation of a patch's middle with another one's, moved by up to ``_REACH`` rows and columns.

    Args:
        patch: (h, w), moved beneath the other one.
        middle: (h - 2 ``_REACH``, w - 2 ``_REACH``), of mean 0 and length 1.
    """
    moves = 2 * _REACH + 1
    wide = patch.astype(np.float64)  # in single precision, numpy would transform so too
    # by Fourier transforms; moves that would reach round the end of the patch are left out
    products = np.fft.irfft2(np.fft.rfft2(wide) * np.fft.rfft2(middle, wide.shape).conj(), wide.shape)
    sums, squares = (_sums_under(values, middle.shape) for values in (wide, np.square(wide)))
    lengths = np.sqrt(np.maximum(squares - np.square(sums) / middle.size, 0))
    flat = lengths <= _LEAST_DETAIL * np.linalg.norm(wide)  # sums leave rounding errors of it, or nothing at all
    fits: NDArray[np.float64] = np.where(flat, 0, products[:moves, :moves]) / np.where(flat, 1, lengths)
    return fits


def _sums_under(values: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return the sum of the values under a window of a shape, for each place of it inside them."""
    total = np.pad(values.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    height, width = shape
    sums: NDArray[np.float64] = (
        total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
    )
    return sums


def _length(patch: NDArray[np.float32]) -> float:
    """Return the root of a patch's sum of squares, never 0."""
    return max(float(np.linalg.norm(patch)), 1e-9)


def _middle(patch: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a patch without its borders, less its mean."""
    part = patch[_REACH:-_REACH, _REACH:-_REACH]
    middle: NDArray[np.float32] = part - part.mean()
    return middle


def _unlike(fine: Picture, coarse: Picture, side: int) -> list[Box]:
    """Return patches of the coarser picture where one of two pictures is known to hold more than the other."""
    whole = coarse.whole
    columns, rows = (max(1, min(_CELLS, length // 16)) for length in (whole.width, whole.height))
    both = [picture.density(columns, rows) for picture in (fine, coarse)]
    if both[0] is None or both[1] is None:
        return []
    shares = [known / max(float(known.sum()), 1e-9) for known in both if known is not None]
    differs = np.ravel(shares[0] - shares[1])
    found = []
    for cell in {int(differs.argmax()), int(differs.argmin()), int(shares[0].argmax())}:
        row, column = divmod(cell, columns)
        x, y = (2 * column + 1) * whole.width // (2 * columns), (2 * row + 1) * whole.height // (2 * rows)
        found.append(_around(x, y, whole, side))
    return found


def _around(x: int, y: int, whole: Box, side: int) -> Box:
    """Return the patch of a picture whose middle is nearest to a place."""
    width, height = min(side, whole.width), min(side, whole.height)
    left, top = min(max(0, x - width // 2), whole.width - width), min(max(0, y - height // 2), whole.height - height)
    return Box(left, top, left + width, top + height)


def _places(picture: Picture, side: int) -> list[Box]:
    """Return patches spread over a picture, and the middles of the boxes that hold most."""
    whole = picture.whole
    places = {(whole.width * x // 2, whole.height * y // 2) for x in range(3) for y in range(3)}
    places |= {((box.x0 + box.x1) // 2, (box.y0 + box.y1) // 2) for box in picture.telling()}
    return [_around(x, y, whole, side) for x, y in sorted(places)]


def _averaged(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return RGB of another size (width, height), each pixel the mean of what it covers."""
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


def _cells(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return a patch in cells, RGB (height, width, 3)."""
    height, width = pixels.shape[:2]
    return _averaged(pixels, (min(_CELLS, width), min(_CELLS, height))).astype(np.float32)


def _broad(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return a patch in few cells, RGB (height, width, 3)."""
    height, width = pixels.shape[:2]
    return _averaged(pixels, (min(_BROAD, width), min(_BROAD, height))).astype(np.float32)


def _have_other_hues(a: NDArray[np.float32], b: NDArray[np.float32]) -> bool:
    """Return whether colours less their grey point elsewhere, where one of two patches has any."""
    hues = [patch - patch.mean(axis=2, keepdims=True) for patch in (a, b)]
    coloured = np.maximum(*(np.abs(hue).max(axis=2) for hue in hues)) > _OTHER_HUE
    if coloured.mean() < _COLOURED:
        return False
    a, b = (hue[coloured] for hue in hues)
    alike = float((a * b).sum() / max(float((a * a).sum() * (b * b).sum()) ** 0.5, 1e-9))
    return float(np.abs(a - b).mean()) > _OTHER_HUE and alike < _SAME_HUE


def _sharp(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the grey of a patch without what is broad in it."""
    grey = pixels.astype(np.float32).mean(axis=2)
    sharp: NDArray[np.float32] = grey - _blurred(grey)
    return sharp


def _detail(patch: NDArray[np.float32]) -> NDArray[np.float32]:
    """Take from a patch what it has in common with any picture of tissue on glass: broad light and dark."""
    channels = [_blurred(np.ascontiguousarray(patch[..., channel])) for channel in range(3)]
    return np.ravel(patch - np.stack(channels, axis=-1))


def _blurred(channel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return means of 8 x 8 pixels, between which values change evenly."""
    height, width = channel.shape
    coarse = Image.fromarray(channel).resize((max(1, width // 8), max(1, height // 8)), Image.Resampling.BOX)
    return np.asarray(coarse.resize((width, height), Image.Resampling.BILINEAR))
