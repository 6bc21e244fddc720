"""A picture of a slide with its mask over it, a legend with areas, and a scale bar."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from wsi_segment.inference.grid.box import Box, ceil_div
from wsi_segment.inference.mask.mask import Mask
from wsi_segment.inference.mask.summary import ClassArea
from wsi_segment.inference.places.sites import writing
from wsi_segment.inference.slides.frame import mask_frame
from wsi_segment.inference.slides.pixels import PixelSource, read_whole
from wsi_segment.inference.slides.readers.scaled import with_scaled_levels
from wsi_segment.inference.slides.slide import Slide
from wsi_segment.model.card import ModelCard

LONGEST_SIDE = 1400
"""Longest side of the slide's picture, in pixels."""

_FILL, _OUTLINE = 0.35, 0.9
"""Opacity of a class's colour inside and on its border."""
_LEGEND_WIDTH, _MARGIN, _ROW, _LINE, _TEXT = 330, 16, 26, 20, 15
_INK, _FAINT, _PAPER, _WARNING = (25, 25, 25), (120, 120, 120), (255, 255, 255), (176, 0, 0)


def write_preview(
    path: Path, slide: Slide, slide_mpp: float, store: Path | Mask, card: ModelCard, areas: tuple[ClassArea, ...]
) -> None:
    """Draw a finished mask over its slide into a PNG; warnings stand beside it, and squares that they mean are framed.

    Args:
        path: The picture to write.
        slide: The mask's slide.
        slide_mpp: µm per level-0 pixel that the mask was made with.
        store: The finished mask, or where it is.
        card: Classes and colours.
        areas: For the legend, in card order.

    Memory bound:
        A few pictures of the size of the result.
    """
    slide = with_scaled_levels(slide)
    frame = mask_frame(slide, slide_mpp, card.mpp)
    factor = max(1, ceil_div(max(frame.width, frame.height), LONGEST_SIDE))
    coarse = frame.coarser(slide, factor) if factor > 1 else frame
    pixels = read_whole(PixelSource(slide, coarse))
    mask = store if isinstance(store, Mask) else Mask.open(store)
    ids = read_class_map(mask, coarse.height, coarse.width, factor)
    picture = Image.fromarray(overlay(pixels, ids, card))
    _frame_unlike(ImageDraw.Draw(picture), mask.provenance, coarse.downsample)
    mpp = slide_mpp * coarse.downsample
    warnings = _wrapped([warning["message"] for warning in mask.provenance.get("warnings", [])])
    height = max(picture.height, _legend_height(card) + _LINE * len(warnings))
    canvas = Image.new("RGB", (picture.width + _LEGEND_WIDTH, height), _PAPER)
    canvas.paste(picture, (0, 0))
    draw_scale_bar(ImageDraw.Draw(canvas), picture.width, picture.height, mpp)
    _draw_legend(ImageDraw.Draw(canvas), picture.width + _MARGIN, card, areas, warnings=warnings)
    with writing(path, shared=True) as file:
        canvas.save(file, format="PNG", optimize=True)


def read_class_map(mask: Mask, height: int, width: int, factor: int) -> NDArray[np.uint8]:
    """Return class ids (height, width) of every ``factor``-th mask pixel, from the nearest finer level."""
    level = min(int(math.log2(factor)), len(mask.levels) - 1)
    ids = mask.read(level, Box(0, 0, mask.levels[level].width, mask.levels[level].height))
    step = factor / 2**level
    rows = np.minimum(((np.arange(height) + 0.5) * step).astype(np.int64), ids.shape[0] - 1)
    columns = np.minimum(((np.arange(width) + 0.5) * step).astype(np.int64), ids.shape[1] - 1)
    return ids[np.ix_(rows, columns)]


def overlay(pixels: NDArray[np.uint8], ids: NDArray[np.uint8], card: ModelCard) -> NDArray[np.uint8]:
    """Return RGB pixels (h, w, 3) with classes in their colours, their borders stronger."""
    palette = np.array([(0, 0, 0), *(entry.color for entry in card.classes)], np.float32)
    border = ids != np.asarray(Image.fromarray(ids).filter(ImageFilter.MinFilter(3)))
    opacity = np.where(ids == 0, 0.0, np.where(border, _OUTLINE, _FILL)).astype(np.float32)[..., None]
    mixed = pixels * (1 - opacity) + palette[ids] * opacity
    return np.rint(mixed).astype(np.uint8)


