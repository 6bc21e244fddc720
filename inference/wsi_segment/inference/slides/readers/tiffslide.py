"""Slides that tiffslide opens: TIFF kinds that OpenSlide refuses, and TIFF over the network."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import tiffslide
from numpy.typing import NDArray

from wsi_segment.errors import RunError, SlideError
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.slides.location import is_remote, open_bytes
from wsi_segment.inference.slides.readers.canvas import exact_downsample, read_on_white
from wsi_segment.inference.slides.readers.tiff import ALONE, open_tiff
from wsi_segment.inference.slides.slide import Level, PixelSize

_MICRONS = {"µm": 1.0, "um": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6}
_MICRONS_PER_UNIT = {"INCH": 25_400.0, "CENTIMETER": 10_000.0}


class TiffSlideReader:
    """A TIFF behind tiffslide; reads are serialised, since its zarr view does not scale with threads."""

    reader = "tiffslide"

    def __init__(self, path: Path) -> None:
        """Open a TIFF.

        Raises:
            SlideError: tiffslide does not know the format, or the file is damaged.
        """
        self._path = path
        self._lock = threading.Lock()
        self._file = open_bytes(path)  # our own, so that it is closed whatever fails below
        try:
            self._slide = tiffslide.TiffSlide(self._file, tifffile_options=dict(ALONE))
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
        self.exact = (True,) * len(self.levels)
        self.bounds = Box(0, 0, self.levels[0].width, self.levels[0].height)
        self.pixel_size = _pixel_size(properties, self._slide.ts_tifffile.ome_metadata)
        tag = self._slide.ts_tifffile.pages.first.tags.get("InterColorProfile")
        self.icc_profile: bytes | None = None if tag is None else tag.value

    def read(self, level: int, l_box: Box) -> NDArray[np.uint8]:
        """See :class:`wsi_segment.inference.slides.slide.Slide`."""
        stated = self._slide.level_downsamples[level]

        def read_inside(inside: Box) -> NDArray[np.uint8]:
            # tiffslide divides by what the file states and drops the fraction, so the next whole pixel is the right one
            corner = math.ceil(inside.x0 * stated - 1e-6), math.ceil(inside.y0 * stated - 1e-6)
            try:
                with self._lock:
                    pixels = self._slide.read_region(corner, level, (inside.width, inside.height), as_array=True)
            except Exception as error:
                if is_remote(self._path):
                    raise RunError(
                        f"{self._path}: pixels at {corner} could not be fetched: {' '.join(str(error).split())}; "
                        "what is finished is kept, run the same command again"
                    ) from error
                raise SlideError(
                    f"{self._path}: pixels at {corner} cannot be read: {error}; the file seems damaged, copy it again"
                ) from error
            return np.asarray(pixels)

        return read_on_white(l_box, self.levels[level], read_inside)

    def close(self) -> None:
        """See :class:`wsi_segment.inference.slides.slide.Slide`."""
        self._slide.close()
        self._file.close()


def is_ome_tiff(path: Path) -> bool:
    """Whether a file is a TIFF that OME-XML describes."""
    try:
        with open_tiff(path) as tiff:
            return bool(tiff.is_ome)
    except Exception:
        return False


def _ome_pixel_size(xml: str | None) -> PixelSize | None:
    """PhysicalSizeX and Y of the first image of OME-XML."""
    try:
        pixels = ElementTree.fromstring(xml or "").find(".//{*}Pixels")
        assert pixels is not None
        sizes = [
            float(pixels.attrib[f"PhysicalSize{axis}"]) * _MICRONS[pixels.get(f"PhysicalSize{axis}Unit", "µm")]
            for axis in "XY"
        ]
    except (ElementTree.ParseError, AssertionError, KeyError, ValueError):
        return None
    return PixelSize(sizes[0], sizes[1], "OME-XML PhysicalSize")


def _pixel_size(properties: dict[str, object], ome_xml: str | None) -> PixelSize | None:
    """µm per pixel: tiffslide's own finding (vendors' tags), OME-XML, the TIFF resolution, the objective power."""
    x, y = properties.get("tiffslide.mpp-x"), properties.get("tiffslide.mpp-y")
    if isinstance(x, int | float) and isinstance(y, int | float):
        return PixelSize(float(x), float(y), "tiffslide.mpp-x/y")
    if (size := _ome_pixel_size(ome_xml)) is not None:
        return size
    unit = _MICRONS_PER_UNIT.get(str(properties.get("tiff.ResolutionUnit")).upper().removeprefix("RESUNIT."))
    x, y = properties.get("tiff.XResolution"), properties.get("tiff.YResolution")
    if unit and isinstance(x, int | float) and isinstance(y, int | float) and x > 0 and y > 0:
        return PixelSize(unit / x, unit / y, "TIFF resolution")
    power = properties.get("tiffslide.objective-power")
    if isinstance(power, int | float) and power > 0:
        return PixelSize(10 / power, 10 / power, "10 / objective power (approximate)")
    return None
