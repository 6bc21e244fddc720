"""Plain pictures in memory: PNG and JPEG files, and arrays."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from wsi_segment.errors import SlideError
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.slides.doubt import Doubt
from wsi_segment.inference.slides.location import open_bytes
from wsi_segment.inference.slides.readers.canvas import on_white, read_on_white
from wsi_segment.inference.slides.slide import Level, PixelSize, Slide

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_FORMATS = ("PNG", "JPEG", "WEBP")
"""What a file may be, whatever its name: some of the formats that Pillow knows have programs run, such as EPS."""

_MODES = ("RGB", "RGBA", "L", "LA", "P", "PA")
"""Pillow's names of 8-bit colour, grey and palette, with and without alpha."""

_LARGEST_PIXELS = 80_000_000
"""A picture is decoded whole, which takes up to 14 bytes per pixel for a moment."""


class ImageSlide(Slide):
    """A picture of one level, decoded whole.

    Memory bound:
        3 bytes per pixel, for as long as it is open.
    """

    reader = "pillow"
    doubts: tuple[Doubt, ...] = ()

    def __init__(
        self, pixels: NDArray[np.uint8], pixel_size: PixelSize | None = None, icc_profile: bytes | None = None
    ) -> None:
        """Hold RGB pixels (height, width, 3)."""
        height, width = pixels.shape[:2]
        self._pixels = pixels
        self.levels: tuple[Level, ...] = (Level(width, height, 1.0),)
        self.bounds = Box(0, 0, width, height)
        self.pixel_size = pixel_size
        self.icc_profile = icc_profile

    @classmethod
    def open(cls, path: Path) -> Self:
        """Decode a picture, upright as its EXIF says and every viewer shows it; it never states its pixel size.

        Raises:
            SlideError: it is not an 8-bit grey or colour picture, or too large to be held, or moves.
        """
        try:
            with open_bytes(path) as file, Image.open(file, formats=_FORMATS) as image:
                bits = _stored_bits(file, image)
                if bits != 8 or image.mode not in _MODES:
                    kind = f"of mode {image.mode}" if bits == 8 else f"{bits}-bit"
                    raise SlideError(f"pixels are {kind}, not 8-bit RGB")
                if image.width * image.height > _LARGEST_PIXELS:
                    raise SlideError(f"{image.width} x {image.height} px is too large to be decoded whole")
                if (frames := getattr(image, "n_frames", 1)) > 1:
                    raise SlideError(f"holds {frames} pictures of an animation; save the one that is meant")
                profile = image.info.get("icc_profile")
                upright = ImageOps.exif_transpose(image.convert("RGBA"))
                return cls(on_white(*_whole(upright.width, upright.height), np.asarray(upright)), None, profile)
        except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
            raise SlideError(f"Pillow: {error}") from error

    def read(self, level: int, l_box: Box) -> NDArray[np.uint8]:
        """See :class:`wsi_segment.inference.slides.slide.Slide`."""
        return read_on_white(
            l_box, self.levels[level], lambda inside: self._pixels[inside.y0 : inside.y1, inside.x0 : inside.x1]
        )

    def close(self) -> None:
        """See :class:`wsi_segment.inference.slides.slide.Slide`."""


def _stored_bits(file: BinaryIO, image: Image.Image) -> int:
    """Return the bits per channel that the file holds; Pillow shows 16-bit colour as 8-bit and drops the lower byte.

    Bits of a palette's indices do not count: its colours have 8.
    """
    if image.format == "PNG" and image.mode != "P":
        place = file.tell()
        file.seek(24)  # of IHDR, which is the first chunk: signature, length, name, width and height are before it
        bits = file.read(1)[0]
        file.seek(place)
        return bits
    return 8  # Pillow reads neither JPEG of 12 bits nor WebP of other than 8


def _whole(width: int, height: int) -> tuple[Box, Box]:
    return Box(0, 0, width, height), Box(0, 0, width, height)
