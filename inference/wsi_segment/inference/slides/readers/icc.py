"""Colours as the scanner's ICC profile means them."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from wsi_segment.errors import SlideError
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.slides.slide import Slide


class ColourManaged(Slide):
    """A slide whose pixels are brought from its ICC profile to sRGB, relative colorimetric."""

    def __init__(self, slide: Slide) -> None:
        """Wrap a slide that has a profile.

        Raises:
            SlideError: it has none, or one that cannot be applied.
        """
        if slide.icc_profile is None:
            raise SlideError("the slide holds no ICC profile; leave `apply_icc` out")
        self.reader = slide.reader
        self.levels, self.bounds = slide.levels, slide.bounds
        self.pixel_size, self.doubts = slide.pixel_size, slide.doubts
        self.icc_profile: bytes | None = slide.icc_profile
        self._slide = slide
        try:
            self._transform = ImageCms.buildTransform(
                ImageCms.ImageCmsProfile(io.BytesIO(slide.icc_profile)),
                ImageCms.createProfile("sRGB"),
                "RGB",
                "RGB",
                renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            )
        except (ImageCms.PyCMSError, OSError) as error:
            raise SlideError(f"the slide's ICC profile cannot be applied: {error}; leave `apply_icc` out") from error

    def read(self, level: int, l_box: Box) -> NDArray[np.uint8]:
        """See :class:`wsi_segment.inference.slides.slide.Slide`."""
        image = Image.fromarray(self._slide.read(level, l_box))
        return np.asarray(ImageCms.applyTransform(image, self._transform))

    def fetch(self, level: int, l_boxes: Sequence[Box]) -> None:
        """See :class:`wsi_segment.inference.slides.slide.Slide`."""
        self._slide.fetch(level, l_boxes)

    def close(self) -> None:
        """See :class:`wsi_segment.inference.slides.slide.Slide`."""
        self._slide.close()
