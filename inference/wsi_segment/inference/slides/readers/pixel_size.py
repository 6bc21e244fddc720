"""Pixel sizes as files state them: units, the order of statements, and where two of them differ.

A statement is a :class:`~wsi_segment.inference.slides.slide.PixelSize`: µm per level-0 pixel and who says so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from wsi_segment.inference.slides.doubt import Doubt
from wsi_segment.inference.slides.slide import PixelSize, is_plausible

MICRONS = {
    "m": 1e6, "dm": 1e5, "cm": 1e4, "mm": 1e3, "µm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0,
    "nm": 1e-3, "Å": 1e-4, "pm": 1e-6, "in": 25_400.0, "inch": 25_400.0, "inches": 25_400.0, "ft": 304_800.0,
    "thou": 25.4, "pt": 25_400 / 72, "li": 25_400 / 12,
}  # fmt: skip
"""µm per unit of OME-XML's ``UnitsLength`` (2016-06 schema) and of ImageJ's ``unit``."""

_RESOLUTION_UNITS = {2: 25_400.0, 3: 10_000.0, 4: 1_000.0, 5: 1.0}
"""µm per TIFF ResolutionUnit: inch and centimetre of TIFF 6.0, millimetre and micrometre as tifffile writes them."""

_FINEST = 0.08
"""µm per pixel below which no scanner's objective reaches, whereas a tenth of the usual 0.5 does."""
_SAID, _DOUBTED = 0.02, 0.10
"""From what relative difference on two statements are both named, and doubted."""
_POWER_DOUBTED = 0.4
"""The same for an objective power, which fits a pixel size only roughly: 20x scanners have 0.45 to 0.55 µm."""

_REGION = re.compile(r"\[-?\d+,-?\d+ (\d+)x(\d+)\]")
"""What was scanned of the glass, in an Aperio description."""
_RESIZED, _PROPORTIONS = 0.05, 0.01
"""From what relative difference on a picture was resized, and up to which one it kept its proportions."""

OME_SIZE = "OME-XML PhysicalSize"
"""Source where both sides are stated."""
POWER = "10 / objective power (approximate)"
IMAGEJ = "ImageJ resolution"
APERIO, OPENSLIDE = "aperio.MPP", "openslide.mpp-x/y"
_DESCRIBED = (APERIO, OPENSLIDE, POWER)
"""Sources that come from the description, where it is Aperio's."""


def number(text: object) -> float | None:
    """Read a positive finite number, with a decimal comma too, as OpenSlide does; None for anything else.

    >>> number("0,2527"), number("0.5"), number("wide"), number("-1")
    (0.2527, 0.5, None, None)
    """
    try:
        value = float(str(text).strip().replace(",", "."))
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def microns(value: object, unit: str) -> float | None:
    """Convert a length to µm; None where the value or the unit is not known.

    Both code points of µ (U+00B5, U+03BC) and of Å (U+00C5, U+212B) mean the same.

    >>> microns("500", "nm"), microns("0.5", "\u03bcm"), microns("1", "pixel")
    (0.5, 0.5, None)
    """
    plain = (
        unit.strip().replace("\\u00B5", "µ").replace("\\u00b5", "µ").replace("\u03bc", "µ").replace("\u212b", "\u00c5")
    )
    scale = MICRONS.get(plain.lower() if len(plain) > 2 else plain)  # Mm and Pm are not mm and pm
    length = number(value)
    return None if scale is None or length is None else length * scale


def from_power(power: object) -> PixelSize | None:
    """Estimate the pixel size from the objective: 0.5 µm at 20x."""
    value = number(power)
    return None if value is None else PixelSize(10 / value, 10 / value, POWER)


def from_ome(pixels: Any) -> PixelSize | None:
    """Read PhysicalSizeX and Y of a ``Pixels`` element of OME-XML; the unit is µm where none is stated.

    Where one of them stands alone it counts for both.
    """
    sizes = [
        microns(pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "µm")) for axis in ("X", "Y")
    ]
    across, down = sizes
    if across is None or down is None:
        axis, one = ("X", across) if down is None else ("Y", down)
        return None if one is None else PixelSize(one, one, f"{OME_SIZE}{axis}")
    return PixelSize(across, down, OME_SIZE)


def from_aperio(description: str) -> list[PixelSize]:
    """Read ``MPP`` and ``AppMag`` of the description that Aperio's scanners write."""
    if not description.startswith("Aperio"):
        return []
    fields = dict(re.findall(r"\|\s*(\w+)\s*=\s*([^|]*)", description))
    mpp = number(fields.get("MPP"))
    stated = None if mpp is None else PixelSize(mpp, mpp, APERIO)
    return [size for size in (stated, from_power(fields.get("AppMag"))) if size is not None]


