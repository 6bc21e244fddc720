from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthetic import tissue_like
from wsi_segment.errors import SlideError
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.slides.frame import mask_frame
from wsi_segment.inference.slides.pixels import PixelSource, read_whole
from wsi_segment.inference.slides.readers.image import ImageSlide

PIXELS = tissue_like(300, 420, seed=3)


def source(ratio: float) -> PixelSource:
    slide = ImageSlide(PIXELS)
    return PixelSource(slide, mask_frame(slide, 1.0, ratio))


@pytest.mark.parametrize("ratio", [1.0, 2.0, 1.37, 0.8, 3.46])
@given(data=st.data())
def test_a_pixel_is_the_same_whatever_box_is_read(ratio: float, data: st.DataObject) -> None:
    whole = source(ratio)
    frame = whole.frame
    full = whole.read(frame.box)
    x0, y0 = data.draw(st.integers(0, frame.width - 1)), data.draw(st.integers(0, frame.height - 1))
    box = Box(x0, y0, data.draw(st.integers(x0 + 1, frame.width)), data.draw(st.integers(y0 + 1, frame.height)))
    np.testing.assert_array_equal(whole.read(box), full[box.y0 : box.y1, box.x0 : box.x1])


def test_whole_ratio_is_the_mean_of_its_pixels() -> None:
    found = source(2.0).read(Box(0, 0, 210, 150)).astype(int)
    expected = PIXELS.reshape(150, 2, 210, 2, 3).mean(axis=(1, 3))
    assert np.abs(found - expected).max() <= 0.5


def test_fractional_ratio_follows_the_slide() -> None:
    ramp = np.repeat(np.arange(250, dtype=np.uint8)[None, :, None], 60, axis=0).repeat(3, axis=2)
    slide = ImageSlide(ramp)
    found = PixelSource(slide, mask_frame(slide, 1.0, 1.3)).read(Box(10, 5, 150, 20))[0, :, 0]
    centres = (np.arange(10, 150) + 0.5) * 1.3 - 0.5
    assert np.abs(found - centres).max() <= 0.6


def test_outside_of_the_mask_is_white() -> None:
    pixels = source(1.0).read(Box(-5, -5, 10, 10))
    assert (pixels[:5] == 255).all()
    assert (pixels[:, :5] == 255).all()
    np.testing.assert_array_equal(pixels[5:, 5:], PIXELS[:10, :10])
    assert (source(1.0).read(Box(5000, 5000, 5010, 5010)) == 255).all()


def test_a_ratio_near_a_whole_one_snaps() -> None:
    slide = ImageSlide(PIXELS)
    assert mask_frame(slide, 0.499, 1.0).downsample == 2.0
    assert mask_frame(slide, 0.252, 1.0).downsample == 4.0
    assert mask_frame(slide, 0.35, 1.0).downsample == pytest.approx(1 / 0.35)


def test_too_coarse_a_slide_is_refused_with_the_numbers() -> None:
    with pytest.raises(SlideError, match=r"2 µm per pixel, the model needs 1: too coarse by a factor of 2.0"):
        mask_frame(ImageSlide(PIXELS), 2.0, 1.0)


def test_reading_in_bands_equals_reading_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsi_segment.inference.slides.pixels._BAND_PIXELS", 5000)
    banded = source(2.0)
    np.testing.assert_array_equal(read_whole(banded), banded.read(banded.frame.box))
