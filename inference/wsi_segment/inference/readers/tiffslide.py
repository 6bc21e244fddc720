"""Slides that tiffslide opens: TIFF kinds that OpenSlide refuses."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import tiffslide
from numpy.typing import NDArray

from wsi_segment.inference.box import Box
from wsi_segment.inference.readers.canvas import exact_downsample, read_on_white
from wsi_segment.inference.slide import Level, PixelSize
from wsi_segment.model.errors import SlideError

_MICRONS_PER_UNIT = {"INCH": 25_400.0, "CENTIMETER": 10_000.0}


class TiffSlideSlide:
    """A TIFF behind tiffslide; reads are serialised, since its zarr view does not scale with threads."""

    reader = "tiffslide"

    def __init__(self, path: Path) -> None:
        """Open a TIFF.

        Raises:
            SlideError: tiffslide does not know the format, or the file is damaged.
        """
        self._path = path
        self._lock = threading.Lock()
        self._file = path.open("rb")  # our own, so that it is closed whatever fails below
        try:
            self._slide = tiffslide.TiffSlide(self._file)
            dimensions, downsamples = self._slide.level_dimensions, self._slide.level_downsamples
            properties = self._slide.properties
            # one pixel, so that an unsupported compression shows at once and not within the run
            self._slide.read_region((0, 0), 0, (1, 1), as_array=True)
        except Exception as error:  # tiffslide lets errors of every library below it through
            self._file.close()
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise SlideError(f"tiffslide: {reason:.200}") from error
        self.levels = tuple(
            Level(w, h, exact_downsample(d, w)) for (w, h), d in zip(dimensions, downsamples, strict=True)
        )
        self.bounds = Box(0, 0, self.levels[0].width, self.levels[0].height)
        self.pixel_size = _pixel_size(properties)
        tag = self._slide.ts_tifffile.pages.first.tags.get("InterColorProfile")
        self.icc_profile: bytes | None = None if tag is None else tag.value

    def read(self, level: int, l_box: Box) -> NDArray[np.uint8]:
        """See :class:`wsi_segment.inference.slide.Slide`."""
        info = self.levels[level]

        def read_inside(inside: Box) -> NDArray[np.uint8]:
            corner = round(inside.x0 * info.downsample), round(inside.y0 * info.downsample)
            try:
                with self._lock:
                    pixels = self._slide.read_region(corner, level, (inside.width, inside.height), as_array=True)
            except Exception as error:
                raise SlideError(f"{self._path}: pixels at {corner} cannot be read: {error}") from error
            return np.asarray(pixels)

        return read_on_white(l_box, info, read_inside)

    def close(self) -> None:
        """See :class:`wsi_segment.inference.slide.Slide`."""
        self._slide.close()
        self._file.close()


def _pixel_size(properties: dict[str, object]) -> PixelSize | None:
    """µm per pixel: tiffslide's own finding (OME-XML, vendors), the TIFF resolution, the objective power."""
    x, y = properties.get("tiffslide.mpp-x"), properties.get("tiffslide.mpp-y")
    if isinstance(x, int | float) and isinstance(y, int | float):
        return PixelSize(float(x), float(y), "tiffslide.mpp-x/y")
    unit = _MICRONS_PER_UNIT.get(str(properties.get("tiff.ResolutionUnit")).upper().removeprefix("RESUNIT."))
    x, y = properties.get("tiff.XResolution"), properties.get("tiff.YResolution")
    if unit and isinstance(x, int | float) and isinstance(y, int | float) and x > 0 and y > 0:
        return PixelSize(unit / x, unit / y, "TIFF resolution")
    return None
