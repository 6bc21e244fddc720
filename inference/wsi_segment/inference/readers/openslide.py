"""Slides that OpenSlide opens: most vendors' formats, and DICOM."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openslide
from numpy.typing import NDArray

from wsi_segment.inference.box import Box
from wsi_segment.inference.readers.canvas import exact_downsample, read_on_white
from wsi_segment.inference.slide import Level, PixelSize
from wsi_segment.model.errors import SlideError


class OpenSlideSlide:
    """A slide behind OpenSlide; one handle serves all threads."""

    reader = "openslide"

    def __init__(self, path: Path) -> None:
        """Open a slide.

        Raises:
            SlideError: OpenSlide does not know the format, or the file is damaged.
        """
        self._path = path
        try:
            self._slide = openslide.OpenSlide(path)
        except openslide.OpenSlideError as error:
            raise SlideError(f"OpenSlide: {error}") from error
        width, height = self._slide.dimensions
        self.levels = tuple(
            Level(w, h, exact_downsample(downsample, w))
            for (w, h), downsample in zip(self._slide.level_dimensions, self._slide.level_downsamples, strict=True)
        )
        properties = self._slide.properties
        x0, y0 = (int(properties.get(f"openslide.bounds-{axis}", 0)) for axis in "xy")
        self.bounds = Box(
            x0,
            y0,
            x0 + int(properties.get(openslide.PROPERTY_NAME_BOUNDS_WIDTH, width - x0)),
            y0 + int(properties.get(openslide.PROPERTY_NAME_BOUNDS_HEIGHT, height - y0)),
        )
        profile = self._slide.color_profile
        self.icc_profile: bytes | None = None if profile is None else profile.tobytes()
        self.pixel_size: PixelSize | None = None
        stated = properties.get(openslide.PROPERTY_NAME_MPP_X), properties.get(openslide.PROPERTY_NAME_MPP_Y)
        if stated[0] is not None and stated[1] is not None:
            self.pixel_size = PixelSize(float(stated[0]), float(stated[1]), "openslide.mpp-x/y")
        elif (power := float(properties.get(openslide.PROPERTY_NAME_OBJECTIVE_POWER, 0))) > 0:
            self.pixel_size = PixelSize(10 / power, 10 / power, "10 / objective power (approximate)")

    def read(self, level: int, l_box: Box) -> NDArray[np.uint8]:
        """See :class:`wsi_segment.inference.slide.Slide`."""
        info = self.levels[level]

        def read_inside(inside: Box) -> NDArray[np.uint8]:
            corner = round(inside.x0 * info.downsample), round(inside.y0 * info.downsample)
            try:
                image = self._slide.read_region(corner, level, (inside.width, inside.height))
            except openslide.OpenSlideError as error:
                raise SlideError(f"{self._path}: pixels at {corner} cannot be read: {error}") from error
            return np.asarray(image)

        return read_on_white(l_box, info, read_inside)

    def close(self) -> None:
        """See :class:`wsi_segment.inference.slide.Slide`."""
        self._slide.close()
