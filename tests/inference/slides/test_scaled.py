from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from synthetic import ChannelNetwork, class_map, make_model, tissue_like, write_slide
from wsi_segment.errors import SlideError
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.slides.open import open_slide
from wsi_segment.inference.slides.readers import scaled
from wsi_segment.inference.slides.readers.scaled import ScaledTiles, with_scaled_levels

SMOOTH = np.kron(tissue_like(300, 400)[::4, ::4], np.ones((16, 16, 1), np.uint8))
"""(1200, 1600, 3); JPEG keeps it nearly as it is."""


def jpeg(path: Path, pixels: np.ndarray = SMOOTH, **form: Any) -> Path:
    """A TIFF of JPEG tiles without a pyramid, 0.25 µm per pixel."""
    form = {"photometric": "rgb", "compression": "jpeg", **form}
    tifffile.imwrite(
        path, pixels, tile=(256, 256), resolution=(4e4, 4e4), resolutionunit="CENTIMETER", metadata=None, **form
    )
    return path


@pytest.fixture(scope="module", autouse=True)
def small_slides_count() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scaled, "LEAST_PIXELS", 1)
        yield


def test_a_small_slide_is_decoded_whole(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slide = open_slide(shared)
    for least, expected in ((1200 * 1600, 3), (1200 * 1600 + 1, 1)):
        monkeypatch.setattr(scaled, "LEAST_PIXELS", least)
        assert len(with_scaled_levels(slide).levels) == expected
    slide.close()


@pytest.mark.parametrize(
    "form",
    [
        {"subsampling": (2, 2)},
        {"subsampling": (1, 1)},
        {"compressionargs": {"outcolorspace": "rgb"}},
    ],
    ids=["420", "444", "rgb"],
)
def test_tiles_at_a_smaller_scale_are_nearly_averages(tmp_path: Path, form: dict[str, Any]) -> None:
    slide = open_slide(jpeg(tmp_path / "s.tiff", **form))
    seen = with_scaled_levels(slide)
    assert [(level.downsample, level.scale) for level in seen.levels] == [(1, 1), (4, 4), (8, 8)]
    full = Image.fromarray(slide.read(0, Box(0, 0, 1600, 1200)))
    for index, scale in ((1, 4), (2, 8)):
        found = seen.read(index, Box(0, 0, 1600 // scale, 1200 // scale))
        difference = np.abs(found.astype(int) - np.asarray(full.reduce(scale)))
        assert difference.mean() < 2
    slide.close()


def test_a_slide_with_such_a_level_or_without_jpeg_is_left_alone(tmp_path: Path) -> None:
    for levels, compression, expected in ((3, "jpeg", 3), (1, "deflate", 1), (2, "jpeg", 2)):
        slide = open_slide(write_slide(tmp_path / "s.tiff", SMOOTH, levels=levels, compression=compression))
        assert len(with_scaled_levels(slide).levels) == expected
        slide.close()


@given(x=st.integers(-20, 400), y=st.integers(-20, 300), width=st.integers(1, 90), height=st.integers(1, 90))
def test_a_pixel_is_the_same_whatever_box_is_asked_for(shared: Path, x: int, y: int, width: int, height: int) -> None:
    slide = with_scaled_levels(open_slide(shared))
    whole = slide.read(1, Box(-20, -20, 500, 400))
    part = slide.read(1, Box(x, y, x + width, y + height))
    np.testing.assert_array_equal(part, whole[y + 20 : y + 20 + height, x + 20 : x + 20 + width])
    slide.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return jpeg(tmp_path_factory.mktemp("scaled") / "s.tiff")


def test_the_choice_is_in_the_provenance_and_every_tile_is_decoded_once(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: Counter[tuple[int, int]] = Counter()
    original = ScaledTiles._decode

    def counted(self: ScaledTiles, index: int, scale: int) -> np.ndarray:
        decoded[index, scale] += 1
        return original(self, index, scale)

    tried = with_scaled_levels(open_slide(shared))
    tried.close()
    monkeypatch.setattr(ScaledTiles, "_is_like", lambda self, index: True)
    monkeypatch.setattr(ScaledTiles, "_decode", counted)
    options = SegmentOptions(workers=1)
    summary = segment(shared, make_model(4), tmp_path / "m.zarr", options, network=ChannelNetwork(4))
    assert summary.provenance["slide"]["decoded_at"] == {"mask": "1/4", "tissue": "1/8"}
    assert dict(decoded) == {(index, 4): 1 for index in range(5 * 7)}
    pyramid = write_slide(tmp_path / "p.tiff", SMOOTH, mpp=0.25, levels=4, compression="jpeg")
    other = segment(pyramid, make_model(4), tmp_path / "p.zarr", options, network=ChannelNetwork(4))
    assert "decoded_at" not in other.provenance["slide"]
    assert (class_map(tmp_path / "m.zarr") == class_map(tmp_path / "p.zarr")).mean() > 0.9


def test_what_does_not_fit_is_dropped_and_decoded_again(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Box(0, 0, 400, 300), Box(0, 0, 200, 150)
    expected = with_scaled_levels(open_slide(shared))
    monkeypatch.setattr(scaled, "CACHE_BYTES", 3 * 64 * 64 * 3)
    slide = with_scaled_levels(open_slide(shared))
    assert isinstance(slide, scaled.ScaledSlide)
    for _ in range(2):
        np.testing.assert_array_equal(slide.read(1, whole[0]), expected.read(1, whole[0]))
        assert slide._tiles._kept.nbytes <= 3 * 64 * 64 * 3
        assert slide._tiles._kept.nbytes == sum(tile.nbytes for tile in slide._tiles._kept._kept.values())
    eighth = np.asarray(Image.fromarray(slide.read(0, Box(0, 0, 1600, 1200))).reduce(8), int)
    assert np.abs(slide.read(2, whole[1]) - eighth).mean() < 2
    slide.close()
    expected.close()


def test_left_out_tiles_are_white_and_damaged_ones_are_named(tmp_path: Path) -> None:
    path = jpeg(tmp_path / "s.tiff")
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        offset, counts = page.dataoffsets[8], page.tags["TileByteCounts"]
        place, size = counts.valueoffset, counts.dtype
    with path.open("r+b") as file:
        file.seek(place)
        file.write(b"\0" * (2 if size == 3 else 4 if size == 4 else 8))
    slide = with_scaled_levels(open_slide(path))
    try:
        assert len(slide.levels) == 3
        assert (slide.read(1, Box(0, 0, 64, 64)) == 255).all()
        assert not (slide.read(1, Box(64, 0, 128, 64)) == 255).all()
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(b"\xff\xd8" + b"\xff\xd9" * 40)
        with pytest.raises(SlideError, match="tile 8 cannot be decoded"):
            slide.read(1, Box(64, 64, 128, 128))
    finally:
        slide.close()
