"""Plain pictures in memory: PNG and JPEG files, and arrays."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile

from wsi_segment.errors import SlideError
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.slides.doubt import Doubt
from wsi_segment.inference.slides.location import open_bytes
from wsi_segment.inference.slides.readers.canvas import HIDDEN, HIDDEN_BY_ALPHA, on_white, read_on_white
from wsi_segment.inference.slides.slide import Level, PixelSize, Slide

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_FORMATS = ("PNG", "JPEG", "WEBP")
"""What a file may be, whatever its name: some of the formats that Pillow knows have programs run, such as EPS."""

_MODES = ("RGB", "RGBA", "L", "LA", "P", "PA")
"""Pillow's names of 8-bit colour, grey and palette, with and without alpha."""

_UNREADABLE = (
    OSError, SyntaxError, ValueError, IndexError, KeyError, TypeError, struct.error, Image.DecompressionBombError
)  # fmt: skip
"""What Pillow raises where a file is damaged."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
"""What shows a picture upright, by EXIF's Orientation."""

_LARGEST_PIXELS = 80_000_000
"""A picture is decoded whole, which takes up to 14 bytes per pixel for a moment."""

_lock = threading.Lock()
_decoding = 0
_set_before = False


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
            with _whole_files(), open_bytes(path) as file, Image.open(file, formats=_FORMATS) as image:
                bits = _stored_bits(file, image)
                if bits != 8 or image.mode not in _MODES:
                    kind = f"of mode {image.mode}" if bits == 8 else f"{bits}-bit"
                    raise SlideError(f"pixels are {kind}, not 8-bit RGB")
                if image.width * image.height > _LARGEST_PIXELS:
                    raise SlideError(f"{image.width} x {image.height} px is too large to be decoded whole")
                if (frames := getattr(image, "n_frames", 1)) > 1:
                    raise SlideError(f"holds {frames} pictures of an animation; save the one that is meant")
                profile = image.info.get("icc_profile")
                upright = np.asarray(_upright(image))
                if upright[..., 3].max() <= HIDDEN:
                    raise SlideError(HIDDEN_BY_ALPHA)
                height, width = upright.shape[:2]
                return cls(on_white(*_whole(width, height), upright), None, profile)
        except _UNREADABLE as error:
            raise SlideError(f"Pillow: {error}") from error

    def read(self, level: int, l_box: Box) -> NDArray[np.uint8]:
        """See :class:`wsi_segment.inference.slides.slide.Slide`."""
        return read_on_white(
            l_box, self.levels[level], lambda inside: self._pixels[inside.y0 : inside.y1, inside.x0 : inside.x1]
        )

    def close(self) -> None:
        """See :class:`wsi_segment.inference.slides.slide.Slide`."""


@contextmanager
def _whole_files() -> Iterator[None]:
    """Have Pillow refuse files that are cut off, whatever a program has set for other work.

    ``LOAD_TRUNCATED_IMAGES``, which scripts that train networks like to set, makes black of what is missing. It belongs
    to the process: the first of the threads inside sets it, the last one to leave restores what was there.
    """
    global _decoding, _set_before
    with _lock:
        if not _decoding:
            _set_before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
        _decoding += 1
    try:
        yield
    finally:
        with _lock:
            _decoding -= 1
            if not _decoding:
                ImageFile.LOAD_TRUNCATED_IMAGES = _set_before


def _upright(image: Image.Image) -> Image.Image:
    """Return RGBA as EXIF says that it is upright, as viewers do: damaged EXIF says nothing.

    Nor does XMP, which Pillow asks where EXIF is silent: programs that turn a picture leave it there as it was.
    """
    shown = image.convert("RGBA")  # a PNG may have its EXIF after the pixels
    for key in ("xmp", "XML:com.adobe.xmp"):
        image.info.pop(key, None)
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # errors of many kinds
        return shown
    return shown if turn is None else shown.transpose(turn)


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
