"""Blocks: what of them is computed, and that a mask does not depend on how it was divided."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsi_segment.errors import InputError
from wsi_segment.inference.engine.blocks import GLASS_MARGIN, OUTLINE_MARGIN, pieces_of
from wsi_segment.inference.engine.predict import RegionPrediction, RegionPredictor
from wsi_segment.inference.engine.tissue import TissueMask
from wsi_segment.inference.engine.windows import count_windows, lattice_of, settle_sides, windows_of
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.grid.lattice import BLOCK_MARGIN, BLOCK_STEP
from wsi_segment.inference.slides.frame import MaskFrame, mask_frame
from wsi_segment.inference.slides.pixels import PixelSource
from wsi_segment.inference.slides.readers.image import ImageSlide
from wsi_segment.model.card import DEFAULT_MODEL, ModelCard, find_model

CELL = 16
BLOCK = Box(1024, 0, 2048, 1024)


def card(**changes: Any) -> ModelCard:
    return find_model(DEFAULT_MODEL).card.model_copy(update=changes)


def far_sighted(windows: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A network whose every cell of 4 px sees 60 px around it."""
    grey = windows.astype(np.float64).mean(axis=3)
    cells = grey.reshape(len(grey), grey.shape[1] // 4, 4, grey.shape[2] // 4, 4).mean(axis=(2, 4))
    around = np.pad(cells, ((0, 0), (15, 15), (15, 15)), mode="edge")
    sums = np.zeros_like(cells)
    for dy in (0, 7, 15, 23, 30):
        for dx in (0, 7, 15, 23, 30):
            sums += around[:, dy : dy + cells.shape[1], dx : dx + cells.shape[2]]
    return np.stack([np.sin(sums / 300 + kind) for kind in range(7)], axis=1).astype(np.float32)


def blobs(seed: int, rows: int, columns: int) -> NDArray[np.bool_]:
    """Some ellipses of tissue cells."""
    rng, (y, x) = np.random.default_rng(seed), np.mgrid[:rows, :columns]
    cells = np.zeros((rows, columns), bool)
    for _ in range(int(rng.integers(1, 5))):
        cy, cx, ry, rx = rng.random(4) * (rows, columns, rows / 3, columns / 3) + (0, 0, 1, 1)
        cells |= ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1
    return cells


@given(seed=st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_pieces_hold_all_tissue_of_a_block_once_in_whole_steps(seed: int) -> None:
    tissue = TissueMask.of(blobs(seed, 80, 200), CELL)
    times = np.zeros((80 * CELL, 200 * CELL), np.uint8)
    for core, window in pieces_of(tissue, BLOCK):
        assert all(side % BLOCK_STEP == 0 for box in (core, window) for side in (box.x0, box.y0, box.x1, box.y1))
        assert BLOCK.intersect(core) == core
        assert core.grown(GLASS_MARGIN).intersect(window) == core.grown(GLASS_MARGIN)
        assert core.grown(BLOCK_MARGIN).intersect(window) == window
        assert tissue.bounds_within(core.grown(BLOCK_MARGIN)).intersect(window).width > 0
        times[core.y0 : core.y1, core.x0 : core.x1] += 1
    inside = tissue.pixels(Box(0, 0, 200 * CELL, 80 * CELL))[BLOCK.y0 : BLOCK.y1, BLOCK.x0 : BLOCK.x1]
    assert (times[BLOCK.y0 : BLOCK.y1, BLOCK.x0 : BLOCK.x1][inside] == 1).all()
    assert times.max() <= 1


def test_two_pieces_of_tissue_far_apart_are_not_computed_as_one() -> None:
    cells = np.zeros((64, 64), bool)
    cells[:8, :8] = cells[56:, 56:] = True
    pieces = pieces_of(TissueMask.of(cells, CELL), Box(0, 0, 1024, 1024))
    assert [core for core, _ in pieces] == [Box(0, 0, 128, 128), Box(896, 896, 1024, 1024)]


def test_a_block_full_of_tissue_is_one_piece_with_its_whole_surroundings() -> None:
    tissue = TissueMask.of(np.ones((128, 192), bool), CELL)
    assert pieces_of(tissue, BLOCK) == [(BLOCK, Box(960, -32, 2112, 1088))]


def test_outlines_limit_what_is_computed_but_not_what_is_seen() -> None:
    found = np.ones((128, 192), bool)
    within = np.zeros_like(found)
    within[20:30, 90:100] = True
    tissue = TissueMask.of(within, CELL, found=found)
    ((core, window),) = pieces_of(tissue, BLOCK)
    assert core == Box(1440, 320, 1600, 480)
    assert window == core.grown(BLOCK_MARGIN + OUTLINE_MARGIN)


def predicted(slide: ImageSlide, frame: MaskFrame, tissue: TissueMask, region: int, rows: int) -> NDArray[np.uint8]:
    lattice = lattice_of(frame, card(), 512)
    predictor = RegionPredictor(
        source=PixelSource(slide, frame),
        lattice=lattice,
        tissue=tissue,
        network=far_sighted,
        card=card(),
        batch_size=4,
        band_rows=rows,
    )
    ids = np.zeros((frame.height, frame.width), np.uint8)
    for m_box in frame.box.tiles(region):
        here = predictor.class_ids(m_box)  # one block after the other
        np.testing.assert_array_equal(predictor.predict(m_box).class_ids(), here)
        ids[m_box.y0 : m_box.y1, m_box.x0 : m_box.x1] = here
    return ids


def test_class_ids_take_the_pixels_and_probabilities_of_one_block_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    stitched = list[Box]()
    predict = RegionPredictor.predict

    def noted(self: RegionPredictor, m_region: Box) -> RegionPrediction:
        stitched.append(m_region)
        return predict(self, m_region)

    monkeypatch.setattr(RegionPredictor, "predict", noted)
    slide = ImageSlide(np.full((1700, 600, 3), 128, np.uint8))
    frame = mask_frame(slide, 1.0, 1.0)
    cells = np.ones((107, 38), bool)
    cells[32:64] = False
    lattice = lattice_of(frame, card(), 512)
    predictor = RegionPredictor(
        source=PixelSource(slide, frame),
        lattice=lattice,
        tissue=TissueMask.of(cells, CELL),
        network=far_sighted,
        card=card(),
        batch_size=1,
        band_rows=4,
    )
    ids = predictor.class_ids(frame.box)
    rows, columns = ((0, 512), (1024, 1536), (1536, 1700)), ((0, 512), (512, 600))
    assert stitched == [Box(left, top, right, bottom) for top, bottom in rows for left, right in columns]
    assert (ids.shape, np.flatnonzero((ids == 0).all(axis=1)).tolist()) == ((1700, 600), list(range(512, 1024)))


@given(seed=st.integers(0, 10_000), height=st.integers(40, 1100), width=st.integers(40, 1100))
@settings(max_examples=15, deadline=None)
def test_the_mask_is_the_same_for_all_regions_and_bands(seed: int, height: int, width: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    slide = ImageSlide(pixels)
    frame = mask_frame(slide, 1.0, 1.0)
    tissue = TissueMask.of(blobs(seed, -(-height // CELL), -(-width // CELL)), CELL)
    first = predicted(slide, frame, tissue, 512, 1)
    for region, rows in ((1024, 1), (1024, 3), (4096, 2)):
        np.testing.assert_array_equal(predicted(slide, frame, tissue, region, rows), first)


@pytest.mark.parametrize("height", [996, 1000, 1004, 1012])
def test_pixels_beyond_the_mask_are_mirrored_for_each_window_by_itself(height: int) -> None:
    """A window that ends just beyond the mask has little to mirror, and neighbours of its band may have more."""
    pixels = np.random.default_rng(3).integers(0, 256, (height, 1024, 3)).astype(np.uint8)
    slide = ImageSlide(pixels)
    frame = mask_frame(slide, 1.0, 1.0)
    cells = np.zeros((-(-height // CELL), 64), bool)
    cells[-1, :4] = cells[40:, 40:] = True
    tissue = TissueMask.of(cells, CELL)
    np.testing.assert_array_equal(predicted(slide, frame, tissue, 512, 1), predicted(slide, frame, tissue, 1024, 2))


def test_within_outlines_the_classes_are_those_of_the_whole_run() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (1024, 1024, 3)).astype(np.uint8)
    slide = ImageSlide(pixels)
    frame = mask_frame(slide, 1.0, 1.0)
    found = np.ones((64, 64), bool)
    within = np.zeros_like(found)
    within[10:25, 28:40] = True
    whole = predicted(slide, frame, TissueMask.of(found, CELL), 512, 1)
    part = predicted(slide, frame, TissueMask.of(within, CELL, found=found), 512, 1)
    assert (part > 0).sum() == 15 * 12 * CELL * CELL
    assert (part != whole)[part > 0].mean() < 0.005  # cells on the outlines have no neighbours to interpolate with
    inner = np.s_[10 * CELL + 4 : 25 * CELL - 4, 28 * CELL + 4 : 40 * CELL - 4]
    np.testing.assert_array_equal(part[inner], whole[inner])


def test_blocks_count_as_the_patches_that_they_are_worth() -> None:
    slide = ImageSlide(np.zeros((1024, 2048, 3), np.uint8))
    frame = mask_frame(slide, 1.0, 1.0)
    lattice, tissue = lattice_of(frame, card()), TissueMask.of(np.ones((64, 128), bool), CELL)
    assert count_windows(lattice, tissue, Box(0, 0, 1024, 1024)) == 64
    assert len(windows_of(lattice, tissue, range(1), range(2))[0]) == 2


@pytest.mark.parametrize(
    ("changes", "window", "overlap", "sides"),
    [
        ({}, None, None, (1024, None)),
        ({}, 512, None, (512, None)),
        ({}, 128, None, (128, 0.25)),
        ({}, None, 0.5, (128, 0.5)),
        ({}, 128, 0.5, (128, 0.5)),
        ({"checked_window": None}, None, None, (128, 0.25)),
        ({"checked_window": 640}, None, None, (512, None)),
        ({"output_stride": 64}, None, None, (128, 0.25)),
    ],
)
def test_blocks_are_for_models_that_were_checked_on_them(
    changes: dict[str, Any], window: int | None, overlap: float | None, sides: tuple[int, float | None]
) -> None:
    settled = settle_sides(card(**changes), window, overlap)
    assert (settled.window, settled.overlap) == sides


@pytest.mark.parametrize(
    ("changes", "window", "overlap", "message"),
    [
        ({}, 256, None, r"`window` 256 is not possible with colorectal-biopsy: give 128 or 1024 or 512"),
        (
            {"checked_window": None},
            512,
            None,
            r"`window` 512 is not.*give 128; its card states no checked_window",
        ),
        ({}, 512, 0.25, r"`window` 512 with an `overlap`: only windows of the model's own side, 128, overlap"),
    ],
)
def test_windows_that_a_model_was_not_checked_on_are_refused(
    changes: dict[str, Any], window: int, overlap: float | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        settle_sides(card(**changes), window, overlap)
