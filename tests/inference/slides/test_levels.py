"""Levels that a file states and that do not show what level 0 shows are never used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fuzz.dicom_maker import VOLUME, DicomSpec, image_of
from fuzz.oracle import reduced, scene
from synthetic import Pages, halved, tissue_like, write_pages
from wsi_segment.inference.slides.open import open_slide
from wsi_segment.inference.slides.readers import levels

SLIDE = tissue_like(760, 1020)
HALF = halved(SLIDE)
REDUCED = {"subfiletype": 1}


def spoiled(rows: slice, columns: slice, grey: int) -> NDArray[np.uint8]:
    pixels = HALF.copy()
    pixels[rows, columns] = grey
    return pixels


@pytest.mark.parametrize(
    "level",
    [
        pytest.param(spoiled(slice(190, None), slice(None), 255), id="lower half was never written"),
        pytest.param(spoiled(slice(0, 150), slice(None), 0), id="upper part is black"),
        pytest.param(spoiled(slice(128, 256), slice(256, 384), 255), id="one tile is white"),
        pytest.param(np.ascontiguousarray(HALF[..., ::-1]), id="blue for red"),
        pytest.param(np.roll(HALF, (5, 5), (0, 1)), id="lies 5 px off"),
        pytest.param(np.roll(HALF, (0, 3), (0, 1)), id="lies 3 px off"),
        pytest.param(np.roll(HALF, (-2, 0), (0, 1)), id="lies 2 px off"),
        pytest.param(np.ascontiguousarray(HALF[:, ::-1]), id="mirrored"),
    ],
)
def test_a_level_that_differs_in_any_part_is_left_out_with_a_doubt(tmp_path: Path, level: NDArray[np.uint8]) -> None:
    pages: Pages = [(SLIDE, {"tile": (128, 128)}), (level, {**REDUCED, "tile": (128, 128)})]
    slide = open_slide(write_pages(tmp_path / "s.tif", pages))
    assert [one.width for one in slide.levels] == [1020]
    assert [doubt.code for doubt in slide.doubts] == ["images-left-out"]
    slide.close()


def test_a_level_that_lies_a_pixel_off_is_kept_since_sizes_are_rounded(tmp_path: Path) -> None:
    pages: Pages = [(SLIDE, {}), (np.roll(HALF, (1, 1), (0, 1)), REDUCED)]
    slide = open_slide(write_pages(tmp_path / "s.tif", pages))
    assert [one.width for one in slide.levels] == [1020, 510]
    slide.close()


@pytest.mark.parametrize("wide", [4, 8, 12, 16])
def test_a_level_that_is_empty_but_for_its_edge_is_kept(tmp_path: Path, wide: int) -> None:
    pixels = np.full((760, 1020, 3), 255, np.uint8)
    pixels[:, -wide:] = 0
    slide = open_slide(write_pages(tmp_path / "s.tif", [(pixels, {}), (halved(pixels), REDUCED)]))
    assert [one.width for one in slide.levels] == [1020, 510]
    slide.close()


def test_a_patch_without_any_detail_fits_nothing() -> None:
    middle = np.random.default_rng(0).normal(size=(112, 112)).astype(np.float32)
    assert (levels._fits(np.zeros((128, 128), np.float32), middle) == 0).all()


@pytest.mark.parametrize("step", [2, 3, 5])
def test_levels_of_any_whole_step_are_kept_averaged_or_not(tmp_path: Path, step: int) -> None:
    width, height = 1020 // step, 760 // step
    for level in (reduced(SLIDE, width, height), np.ascontiguousarray(SLIDE[::step, ::step][:height, :width])):
        slide = open_slide(write_pages(tmp_path / "s.tif", [(SLIDE, {}), (level, REDUCED)]))
        assert [one.downsample for one in slide.levels] == [1.0, float(step)]
        slide.close()


@pytest.mark.parametrize("other", ["another", "mirrored", "moved"])
def test_a_dicom_level_of_another_picture_is_left_out_with_a_doubt(tmp_path: Path, other: str) -> None:
    spec = DicomSpec()
    pixels = scene(spec.height, spec.width, spec.seed)
    shown = {"another": scene(400, 500, 77), "mirrored": pixels[:, ::-1], "moved": np.roll(pixels, 16, (0, 1))}[other]
    common = {"SeriesInstanceUID": "1.2.3", "FrameOfReferenceUID": "1.2.4", "StudyInstanceUID": "1.2.5"}
    image_of(pixels, spec, common, VOLUME).save_as(tmp_path / "0.dcm", enforce_file_format=True)
    level = image_of(reduced(np.ascontiguousarray(shown), 250, 200), spec, common, VOLUME, 2)
    level.save_as(tmp_path / "1.dcm", enforce_file_format=True)
    slide = open_slide(tmp_path)
    assert [one.width for one in slide.levels] == [500]
    assert [doubt.message for doubt in slide.doubts] == [
        "shows another picture than level 0 at 250 x 200 px, which is not used"
    ]
    slide.close()
