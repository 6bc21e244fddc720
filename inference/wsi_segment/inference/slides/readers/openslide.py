"""Slides that OpenSlide opens: most vendors' formats, and DICOM."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import openslide
from numpy.typing import NDArray
from PIL import ImageCms

from wsi_segment.errors import SlideError
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.slides.readers.canvas import exact_downsample, read_on_white
from wsi_segment.inference.slides.readers.pixel_size import OPENSLIDE, decide, from_power, number, of_these_pixels
from wsi_segment.inference.slides.slide import Level, PixelSize, Slide

_BLOCK = 256
"""Side of the blocks in which levels are read that OpenSlide interpolates, in pixels of the level."""


def _volume_of(properties: Mapping[str, str], width: int, height: int) -> list[PixelSize]:
    """Read what DICOM states besides its pixel spacing: the size of the whole image in mm (PS3.3, C.8.12.4)."""
    across, down = (number(properties.get(f"dicom.ImagedVolume{axis}")) for axis in ("Width", "Height"))
    if across is None or down is None:
        return []
    return [PixelSize(1000 * across / width, 1000 * down / height, "DICOM ImagedVolumeWidth/Height")]


class OpenSlideReader(Slide):
    """A slide behind OpenSlide; one handle serves all threads."""

    reader = "openslide"

    def __init__(self, path: Path) -> None:
        """Open a slide.

        Raises:
            SlideError: OpenSlide does not know the format, or the file is damaged.
        """
        self._path, self._closed = path, False
        try:
            self._slide = openslide.OpenSlide(path)
        except openslide.OpenSlideError as error:
            raise SlideError(f"OpenSlide: {error}") from error
        width, height = self._slide.dimensions
        self._downsamples = self._slide.level_downsamples  # after an error OpenSlide answers no question any more
        self.exact = tuple(downsample.is_integer() for downsample in self._downsamples)
        """Of each level, whether its pixels can be asked for as they are; else OpenSlide interpolates between them."""
        self.levels = tuple(
            Level(w, h, exact_downsample(downsample, w))
            for (w, h), downsample in zip(self._slide.level_dimensions, self._downsamples, strict=True)
        )
        self._numbers = list(range(len(self.levels)))
        properties = self._slide.properties
        x0, y0 = (int(properties.get(f"openslide.bounds-{axis}", 0)) for axis in "xy")
        self.bounds = Box(
            x0,
            y0,
            x0 + int(properties.get(openslide.PROPERTY_NAME_BOUNDS_WIDTH, width - x0)),
            y0 + int(properties.get(openslide.PROPERTY_NAME_BOUNDS_HEIGHT, height - y0)),
        )
        try:
            profile = self._slide.color_profile
            self.icc_profile: bytes | None = None if profile is None else profile.tobytes()
        except (ImageCms.PyCMSError, OSError):  # damaged, which matters only to those who apply it
            self.icc_profile = b""
        x, y = (
            number(properties.get(openslide.PROPERTY_NAME_MPP_X)),
            number(properties.get(openslide.PROPERTY_NAME_MPP_Y)),
        )
        stated = [] if x is None or y is None else [PixelSize(x, y, OPENSLIDE)]
        if stated:  # alone it is not enough: many writers give the size of the glass
            stated += _volume_of(properties, width, height)
        power = from_power(properties.get(openslide.PROPERTY_NAME_OBJECTIVE_POWER))
        stated, left_out = of_these_pixels(
            stated if power is None else [*stated, power], properties.get("openslide.comment", ""), width, height
        )
        self.pixel_size, doubts = decide(stated)
        self.doubts = left_out + doubts

    def keep(self, levels: list[int]) -> None:
        """Forget all levels but some."""
        self.levels = tuple(self.levels[level] for level in levels)
        self.exact = tuple(self.exact[level] for level in levels)
        self._numbers = [self._numbers[level] for level in levels]

    def read(self, level: int, l_box: Box) -> NDArray[np.uint8]:
        """See :class:`wsi_segment.inference.slides.slide.Slide`."""
        read = self._read if self.exact[level] else self._read_by_blocks
        return read_on_white(l_box, self.levels[level], lambda inside: read(level, inside))

    def _read(self, level: int, l_box: Box) -> NDArray[np.uint8]:
        """Return RGBA of a box that lies within a level."""
        if self._closed:
            raise SlideError(f"{self._path}: the slide is closed; open it again")
        own = self._numbers[level]
        stated = self._downsamples[own]
        corner = round(l_box.x0 * stated), round(l_box.y0 * stated)
        try:
            image = self._slide.read_region(corner, own, (l_box.width, l_box.height))
        except openslide.OpenSlideError as error:
            raise SlideError(
                f"{self._path}: pixels at {corner} cannot be read: {error}; the file seems damaged, copy it again"
            ) from error
        return np.asarray(image)

    def _read_by_blocks(self, level: int, l_box: Box) -> NDArray[np.uint8]:
        """Return the same, put together from blocks of a fixed grid.

        Corners are given in whole level-0 pixels. Where a level's downsample is 2.0005, few of its pixels have one,
        and OpenSlide interpolates by a fraction that depends on the corner. On a fixed grid a pixel does not depend
        on what else was asked for.
        """
        pixels = np.empty((l_box.height, l_box.width, 4), np.uint8)
        whole = Box(0, 0, self.levels[level].width, self.levels[level].height)
        for y in range(l_box.y0 // _BLOCK * _BLOCK, l_box.y1, _BLOCK):
            for x in range(l_box.x0 // _BLOCK * _BLOCK, l_box.x1, _BLOCK):
                block = Box(x, y, x + _BLOCK, y + _BLOCK).intersect(whole)
                part = block.intersect(l_box)
                read = self._read(level, block)[part.y0 - y : part.y1 - y, part.x0 - x : part.x1 - x]
                rows, columns = (part.y0 - l_box.y0, part.y1 - l_box.y0), (part.x0 - l_box.x0, part.x1 - l_box.x0)
                pixels[slice(*rows), slice(*columns)] = read
        return pixels

    def close(self) -> None:
        """See :class:`wsi_segment.inference.slides.slide.Slide`."""
        if not self._closed:
            self._closed = True
            self._slide.close()