def of_these_pixels(
    statements: Sequence[PixelSize], description: str, width: int, height: int
) -> tuple[list[PixelSize], tuple[Doubt, ...]]:
    """Leave out what an Aperio description states of a picture that is larger or smaller than the one it stands in.

    Programs that reduce a slide like to keep its description, whose first brackets name the pixels that it is about:
    ``46920x33014 [0,100 46000x32914] (240x240)``. A picture of other proportions was cut out, which changes no pixel.

    Args:
        statements: In the order in which they count.
        description: Of the picture; not of Aperio, or without brackets, it leaves nothing out.
        width: Of the picture, as ``height``.
        height: See ``width``.

    Returns:
        The statements that remain, and a doubt where one does not.
    """
    stated = _REGION.search(description.partition(";")[0]) if description.startswith("Aperio") else None
    own = [one for one in statements if one.source not in _DESCRIBED]
    if stated is None or len(own) == len(statements):
        return list(statements), ()
    across, down = int(stated[1]) / width, int(stated[2]) / height
    if abs(across - 1) <= _RESIZED or abs(across / down - 1) > _PROPORTIONS:
        return list(statements), ()
    said = next(one for one in statements if one.source in _DESCRIBED)
    message = (
        f"{said.mpp:.4g} µm per pixel ({said.source}) is not used: it is stated of a picture of {stated[1]} x "
        f"{stated[2]} px, and this one has {width} x {height}"
    )
    return own, (Doubt("pixel-size-differs", message),)


def from_tags(page: Any, description: str) -> PixelSize | None:
    """Read the resolution tags of a TIFF page; ImageJ keeps their unit in the description."""
    ratios = [page.tags.valueof(name) for name in ("XResolution", "YResolution")]
    try:
        across, down = (float(Fraction(*ratio)) for ratio in ratios)
        unit_number = int(page.tags.valueof("ResolutionUnit", 2))
    except (TypeError, ValueError, ZeroDivisionError):  # damaged values, or of another type than TIFF asks for
        return None
    if not (across > 0 and down > 0):
        return None
    source, scale = "TIFF resolution", _RESOLUTION_UNITS.get(unit_number)
    if description.startswith("ImageJ=") and (unit := re.search(r"^unit=(.*)$", description, re.MULTILINE)):
        source, scale = IMAGEJ, microns(1, unit[1])
    return None if scale is None else PixelSize(scale / across, scale / down, source)


def decide(statements: Sequence[PixelSize]) -> tuple[PixelSize | None, tuple[Doubt, ...]]:
    """Take the first statement, and name those that say something else.

    Args:
        statements: In the order in which they count.

    Returns:
        The first one, whose source names others of both axes that differ by more than 2 %; and a doubt for each that
        differs by more than 10 %, or is finer than scanners give, or what programs write that know none. Implausible
        ones after the first (a 72-dpi tag) state nothing.
    """
    if not statements:
        return None, ()
    first, differing, doubts = statements[0], [], []
    if is_plausible(first) and first.mpp < _FINEST:
        doubts.append(
            Doubt(
                "pixel-size-differs",
                f"{first.mpp:.4g} µm per pixel (from {first.source}) is finer than what slide scanners give, and some "
                f"programs write a tenth of the true size; where that is {10 * first.mpp:.4g} give it as `mpp`",
            )
        )
    if (first.x, first.y) == (1.0, 1.0) and first.source in (OME_SIZE, IMAGEJ):
        doubts.append(
            Doubt(
                "pixel-size-differs",
                f"1 µm per pixel (from {first.source}) is also what programs write that know no pixel size; give the "
                "true one as `mpp`, 1 if that is right",
            )
        )
    for other in statements[1:]:
        apart = max(abs(other.x / first.x - 1), abs(other.y / first.y - 1))
        is_rough = other.source == POWER
        if not is_plausible(other) or apart <= (_POWER_DOUBTED if is_rough else _SAID):
            continue
        said = f"{other.source}: {other.mpp:.4g} µm"
        if not other.source.startswith(OME_SIZE) or other.source == OME_SIZE:  # one axis is half a statement
            differing.append(said)
        if apart > (_POWER_DOUBTED if is_rough else _DOUBTED):
            doubts.append(
                Doubt(
                    "pixel-size-differs",
                    f"{first.mpp:.4g} µm per pixel is used (from {first.source}), {other.source} says "
                    f"{other.mpp:.4g}; where that is right give it as `mpp`",
                )
            )
    source = f"{first.source} (differs from {', '.join(differing)})" if differing else first.source
    return PixelSize(first.x, first.y, source), tuple(doubts)
