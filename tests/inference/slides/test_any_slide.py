"""Any file that is made is read as it was written, or refused; never another picture or pixel size.

``tests/benchmarks/slide_fuzz.py`` does the same with as many files as one likes.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from fuzz.dicom_maker import DicomSpec
from fuzz.files import Spec, made_files, outcome_of
from fuzz.oracle import Expected, difference, judge, reduced, scene
from fuzz.tiff_maker import Layout, TiffSpec, turn, write_tiff
from synthetic import write_slide
from wsi_segment.inference.slides.description import describe


@settings(
    max_examples=50, derandomize=True, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate]
)
@given(made_files())
def test_any_slide_is_read_as_it_was_written_or_refused(spec: Spec) -> None:
    with tempfile.TemporaryDirectory() as folder:
        outcome = outcome_of(spec, Path(folder))
    assert outcome.verdict != "wrong", outcome.why


@pytest.mark.parametrize(
    "spec", [TiffSpec(), TiffSpec(kind="ome", suffix=".ome.tif", unit="nm"), DicomSpec(levels=(2,), labels=("LABEL",))]
)
def test_everyday_slides_are_right(spec: Spec, tmp_path: Path) -> None:
    assert outcome_of(spec, tmp_path).verdict == "right"


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(
            TiffSpec(kind="aperio", layout=Layout(None, (240, 240)), levels=(2,), mpp=(0.25, 0.25)),
            id="240 px, no codec",
        ),
        pytest.param(
            TiffSpec(kind="aperio", levels=(2, 8), decoys_after=("macro", "label"), decoys_tiled=True), id="tiled macro"
        ),
        pytest.param(
            TiffSpec(141, 155, 35, kind="aperio", layout=Layout("jpeg", (128, 256)), levels=(4, 16)), id="level of 8 px"
        ),
    ],
)
def test_aperio_files_that_openslide_refuses_though_they_are_whole_are_right(spec: Spec, tmp_path: Path) -> None:
    assert outcome_of(spec, tmp_path).verdict == "right"


def test_an_aperio_file_with_pictures_out_of_order_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.svs"
    after = TiffSpec(kind="aperio", levels=(4,), decoys_after=("half of another",), decoys_tiled=True)
    expected = write_tiff(path, after)
    outcome = judge(path, expected)
    assert (outcome.verdict, "order of their sizes" in outcome.why) == ("refused", True)
    assert "order of their sizes" in str(describe(path).refused)


def test_the_oracle_tells_another_picture_level_or_pixel_size(tmp_path: Path) -> None:
    path = tmp_path / "s.tif"
    expected = write_tiff(path, TiffSpec(levels=(2,)))
    assert judge(path, expected).verdict == "right"
    other = scene(400, 500, 99)
    assert judge(path, Expected(other, expected.mpp)).verdict == "wrong"
    assert judge(path, Expected(expected.pixels, (1.0, 1.0))).verdict == "wrong"
    assert judge(path, Expected(expected.pixels, expected.mpp, below=other)).verdict == "right"
    black = expected.pixels.copy()
    black[:64, :64] = 0
    write_slide(path, black, mpp=0.5, levels=2)
    assert judge(path, expected).verdict == "wrong"
    assert judge(path, Expected(expected.pixels, expected.mpp, must_open=True)).verdict == "wrong"


def test_one_wrong_tile_is_a_difference() -> None:
    pixels = scene(600, 600)
    changed = pixels.copy()
    changed[:64, :64] = 255 - changed[:64, :64]
    assert difference(pixels, changed) > 8
    assert difference(reduced(pixels, 300, 300), reduced(changed, 300, 300)) > 8


@pytest.mark.parametrize("orientation", range(2, 9))
def test_turns_of_the_maker_are_those_of_pillow(orientation: int) -> None:
    from PIL import Image, ImageOps

    pixels = scene(40, 60)
    image = Image.fromarray(pixels)
    image.getexif()[274] = orientation
    np.testing.assert_array_equal(np.asarray(ImageOps.exif_transpose(image)), turn(pixels, orientation))


@pytest.mark.parametrize("one", range(1, 4))
def test_decoys_look_like_no_part_of_the_slide(one: int) -> None:
    assert difference(scene(200, 300, one), scene(200, 300, one + 1000)) > 20
