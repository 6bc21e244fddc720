from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_segment.inference.engine.tissue import TissueMask, find_tissue, tissue_of
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.slides.frame import mask_frame
from wsi_segment.inference.slides.open import open_slide

PINK, WHITE, GREEN_INK, BLACK = (200, 130, 180), (243, 243, 242), (40, 150, 80), (20, 20, 20)


def picture() -> np.ndarray:
    rng = np.random.default_rng(0)
    pixels = np.full((120, 160, 3), WHITE, np.uint8)
    pixels[30:80, 40:90] = PINK
    noisy: np.ndarray = np.clip(pixels + rng.integers(-3, 4, pixels.shape), 0, 255).astype(np.uint8)
    return noisy


def test_tissue_is_found_where_it_is() -> None:
    tissue = tissue_of(picture(), mpp=16)
    assert tissue[32:78, 42:88].all()
    assert not tissue[:26].any()
    assert not tissue[:, 95:].any()


def test_white_slide_has_no_tissue() -> None:
    noise = np.random.default_rng(0).integers(-4, 5, (100, 100, 3))
    assert not tissue_of((240 + noise).astype(np.uint8), mpp=16).any()


TINTS = [(240, 236, 225), (225, 228, 240), (238, 230, 236), (215, 210, 200)]


@pytest.mark.parametrize("lamp", TINTS)
def test_white_slide_under_a_tinted_lamp_has_no_tissue_and_a_stained_one_has(lamp: tuple[int, int, int]) -> None:
    noise = np.random.default_rng(0).integers(-4, 5, (120, 160, 3))
    pixels = np.clip(lamp + noise, 0, 255).astype(np.uint8)
    assert not tissue_of(pixels, mpp=16).any()
    pixels[30:80, 40:90] = np.clip(np.array(lamp) * (235, 215, 230) / 243 + noise[:50, :50], 0, 255)
    tissue = tissue_of(pixels, mpp=16)
    assert tissue[32:78, 42:88].all()
    assert tissue.mean() < 0.17


def test_a_field_that_is_all_pale_tissue_is_tissue() -> None:
    noise = np.random.default_rng(0).integers(-8, 9, (60, 60, 3))
    assert tissue_of((np.array((232, 198, 220)) + noise).astype(np.uint8), mpp=16).all()


@pytest.mark.parametrize("ink", [(40, 150, 80), (40, 60, 170), (80, 180, 210), (150, 220, 170), BLACK])
def test_pen_marks_of_every_other_colour_than_stain_are_no_tissue(ink: tuple[int, int, int]) -> None:
    pixels = picture()
    pixels[90:110, 20:140] = ink
    tissue = tissue_of(pixels, mpp=16)
    assert not tissue[85:].any()  # nor are its blurred edges
    assert tissue[32:78, 42:88].all()


def test_pen_marks_and_dust_are_no_tissue() -> None:
    pixels = picture()
    pixels[90:110, 20:140] = GREEN_INK
    pixels[5:20, 5:20] = BLACK
    pixels[10, 100] = PINK
    tissue = tissue_of(pixels, mpp=16)
    assert not tissue[92:108, 25:135].any()
    assert not tissue[:22].any()
    assert tissue[32:78, 42:88].all()


def test_pale_tissue_is_found() -> None:
    pixels = np.full((120, 160, 3), WHITE, np.uint8)
    pixels[30:80, 40:90] = (235, 215, 230)
    assert tissue_of(pixels, mpp=16)[32:78, 42:88].all()


@given(st.data())
def test_windows_with_tissue_are_those_that_touch_a_cell(data: st.DataObject) -> None:
    seed = data.draw(st.integers(0, 1000))
    cells = np.random.default_rng(seed).random((9, 7)) < 0.1
    mask = TissueMask.of(cells, 16)
    starts = np.arange(0, 160, 24)
    found = mask.windows_with_tissue(starts, starts, 48)
    full = np.zeros((400, 400), bool)
    full[: 9 * 16, : 7 * 16] = mask.pixels(Box(0, 0, 7 * 16, 9 * 16))
    for j, y in enumerate(starts):
        for i, x in enumerate(starts):
            assert found[j, i] == full[y : y + 48, x : x + 48].any()


@pytest.mark.parametrize("cell", [16, 512])
def test_planes_of_boxes_are_cleared_of_glass_strip_by_strip(cell: int) -> None:
    cells = np.random.default_rng(cell).random((4 * 512 // cell, 3 * 512 // cell)) < 0.5
    mask = TissueMask.of(cells, cell)
    box = Box(512, 512, 3 * 512 - 5, 3 * 512 + 77)  # as at a mask's edges
    plane = np.random.default_rng(1).integers(1, 256, (box.height, box.width), np.uint8)
    expected = np.where(mask.pixels(box), plane, 0)
    mask.clear_glass(plane, box)
    np.testing.assert_array_equal(plane, expected)


def test_real_slide_has_tissue_and_glass(slides: Path) -> None:
    slide = open_slide(slides / "CMU-1-Small-Region.svs")
    tissue = find_tissue(
        slide, mask_frame(slide, 0.499, 1.0), mask_mpp=0.998, method="otsu", step=lambda done, total: None
    )
    slide.close()
    assert 0.25 < tissue.share < 0.6
