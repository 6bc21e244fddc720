"""Images as another laboratory, scanner or file would show them, to measure how far a model carries.

Each shift changes one thing by a stated amount, so that a score against the amount is a curve, and 0.4 of the optical
density means the same to everybody.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsi_segment.errors import InputError

_Pixels = NDArray[np.uint8]

_GAUSSIAN_REACH = 4.0
"""Sigmas after which a Gaussian is cut off."""


@dataclass(frozen=True, slots=True)
class Shift:
    """One change of an image.

    >>> Shift("size", 0.5).apply(np.ones((8, 8), np.uint8), np.zeros((8, 8, 3), np.uint8))[0].shape
    (4, 4)
    """

    name: str
    """One of ``SHIFTS``."""
    amount: float
    """Factor, sigma in pixels, or quality, as the name has it."""

    def __post_init__(self) -> None:
        if self.name not in SHIFTS:
            raise InputError(f"shift {self.name!r} is unknown; choose one of: {', '.join(SHIFTS)}")
        low, high = SHIFTS[self.name].between
        if not low <= self.amount <= high:
            raise InputError(f"shift {self.name}={self.amount:g} is out of range; give {low:g} to {high:g}")

    def __str__(self) -> str:
        return f"{self.name} {self.amount:g}"

    def apply(self, truth: _Pixels, pixels: _Pixels) -> tuple[_Pixels, _Pixels]:
        """Return class ids (h, w) and RGB (h, w, 3) as they are after the change; only ``size`` changes h and w."""
        if self.name == "size":
            return _resized(truth, self.amount, Image.Resampling.NEAREST), _resized(
                pixels, self.amount, Image.Resampling.BICUBIC
            )
        return truth, SHIFTS[self.name].change(pixels, self.amount)


def density(pixels: _Pixels, factor: float) -> _Pixels:
    """Multiply the optical density, -log10((value + 1) / 256) of each channel, as a weaker or stronger stain has it.

    >>> density(np.full((1, 1, 3), 63, np.uint8), 0.5).tolist()  # a quarter of the light becomes half of it
    [[[127, 127, 127]]]

    Args:
        pixels: RGB (h, w, 3).
        factor: 1 changes nothing.
    """
    light = ((pixels.astype(np.float64) + 1) / 256) ** factor
    return np.rint(np.clip(light * 256 - 1, 0, 255)).astype(np.uint8)


def blur(pixels: _Pixels, sigma: float) -> _Pixels:
    """Blur by a Gaussian, as a slide out of focus is; edges are mirrored.

    Args:
        pixels: RGB (h, w, 3).
        sigma: Pixels.
    """
    reach = max(1, math.ceil(_GAUSSIAN_REACH * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    soft = pixels.astype(np.float64)
    for axis in (0, 1):
        padding = [(reach, reach) if a == axis else (0, 0) for a in range(3)]
        padded, length = np.pad(soft, padding, mode="symmetric"), soft.shape[axis]
        shifted = (padded.take(range(i, i + length), axis=axis) * weight for i, weight in enumerate(kernel))
        soft = np.sum(list(shifted), axis=0)
    return np.rint(soft).astype(np.uint8)


def jpeg(pixels: _Pixels, quality: float) -> _Pixels:
    """Compress as JPEG, colours at half resolution as scanners do.

    Args:
        pixels: RGB (h, w, 3).
        quality: 1 to 95, as Pillow counts it.
    """
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=round(quality), subsampling="4:2:0")
    return np.array(Image.open(file))


def brightness(pixels: _Pixels, factor: float) -> _Pixels:
    """Multiply all values, as a lamp or an exposure does.

    Args:
        pixels: RGB (h, w, 3).
        factor: 1 changes nothing.
    """
    return np.rint(np.clip(pixels.astype(np.float64) * factor, 0, 255)).astype(np.uint8)


def _resized(pixels: _Pixels, factor: float, resampling: Image.Resampling) -> _Pixels:
    """Enlarge (h, w) or (h, w, 3), while its stated pixel size stays: a wrong one, seen from the other side."""
    height, width = (max(1, round(side * factor)) for side in pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).resize((width, height), resampling))


@dataclass(frozen=True, slots=True)
class _Kind:
    title: str
    """With the unit, as an axis has it."""
    unchanged: float
    """The amount that changes nothing, where a curve begins."""
    standard: tuple[float, ...]
    """Amounts of a robustness report."""
    between: tuple[float, float]
    """The amounts that make sense."""
    change: Callable[[_Pixels, float], _Pixels] = lambda pixels, amount: pixels


SHIFTS: dict[str, _Kind] = {
    "density": _Kind("optical density, factor", 1, (0.4, 0.55, 0.7, 0.85, 1.2, 1.5), (0.05, 4), change=density),
    "blur": _Kind("blur, sigma in px", 0, (0.5, 1, 1.5, 2), (0.1, 20), change=blur),
    "jpeg": _Kind("JPEG quality", 100, (90, 70, 50, 30), (1, 95), change=jpeg),
    "brightness": _Kind("brightness, factor", 1, (0.7, 0.85, 1.15), (0.1, 4), change=brightness),
    "size": _Kind("size, factor", 1, (0.7, 0.85, 1.2, 1.5), (0.1, 4)),
}
"""What can be shifted; `size` resamples image and mask, as where a slide states a wrong pixel size."""


def standard_shifts() -> list[Shift]:
    """Return the shifts of a robustness report, in the order of its curves."""
    return [Shift(name, amount) for name, kind in SHIFTS.items() for amount in kind.standard]


def parse_shift(text: str) -> Shift:
    """Read a shift of the form NAME=AMOUNT.

    >>> parse_shift("blur=1.5")
    Shift(name='blur', amount=1.5)

    Raises:
        InputError: it has another form, an unknown name, or an amount out of range.
    """
    name, _, amount = text.partition("=")
    try:
        value = float(amount)
    except ValueError:
        raise InputError(f"`shift {text}`: give NAME=AMOUNT, such as density=0.4 or blur=1.5") from None
    return Shift(name, value)