def scale_bar_length(width_um: float) -> float:
    """Return the largest 1, 2 or 5 times a power of ten µm that is at most a quarter of a width.

    >>> scale_bar_length(5000)
    1000.0
    """
    power = 10.0 ** math.floor(math.log10(width_um / 4))
    return max(factor * power for factor in (1, 2, 5) if factor * power <= width_um / 4)


def draw_scale_bar(draw: ImageDraw.ImageDraw, width: int, height: int, mpp: float) -> None:
    """Draw a scale bar into the lower right corner of a picture of some width and height, `mpp` µm per pixel."""
    length = scale_bar_length(width * mpp)
    text = f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} um"  # the font has no µ
    x1, y1 = width - _MARGIN, height - _MARGIN
    x0 = x1 - round(length / mpp)
    font = ImageFont.load_default(_TEXT)
    box_left = min(x0, round((x0 + x1 - draw.textlength(text, font)) / 2))
    draw.rectangle((box_left - 8, y1 - 34, width - box_left + x0 if box_left < x0 else x1 + 8, y1 + 8), fill=_PAPER)
    draw.rectangle((x0, y1 - 6, x1, y1), fill=_INK)
    draw.text(((x0 + x1) / 2, y1 - 10), text, fill=_INK, font=font, anchor="ms")


def _legend_height(card: ModelCard) -> int:
    return 2 * _MARGIN + _ROW * (len(card.classes) + 5)


def _wrapped(messages: list[str]) -> list[str]:
    """Return lines that fit the legend; the font has no µ."""
    font = ImageFont.load_default(_TEXT)
    lines: list[str] = []
    for message in messages:
        line = ""
        for word in message.replace("µm", "um").split():
            longer = f"{line} {word}".strip()
            if line and font.getlength(longer) > _LEGEND_WIDTH - 2 * _MARGIN:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return lines


def _frame_unlike(draw: ImageDraw.ImageDraw, provenance: dict[str, Any], downsample: float) -> None:
    """Frame the squares that are unlike the training images, where others are like them."""
    squares = provenance.get("applicability", {}).get("regions", [])
    unlike = [square for square in squares if square["unlike"]]
    if len(unlike) == len(squares):
        return
    for square in unlike:
        x0, y0 = square["x"] / downsample, square["y"] / downsample
        side = square["side"] / downsample - 3
        draw.rectangle((x0 + 1, y0 + 1, x0 + side, y0 + side), outline=_WARNING, width=2)


def area_text(area: ClassArea) -> str:
    """Write an area with three digits that count, never with an exponent, and its share."""
    mm2 = np.format_float_positional(area.area_mm2, precision=3, fractional=False, trim="-")
    return f"{mm2}, {area.percent_of_tissue:.1f} %"


def _draw_legend(
    draw: ImageDraw.ImageDraw, x: int, card: ModelCard, areas: tuple[ClassArea, ...], warnings: list[str]
) -> None:
    title, font = ImageFont.load_default(_TEXT + 4), ImageFont.load_default(_TEXT)
    y = _MARGIN
    draw.text((x, y), f"{card.name} {card.version}", fill=_INK, font=title)
    y += round(1.4 * _ROW)
    right = x + _LEGEND_WIDTH - 2 * _MARGIN
    draw.text((right, y), "mm2, % of tissue", fill=_FAINT, font=font, anchor="ra")
    y += _ROW
    for entry, area in zip(card.classes, areas, strict=True):
        draw.rectangle((x, y, x + 18, y + 18), fill=entry.color, outline=_INK)
        draw.text((x + 26, y), entry.name, fill=_INK, font=font)
        draw.text((right, y), area_text(area), fill=_INK, font=font, anchor="ra")
        y += _ROW
    draw.text((x, y + _ROW // 2), "Research only, not for diagnosis.", fill=_FAINT, font=font)
    y += 2 * _ROW
    for line in warnings:
        draw.text((x, y), line, fill=_WARNING, font=font)
        y += _LINE
