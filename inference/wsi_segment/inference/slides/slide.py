"""The interface of an open slide, and its pixel size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from wsi_segment.errors import SlideError
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.slides.doubt import Doubt

MPP_RANGE = (0.05, 100.0)
"""Pixel sizes in µm that a slide can have; a 72-dpi tag says 352.78."""


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution of a slide, where level 0 has downsample 1, or of a mask.

    >>> from wsi_segment.inference import Mask
    >>> Mask.open("mask.zarr").levels[0]
    Level(width=531, height=531, downsample=1.13)
    """

    width: int
    """Columns of pixels."""
    height: int
    """Rows of pixels."""
    downsample: float
    """Level-0 pixels per pixel of this level, along one axis."""
    scale: int = field(default=1, repr=False)
    """How many times smaller than stored the tiles of level 0 are decoded for it; 1 where the file holds the level."""


@dataclass(frozen=True, slots=True)
class PixelSize:
    """µm per level-0 pixel, and its source.

    >>> from wsi_segment.inference import Mask
    >>> Mask.open("mask.zarr").pixel_size.mpp
    1.0
    """

    x: float
    """Width of a pixel."""
    y: float
    """Height of a pixel."""
    source: str
    """Tag or property of the file, or ``given by the user``."""

    @property
    def mpp(self) -> float:
        """Mean of both axes."""
        return (self.x + self.y) / 2


def is_plausible(size: PixelSize) -> bool:
    """Return whether a slide can have pixels of this size."""
    low, high = MPP_RANGE
    return low <= size.x <= high and low <= size.y <= high


class Slide(Protocol):
    """An open slide. Reading is safe from several threads.

    >>> from wsi_segment.inference import Box, open_slide
    >>> with open_slide("slide.tiff") as slide:
    ...     slide.read(0, Box(0, 0, 256, 128)).shape
    (128, 256, 3)
    """

    reader: str
    """Name of the library that decodes it."""
    levels: tuple[Level, ...]
    """Levels from the finest to the coarsest."""
    bounds: Box
    """The part of level 0 that was scanned; the whole of it for most formats."""
    pixel_size: PixelSize | None
    """Pixel size that the file states; None if it states none."""
    icc_profile: bytes | None
    """ICC profile of the file; it is not applied to the pixels."""
    doubts: tuple[Doubt, ...]
    """Doubts that a user should know although the slide can be read."""

    def read(self, level: int, l_box: Box) -> NDArray[np.uint8]:
        """Return RGB (height, width, 3) of a box of one level; white wherever nothing was scanned.

        Raises:
            SlideError: the pixels cannot be decoded.
            RunError: they could not be fetched over the network.
        """

    def fetch(self, level: int, l_boxes: Sequence[Box]) -> None:
        """Fetch what will be read of a level next, where each request over the network takes its time.

        Raises:
            RunError: it could not be fetched.
        """
        return  # a file is read as quickly later

    def close(self) -> None:
        """Give files and memory back; reading afterwards is an error, closing again is none."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def pixel_size_of(slide: Slide, path: Path, mpp: float | None, *, name: str = "`mpp`") -> PixelSize:
    """Choose the pixel size to use: the one given, else the slide's own.

    Args:
        slide: Whose ``pixel_size`` counts where none is given.
        path: For the message.
        mpp: What the user gave, µm per level-0 pixel, or None.
        name: How the user gives it, for the message.

    Raises:
        SlideError: there is none, or it is implausible.
    """
    size = slide.pixel_size if mpp is None else PixelSize(mpp, mpp, "given by the user")
    if size is None:
        reason = next((one.message for one in slide.doubts if one.code == "pixel-size-differs"), None)
        stated = f"the slide does not state its pixel size{f': {reason}' if reason else ''}"
        raise SlideError(f"{path}: {stated}; give it (µm per pixel) as {name}")
    if not is_plausible(size):
        low, high = MPP_RANGE
        raise SlideError(
            f"{path}: {size.mpp:.5g} µm per pixel ({size.source}) is implausible; give the true one, "
            f"between {low} and {high:.0f}, as {name}"
        )
    if abs(size.x - size.y) > 0.02 * size.mpp:
        raise SlideError(
            f"{path}: pixels are {size.x:.5g} x {size.y:.5g} µm ({size.source}), not square; "
            f"resample the slide, or give one size as {name}"
        )
    return size
