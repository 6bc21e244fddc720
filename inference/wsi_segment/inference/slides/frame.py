"""The mask's pixel grid: where each mask pixel lies on the slide, and which level it is read from."""

from __future__ import annotations

import math
from dataclasses import dataclass

from wsi_segment.errors import SlideError
from wsi_segment.inference.grid.box import Box, ceil_div
from wsi_segment.inference.slides.slide import Slide

SNAP_TOLERANCE = 0.05
"""A whole number of level pixels this close to the model's mpp is used as it is: the network does not notice 5 % of
scale, and whole pixels need no interpolation."""

COARSE_LIMIT = 1.5
"""A slide coarser than the model by more than this factor holds too little detail to be segmented."""


@dataclass(frozen=True, slots=True)
class MaskFrame:
    """Mask pixel i covers level-0 pixels ``origin + i * downsample`` to ``origin + (i + 1) * downsample``."""

    s_x0: float
    s_y0: float
    downsample: float
    """Level-0 pixels per mask pixel."""
    width: int
    height: int
    """Size of the mask in mask pixels; the last ones may reach over the slide's edge."""
    level: int
    """Slide level that pixels are read from."""
    l_x0: int
    l_y0: int
    """The origin in pixels of that level."""
    ratio: float
    """Level pixels per mask pixel."""

    @property
    def box(self) -> Box:
        """The whole mask."""
        return Box(0, 0, self.width, self.height)

    def coarser(self, slide: Slide, factor: int) -> MaskFrame:
        """Return the frame with the same origin whose pixels are ``factor`` x ``factor`` of these."""
        downsample = self.downsample * factor
        level = _level_for(slide, downsample)
        return _frame_at(
            slide,
            level,
            downsample=downsample,
            s_x0=self.s_x0,
            s_y0=self.s_y0,
            width=ceil_div(self.width, factor),
            height=ceil_div(self.height, factor),
        )


def mask_frame(slide: Slide, slide_mpp: float, model_mpp: float) -> MaskFrame:
    """Return the frame of a slide's mask at a model's mpp.

    The coarsest level that is fine enough is read; a level's pixel is never enlarged unless the
    slide itself is coarser than the model.

    Args:
        slide: Its levels and bounds are read.
        slide_mpp: µm per level-0 pixel.
        model_mpp: µm per pixel that the network was trained at.

    Raises:
        SlideError: the slide is too coarse for the model.
    """
    wanted = model_mpp / slide_mpp
    if wanted * COARSE_LIMIT < 1:
        raise SlideError(
            f"the slide has {slide_mpp:.4g} µm per pixel, the model needs {model_mpp:.4g}: too coarse by a factor of "
            f"{1 / wanted:.1f} (at most {COARSE_LIMIT}); scan at a higher magnification, choose another "
            "model, or give the true pixel size as `mpp`"
        )
    level = _level_for(slide, wanted * (1 + SNAP_TOLERANCE))
    step = slide.levels[level].downsample
    whole = max(1, round(wanted / step)) * step
    downsample = whole if abs(whole / wanted - 1) <= SNAP_TOLERANCE else wanted
    # the origin is a whole pixel of the level that is read, at most half a pixel off the bounds
    s_x0, s_y0 = round(slide.bounds.x0 / step) * step, round(slide.bounds.y0 / step) * step
    width = max(1, math.ceil((slide.bounds.x1 - s_x0) / downsample - 1e-9))
    height = max(1, math.ceil((slide.bounds.y1 - s_y0) / downsample - 1e-9))
    return _frame_at(slide, level, downsample=downsample, s_x0=s_x0, s_y0=s_y0, width=width, height=height)


def _level_for(slide: Slide, downsample: float) -> int:
    """Return the coarsest level that is not coarser than a downsample; level 0 where all are."""
    fine = [i for i, level in enumerate(slide.levels) if level.downsample <= downsample]
    return max(fine, key=lambda i: slide.levels[i].downsample, default=0)


def _frame_at(
    slide: Slide, level: int, downsample: float, s_x0: float, s_y0: float, width: int, height: int
) -> MaskFrame:
    step = slide.levels[level].downsample
    return MaskFrame(
        s_x0=s_x0,
        s_y0=s_y0,
        downsample=downsample,
        width=width,
        height=height,
        level=level,
        l_x0=round(s_x0 / step),
        l_y0=round(s_y0 / step),
        ratio=downsample / step,
    )
