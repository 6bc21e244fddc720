"""Slide pixels at the mask's scale.

Whatever box is asked for, a given mask pixel always comes out the same: weights depend on its place in
the whole mask, in whole numbers, never on where a request began. The mask's independence of region
size rests on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.slides.frame import MaskFrame
from wsi_segment.inference.slides.readers.canvas import on_white
from wsi_segment.inference.slides.slide import Slide

_UNIT = 256
"""Interpolation weights are whole 256ths."""

_STRIP = 64
"""Rows that are interpolated at once, which bounds what the wide integers take."""

_BAND_PIXELS = 8 << 20


class PixelSource:
    """Reads a slide in the mask's frame."""

    def __init__(self, slide: Slide, frame: MaskFrame) -> None:
        self._slide, self.frame = slide, frame
        # a whole number of level pixels is averaged first; what remains is a ratio of 2/3 to 3/2
        self._reduce = max(1, round(frame.ratio))
        self._residual = frame.ratio / self._reduce
        self._whole = abs(self._residual - 1) * max(frame.width, frame.height) < 0.01

    def read(self, m_box: Box) -> NDArray[np.uint8]:
        """Return RGB (height, width, 3) of a box of the mask's frame; white outside of the mask.

        Raises:
            SlideError: the slide's pixels cannot be decoded.
        """
        inside = m_box.intersect(self.frame.box)
        if inside.empty:
            return on_white(m_box, inside, None)
        return on_white(m_box, inside, self._reduced(inside) if self._whole else self._interpolated(inside))

    def fetch(self, m_boxes: Sequence[Box]) -> None:
        """Fetch what will be read next, see :meth:`wsi_segment.inference.slides.slide.Slide.fetch`."""
        inside = [box for box in (box.intersect(self.frame.box) for box in m_boxes) if not box.empty]
        boxes = inside if self._whole else [self._between(box) for box in inside]
        self._slide.fetch(self.frame.level, [self._l_box(box) for box in boxes])

    def _l_box(self, r_box: Box) -> Box:
        k = self._reduce
        return Box(r_box.x0 * k, r_box.y0 * k, r_box.x1 * k, r_box.y1 * k).moved(self.frame.l_x0, self.frame.l_y0)

    def _between(self, m_box: Box) -> Box:
        """Return the reduced pixels that a box is interpolated from."""
        columns, rows = self._taps(m_box.x0, m_box.x1)[0], self._taps(m_box.y0, m_box.y1)[0]
        # a pixel lies between two columns and two rows, so one more of each is read than the last one names
        return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 2, int(rows[-1]) + 2)

    def _reduced(self, r_box: Box) -> NDArray[np.uint8]:
        """Return boxes of ``reduce`` x ``reduce`` level pixels, averaged; ``r_box`` counts such boxes."""
        k = self._reduce
        pixels = self._slide.read(self.frame.level, self._l_box(r_box))
        return pixels if k == 1 else np.asarray(Image.fromarray(pixels).reduce(k))

    def _interpolated(self, m_box: Box) -> NDArray[np.uint8]:
        """Interpolate bilinearly between reduced pixels, in whole numbers, so that no order of additions matters."""
        columns, x_weights = self._taps(m_box.x0, m_box.x1)
        rows, y_weights = self._taps(m_box.y0, m_box.y1)
        r_box = self._between(m_box)
        pixels = self._reduced(r_box)
        columns, rows = columns - r_box.x0, rows - r_box.y0
        wx, out = x_weights[None, :, None], np.empty((m_box.height, m_box.width, 3), np.uint8)
        for start in range(0, m_box.height, _STRIP):  # 32-bit integers of a strip only, never of the whole box
            strip = slice(start, start + _STRIP)
            first = int(rows[strip][0])
            part = pixels[first : int(rows[strip][-1]) + 2].astype(np.uint32)
            wide = part[:, columns] * (_UNIT - wx) + part[:, columns + 1] * wx
            wy, above = y_weights[strip, None, None], rows[strip] - first
            # both weights are 256ths: products of two stay below 2**24, and half of 2**16 rounds to nearest
            full = wide[above] * (_UNIT - wy) + wide[above + 1] * wy
            out[strip] = (full + _UNIT * _UNIT // 2) // (_UNIT * _UNIT)
        return out

    def _taps(self, start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
        """Return the first of the two reduced pixels around each mask pixel, and the weight of the second."""
        centres = (np.arange(start, stop) + 0.5) * self._residual - 0.5
        places = np.floor(centres * _UNIT + 0.5).astype(np.int64)
        return places // _UNIT, (places % _UNIT).astype(np.uint32)


def read_whole(source: PixelSource, step: Callable[[int, int], None] = lambda done, total: None) -> NDArray[np.uint8]:
    """Read all of a coarse frame in bands, RGB (height, width, 3).

    Args:
        source: Of a frame small enough to hold.
        step: Called with (rows read, rows in all) after each band; may raise to stop.

    Memory bound:
        The result, and one band of about 8 million level pixels.
    """
    frame = source.frame
    band = max(1, round(_BAND_PIXELS / (frame.ratio**2 * frame.width)))
    pixels = np.empty((frame.height, frame.width, 3), np.uint8)
    for y0 in range(0, frame.height, band):
        y1 = min(frame.height, y0 + band)
        pixels[y0:y1] = source.read(Box(0, y0, frame.width, y1))
        step(y1, frame.height)
    return pixels
