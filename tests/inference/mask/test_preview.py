from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthetic import ChannelNetwork, make_card, make_model, write_slide
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.inference.mask.preview import area_text, overlay, scale_bar_length, write_preview
from wsi_segment.inference.mask.summary import ClassArea
from wsi_segment.inference.slides.open import open_slide


@pytest.mark.parametrize("size", [900, 3000])
def test_overlay_lies_on_the_tissue(tmp_path: Path, size: int) -> None:
    pixels = np.full((size, size, 3), 250, np.uint8)
    pixels[size // 3 : size // 2, size // 3 : size // 2] = (210, 90, 120)
    path = write_slide(tmp_path / "s.tiff", pixels)
    summary = segment(path, make_model(), tmp_path / "m.zarr", SegmentOptions(), network=ChannelNetwork())
    slide = open_slide(path)
    write_preview(
        tmp_path / "p.png",
        slide,
        slide_mpp=summary.mpp,
        store=tmp_path / "m.zarr",
        card=make_card(),
        areas=summary.classes,
    )
    slide.close()
    picture = np.asarray(Image.open(tmp_path / "p.png")).astype(int)
    shown = 900 if size == 900 else 1000
    inside, outside = picture[int(shown * 0.42), int(shown * 0.42)], picture[shown // 8, shown // 8]
    np.testing.assert_allclose(inside, np.array([210, 90, 120]) * 0.65 + np.array([200, 0, 0]) * 0.35, atol=2)
    np.testing.assert_array_equal(outside, [250, 250, 250])
    assert picture.shape[1] > shown


def test_class_0_shows_the_slide() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    np.testing.assert_array_equal(overlay(pixels, np.zeros((20, 20), np.uint8), make_card()), pixels)


@pytest.mark.parametrize(("width", "length"), [(1108, 200), (40_000, 10_000), (3.9, 0.5), (8, 2)])
def test_scale_bar_is_a_round_length_of_at_most_a_quarter(width: float, length: float) -> None:
    assert scale_bar_length(width) == pytest.approx(length)


@pytest.mark.parametrize(
    ("mm2", "text"),
    [(0.000024, "0.000024"), (0.0, "0"), (0.012345, "0.0123"), (98.76, "98.8"), (1234.56, "1230")],
)
def test_areas_of_the_legend_are_read_without_an_exponent(mm2: float, text: str) -> None:
    assert area_text(ClassArea(id=2, name="n", pixels=1, area_mm2=mm2, percent_of_tissue=1.25)) == f"{text}, 1.2 %"
