"""What a slide is to the engine, and how one is opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from wsi_segment.inference.box import Box
from wsi_segment.model.errors import SlideError

MPP_RANGE = (0.05, 100.0)
"""Pixel sizes in µm that a slide can have; a 72-dpi tag says 352.78."""


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution of a slide; level 0 has downsample 1."""

    width: int
    height: int
    downsample: float
    """Level-0 pixels per pixel of this level, along one axis."""


@dataclass(frozen=True, slots=True)
class PixelSize:
    """µm per level-0 pixel, and where that comes from."""

    x: float
    y: float
    source: str

    @property
    def mpp(self) -> float:
        """Mean of both axes."""
        return (self.x + self.y) / 2


class Slide(Protocol):
    """An open slide. Reading is safe from several threads."""

    reader: str
    """Name of the library that decodes it."""
    levels: tuple[Level, ...]
    bounds: Box
    """The part of level 0 that was scanned; the whole of it for most formats."""
    pixel_size: PixelSize | None
    """As the file states it; None where it does not."""
    icc_profile: bytes | None
    """As the file holds it; pixels are not changed by it."""

    def read(self, level: int, l_box: Box) -> NDArray[np.uint8]:
        """RGB (height, width, 3) of a box of one level; white wherever nothing was scanned.

        Raises:
            SlideError: the pixels cannot be decoded.
        """

    def close(self) -> None:
        """Give files and memory back; reading afterwards is an error."""


def open_slide(path: Path) -> Slide:
    """Open a slide file, a DICOM folder or one of its files, with the first reader that can.

    Raises:
        SlideError: there is nothing, or nothing that any reader can open, or the image is not 8-bit RGB.
    """
    from wsi_segment.inference.readers import image, tiffslide
    from wsi_segment.inference.readers.refuse import refuse_unsupported

    if not path.exists():
        raise SlideError(f"{path}: no such file")
    file = _file_of(path)
    try:
        with file.open("rb"):
            pass
    except OSError as error:
        raise SlideError(f"{path}: cannot be read: {error.strerror}") from error
    refuse_unsupported(file)
    attempts: tuple[Callable[[Path], Slide], ...] = (_open_with_openslide, tiffslide.TiffSlideSlide)
    if file.suffix.lower() in image.SUFFIXES:
        attempts = (image.ImageSlide.open,)
    reasons: list[str] = []
    for attempt in attempts:
        try:
            return attempt(file)
        except SlideError as error:
            reasons.append(str(error))
    raise SlideError(f"{path}: not a slide that can be read ({'; '.join(reasons)}); convert it to a pyramidal TIFF")


def _open_with_openslide(path: Path) -> Slide:
    from wsi_segment.inference.readers.openslide import OpenSlideSlide
    from wsi_segment.inference.readers.tiles import TileSlide

    slide = OpenSlideSlide(path)
    return TileSlide.over(slide, path) or slide


def slide_files(path: Path) -> tuple[Path, ...]:
    """The files whose bytes make the slide: the file, all files of a DICOM folder, or a MIRAX file and its folder."""
    file = _file_of(path)
    if _is_dicom(file):
        return tuple(sorted(part for part in file.parent.iterdir() if _is_dicom(part)))
    if file.suffix.lower() == ".mrxs":
        return (file, *sorted(part for part in file.with_suffix("").rglob("*") if part.is_file()))
    return (file,)


def pixel_size_of(slide: Slide, path: Path, mpp: float | None) -> PixelSize:
    """The pixel size to use: the one given, else the slide's own.

    Args:
        slide: Whose ``pixel_size`` counts where none is given.
        path: For the message.
        mpp: What the user gave, µm per level-0 pixel, or None.

    Raises:
        SlideError: there is none, or it is implausible.
    """
    size = slide.pixel_size if mpp is None else PixelSize(mpp, mpp, "--mpp")
    if size is None:
        raise SlideError(f"{path}: the slide does not state its pixel size; give it with --mpp (µm per pixel)")
    low, high = MPP_RANGE
    if not (low <= size.x <= high and low <= size.y <= high):
        raise SlideError(
            f"{path}: {size.mpp:.5g} µm per pixel (from {size.source}) is implausible; give the true one, "
            f"between {low} and {high:.0f}, with --mpp"
        )
    if abs(size.x - size.y) > 0.02 * size.mpp:
        raise SlideError(
            f"{path}: pixels are {size.x:.5g} x {size.y:.5g} µm (from {size.source}), not square; "
            "resample the slide, or give one size with --mpp"
        )
    return size


def _file_of(path: Path) -> Path:
    """The file that a reader is given: of a folder, its first DICOM file."""
    if not path.is_dir():
        return path
    instances = sorted(part for part in path.iterdir() if _is_dicom(part))
    if not instances:
        raise SlideError(f"{path}: a folder without DICOM files; give a slide file, or the folder of one DICOM slide")
    return instances[0]


def _is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM Part 10 says, whatever its name."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False
