"""What a made file shows, and whether a reader shows that.

A file is right where its slide has the picture and the pixel size that were written, at every level, and refused where
a :class:`~wsi_segment.errors.WsiSegmentError` says so at any time before the pixels are handed over. Anything else is
wrong: it would become a mask of something else without a word.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsi_segment.errors import WsiSegmentError
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.slides.location import slide_location
from wsi_segment.inference.slides.open import open_slide
from wsi_segment.inference.slides.slide import Slide, pixel_size_of
from wsi_segment.inference.slides.slide_files import slide_files

LOSSLESS = 0.0
LOSSY = 4.0
"""Mean difference in grey levels that JPEG, JPEG 2000, WebP and the like may leave on :func:`scene`."""
REDUCED = 8.0
"""The same between a coarser level and the mean of level 0: writers and readers round the sizes of levels."""
OFF = 0.01
"""Relative difference of pixel sizes that rounding in tags explains."""

Verdict = Literal["right", "refused", "wrong"]


@dataclass(frozen=True, slots=True)
class Expected:
    """What was written."""

    pixels: NDArray[np.uint8]
    """RGB (height, width, 3) as a viewer shows level 0."""
    mpp: tuple[float, float] | None
    """µm per pixel along x and y as shown; None where the file states none."""
    tolerance: float = LOSSLESS
    must_open: bool = False
    """Whether a refusal would be a defect too: the everyday files."""
    below: NDArray[np.uint8] | None = None
    """RGB like ``pixels``, of which the coarser levels were made where tiles are left out or moved in level 0 alone."""
    files: frozenset[Path] = frozenset()
    """All files of the slide and no other, where that is to be compared."""
    doubts: frozenset[str] = frozenset()
    """Codes of the warnings that must be given if it is opened."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one file."""

    verdict: Verdict
    why: str


def scene(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Return a smooth picture, RGB (height, width, 3), that no turn, flip or swap of colours leaves alike."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    phase, wave = rng.random(3) * 6, 19 + 25 * rng.random(3)  # of pictures of two seeds nothing lies in the same place
    red = 60 + 160 * x / width + 18 * np.sin(y / wave[0] + phase[0])
    green = 200 - 150 * y / height + 14 * np.sin(x / wave[1] + phase[1])
    blue = 120 + 90 * np.sin((2 * x + y) / (2 * wave[2]) + phase[2])
    pixels = np.stack([red, green, blue], axis=-1)[..., rng.permutation(3)]
    for top, left in rng.random((6, 2)):
        rows, columns = int(top * height * 0.9), int(left * width * 0.9)
        pixels[rows : rows + height // 12, columns : columns + width // 14] = rng.integers(0, 256, 3)
    clipped: NDArray[np.uint8] = np.clip(pixels, 0, 255).astype(np.uint8)
    return clipped


def reduced(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Return a picture of another size, each pixel the mean of what it covers."""
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX))


def difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Return the larger of the mean difference and, scaled, that of the worst 32 x 32 block: one bad tile counts."""
    if one.shape != other.shape:
        return 255.0
    off = np.abs(one.astype(np.int16) - other).mean(axis=2)
    height, width = off.shape[0] // 32 * 32, off.shape[1] // 32 * 32
    if not height or not width:
        return float(off.mean())
    blocks = off[:height, :width].reshape(height // 32, 32, width // 32, 32).mean(axis=(1, 3))
    return max(float(off.mean()), float(blocks.max()) / 4)


def judge(path: Path | str, expected: Expected, open_it: Callable[[Path], Slide] = open_slide) -> Outcome:
    """Open a file, read every level whole and in a part, and compare with what was written.

    Args:
        path: The file, a DICOM folder or an address.
        expected: What was written.
        open_it: Opens a slide.
    """
    try:
        slide = open_it(slide_location(str(path)))
    except WsiSegmentError as error:
        return _refusal(error, expected)
    try:
        if slide.pixel_size is not None or expected.mpp is not None:  # one that is missed is asked for, which is a line
            pixel_size_of(slide, Path("made"), None)
        wrong = (
            _wrong_pixel_size(slide, expected)
            or _wrong_pixels(slide, expected)
            or _missing_doubt(slide, expected)
            or _wrong_files(path, expected)
        )
    except WsiSegmentError as error:
        return _refusal(error, expected)
    finally:
        slide.close()
    return Outcome("wrong", f"{wrong}, read by {slide.reader}") if wrong else Outcome("right", slide.reader)


def _refusal(error: WsiSegmentError, expected: Expected) -> Outcome:
    if expected.must_open:
        return Outcome("wrong", f"an everyday file is refused: {error}")
    return Outcome("refused", str(error))


def _wrong_pixel_size(slide: Slide, expected: Expected) -> str:
    found, stated = slide.pixel_size, expected.mpp
    if found is None or stated is None:
        return "" if found is None and stated is None else f"pixel size {found}, written {stated}"
    off = max(abs(found.x / stated[0] - 1), abs(found.y / stated[1] - 1))
    approximate = "approximate" in found.source
    return f"pixel size {found}, written {stated}" if off > (0.1 if approximate else OFF) else ""


def _wrong_pixels(slide: Slide, expected: Expected) -> str:
    height, width = expected.pixels.shape[:2]
    if (slide.levels[0].width, slide.levels[0].height) != (width, height):
        return f"level 0 has {slide.levels[0].width} x {slide.levels[0].height} px, written {width} x {height}"
    # a level shows what was written into it, or has the holes of level 0, as OpenSlide makes them for Aperio
    coarse = [expected.pixels] if expected.below is None else [expected.below, expected.pixels]
    outside = expected.pixels.copy()
    outside[slide.bounds.y0 : slide.bounds.y1, slide.bounds.x0 : slide.bounds.x1] = 255
    if (outside != 255).any():
        return f"bounds {slide.bounds} leave out what was scanned"
    for index, level in enumerate(slide.levels):
        if abs(level.width * level.downsample - width) > 1.5 * level.downsample:  # writers round sizes up or down
            return f"level {index} of {level.width} px has downsample {level.downsample}"
        pixels = slide.read(index, Box(0, 0, level.width, level.height))
        truths = [expected.pixels] if not index else [reduced(one, level.width, level.height) for one in coarse]
        off = min(difference(pixels, truth) for truth in truths)
        limit = expected.tolerance + (REDUCED if index else 0)
        if off > limit:
            return f"level {index} differs by {off:.1f}, {limit} allowed"
    return ""


def _wrong_files(path: Path | str, expected: Expected) -> str:
    found = frozenset(slide_files(Path(path))) if expected.files else frozenset()
    return "" if found == expected.files else f"made of {sorted(file.name for file in found)}"


def _missing_doubt(slide: Slide, expected: Expected) -> str:
    given = {doubt.code for doubt in getattr(slide, "doubts", ())}
    missing = expected.doubts - given
    return f"no word about {', '.join(sorted(missing))}" if missing else ""
