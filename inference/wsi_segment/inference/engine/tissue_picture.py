"""A picture of the tissue that would be analysed: outlined, with the glass around it greyed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from wsi_segment.inference.engine.morphology import shrunk
from wsi_segment.inference.engine.tissue import find_tissue
from wsi_segment.inference.grid.box import ceil_div
from wsi_segment.inference.mask.preview import LONGEST_SIDE, draw_scale_bar
from wsi_segment.inference.places.sites import writing
from wsi_segment.inference.progress import no_step
from wsi_segment.inference.slides.frame import mask_frame
from wsi_segment.inference.slides.pixels import PixelSource, read_whole
from wsi_segment.inference.slides.readers.scaled import with_scaled_levels
from wsi_segment.inference.slides.slide import Slide

_OUTLINE = (0, 140, 70)
_GLASS = 0.35
"""Share of its colour that glass keeps; the rest is grey."""
_GREY = 235
_FOOT = 34
"""Height of the line of text below the picture, in pixels."""


def write_tissue_picture(path: Path, slide: Slide, slide_mpp: float, mask_mpp: float) -> float:
    """Draw the tissue that a run would find into a PNG.

    Args:
        path: The picture to write.
        slide: An open slide.
        slide_mpp: µm per level-0 pixel.
        mask_mpp: µm per pixel that the model works at; cells of tissue are counted on its grid.

    Returns:
        Share of the scanned area that is tissue, 0 to 1.

    Raises:
        SlideError: the slide is too coarse for that scale, or cannot be read.
        OSError: the picture cannot be written.

    Memory bound:
        That of :func:`~wsi_segment.inference.engine.tissue.find_tissue`, and a few pictures of the size of the result.
    """
    slide = with_scaled_levels(slide)
    frame = mask_frame(slide, slide_mpp, mask_mpp)
    tissue = find_tissue(slide, frame, mask_mpp=slide_mpp * frame.downsample, method="otsu", step=no_step)
    factor = max(1, ceil_div(max(frame.width, frame.height), LONGEST_SIDE))
    coarse = frame.coarser(slide, factor) if factor > 1 else frame
    pixels = read_whole(PixelSource(slide, coarse))
    rows, columns = (
        np.minimum(((np.arange(count) + 0.5) * factor / tissue.cell).astype(int), cells - 1)
        for count, cells in zip(pixels.shape[:2], tissue.cells.shape, strict=True)
    )
    inside = tissue.cells[np.ix_(rows, columns)]
    shown = np.where(inside[..., None], pixels, (pixels * _GLASS + _GREY * (1 - _GLASS)).astype(np.uint8))
    shown[inside ^ shrunk(inside, 2)] = _OUTLINE
    picture = Image.fromarray(shown)
    canvas = Image.new("RGB", (max(picture.width, 420), picture.height + _FOOT), (255, 255, 255))
    canvas.paste(picture, (0, 0))
    draw = ImageDraw.Draw(canvas)
    draw_scale_bar(draw, picture.width, picture.height, slide_mpp * coarse.downsample)
    share = tissue.share
    area = share * slide.bounds.width * slide.bounds.height * slide_mpp**2 / 1e6
    text = f"tissue: {area:.2f} square mm, {100 * share:.0f} % of what was scanned"
    draw.text((8, picture.height + 8), text, (25, 25, 25), font=ImageFont.load_default(15))
    with writing(path) as file:
        canvas.save(file, format="PNG", optimize=True)
    return share
