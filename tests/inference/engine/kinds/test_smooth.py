"""Kinds are averaged, outlines are not, and a mask does not depend on how it was divided."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from synthetic import make_card, tissue_like
from wsi_segment.inference.engine.kinds.decision import class_of
from wsi_segment.inference.engine.kinds.smooth import HALO_RADII, decision_of, halo_of, radius_of, smooth_kinds
from wsi_segment.inference.engine.networks.network import Network
from wsi_segment.inference.engine.predict import RegionPredictor
from wsi_segment.inference.engine.tissue import TissueMask
from wsi_segment.inference.engine.windows import count_windows, lattice_of
from wsi_segment.inference.evaluation.model_scores import predict_image
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.slides.frame import mask_frame
from wsi_segment.inference.slides.pixels import PixelSource
from wsi_segment.inference.slides.readers.image import ImageSlide
from wsi_segment.model.card import ModelCard

CELL = 16
Planes = NDArray[np.float32]


def shares(seed: int, classes: int, rows: int, columns: int) -> Planes:
    raw = np.random.default_rng(seed).random((classes, rows, columns)) ** 4
    found: Planes = (raw / raw.sum(axis=0)).astype(np.float32)
    return found


def smoothed(probabilities: Planes, radius: float) -> Planes:
    result = probabilities.copy()
    smooth_kinds(result, radius)
    return result


def reference(probabilities: Planes, radius: float) -> NDArray[np.float64]:
    """The same by scipy: P(lesion) times the weighted mean of each kind's share."""
    lesion = probabilities[1:].sum(axis=0).astype(np.float64)

    def around(plane: NDArray[Any]) -> NDArray[np.float64]:
        reach = -(-round(HALO_RADII * radius * 1000) // 1000)
        mean: NDArray[np.float64] = ndimage.gaussian_filter(
            plane.astype(np.float64), radius, mode="constant", radius=reach
        )
        return mean

    share = probabilities[1:] / np.maximum(lesion, 1e-30)
    kinds = np.stack([around(lesion * one) / np.maximum(around(lesion), 1e-30) * lesion for one in share])
    return np.concatenate([probabilities[:1], kinds])


@given(seed=st.integers(0, 9999), classes=st.integers(3, 8), rows=st.integers(1, 40), radius=st.floats(0.3, 9))
@settings(max_examples=40, deadline=None)
def test_kinds_are_averaged_by_a_gaussian_weighted_with_the_lesion(
    seed: int, classes: int, rows: int, radius: float
) -> None:
    before = shares(seed, classes, rows, 33)
    after = smoothed(before, radius)
    np.testing.assert_allclose(after, reference(before, radius), atol=2e-6)


@given(seed=st.integers(0, 9999), radius=st.floats(0.5, 12))
@settings(max_examples=30, deadline=None)
def test_outlines_stay_where_they_are(seed: int, radius: float) -> None:
    before = shares(seed, 5, 30, 40)
    before[:, 10:20, 5:9] = 0  # where no window came
    after = smoothed(before, radius)
    np.testing.assert_array_equal(after[0], before[0])
    np.testing.assert_allclose(after.sum(axis=0), before.sum(axis=0), atol=2e-6)
    assert (after[:, 10:20, 5:9] == 0).all()


def test_a_lone_cell_takes_the_kind_of_the_gland_around_it() -> None:
    before = np.zeros((3, 40, 40), np.float32)
    before[0], before[1] = 0.1, 0.9
    before[:, 20, 20] = 0.1, 0.2, 0.7
    after = smoothed(before, 5.0)
    assert class_of(after, lesion_first=True)[20, 20] == 2
    assert after[0, 20, 20] == np.float32(0.1)


def test_two_lesions_side_by_side_keep_their_kinds_up_to_the_border_between_them() -> None:
    """Left of column 60 kind 2, right of it kind 3, each told from the other at four cells of five; noise between."""
    rng = np.random.default_rng(2)
    for gap in (0, 2, 8):
        truth = np.where(np.arange(120) < 60, 2, 3) * np.ones((100, 1), int)
        truth[:, 60 - gap // 2 : 60 + gap // 2] = 1
        said = np.where((rng.random(truth.shape) < 0.2) & (truth > 1), 5 - truth, truth)
        before = np.stack([np.where(said == kind, 0.8, 0.1) for kind in (1, 2, 3)]).astype(np.float32)
        after = class_of(smoothed(before, 8.0), lesion_first=True)
        assert (class_of(before) == truth)[truth > 1].mean() < 0.82
        wrong = (after != truth) & (truth > 1)
        assert wrong[:, :54].sum() == wrong[:, 66:].sum() == 0  # beyond six cells of the border nothing is mixed up
        assert wrong.mean() < 0.02
        assert ((after == 1) == (truth == 1)).all()


def test_a_small_lesion_beside_a_large_one_is_not_swallowed() -> None:
    before = np.zeros((3, 80, 80), np.float32)
    before[0] = 1
    before[:, 10:70, 10:50] = np.array([0.1, 0.85, 0.05], np.float32)[:, None, None]
    before[:, 30:50, 55:70] = np.array([0.1, 0.05, 0.85], np.float32)[:, None, None]  # 15 cells wide, 5 apart
    after = class_of(smoothed(before, 8.0), lesion_first=True)
    assert (after[30:50, 55:70] == 3).all()
    assert (after[10:70, 10:50] == 2).all()


def test_a_card_says_whether_kinds_are_smoothed() -> None:
    plain = make_card()
    assert radius_of(plain) == halo_of(plain) == 0
    assert decision_of(plain) == {}
    card = make_card(mpp=2.0).model_copy(update={"smoothing_um": 30.0})
    assert radius_of(card) == 15.0
    assert halo_of(card) == 32  # 30 pixels, in whole cells of 8
    assert decision_of(card) == {"smoothing_um": 30.0, "decision": "lesion first"}
    two = card.model_copy(update={"classes": card.classes[:2]})
    assert radius_of(two) == 0
    assert decision_of(two) == {}


def constant(*shares: float) -> Network:
    """A network of strides of 8 px that gives every cell the same probabilities."""

    def logits(windows: NDArray[np.uint8]) -> Planes:
        batch, height, width, _ = windows.shape
        of_a_cell = np.log(np.array(shares, np.float32))[:, None, None]
        return np.tile(of_a_cell, (batch, 1, height // 8, width // 8))

    return logits


@pytest.mark.parametrize("blocks", [True, False])
def test_a_pixel_is_given_with_the_probability_of_its_own_class(blocks: bool) -> None:
    pixels, divided = np.zeros((160, 200, 3), np.uint8), constant(0.4, 0.3, 0.3)
    ids, confidence = predict_image(pixels, 1.0, card=smoothing_card(blocks, 9.0), network=divided)
    assert (ids == 2).all()
    np.testing.assert_allclose(confidence, 0.3, atol=1 / 255)
    likeliest = smoothing_card(blocks, 9.0).model_copy(update={"smoothing_um": None})
    ids, confidence = predict_image(pixels, 1.0, card=likeliest, network=divided)
    assert (ids == 1).all()
    np.testing.assert_allclose(confidence, 0.4, atol=1 / 255)


def coarse(windows: NDArray[np.uint8]) -> Planes:
    """A network of strides of 8 px whose classes follow the colour."""
    batch, height, width, _ = windows.shape
    cells = windows.reshape(batch, height // 8, 8, width // 8, 8, 3).mean(axis=(2, 4), dtype=np.float64)
    logits: Planes = (cells.transpose(0, 3, 1, 2) / 16).astype(np.float32)
    return logits


def class_map(
    card: ModelCard,
    slide: ImageSlide,
    tissue: TissueMask,
    *,
    region: int = 512,
    batch: int = 4,
    rows: int = 1,
    network: Network = coarse,
) -> NDArray[np.uint8]:
    frame = mask_frame(slide, 1.0, 1.0)
    predictor = RegionPredictor(
        source=PixelSource(slide, frame),
        lattice=lattice_of(frame, card),
        tissue=tissue,
        network=network,
        card=card,
        batch_size=batch,
        band_rows=rows,
    )
    ids = np.zeros((frame.height, frame.width), np.uint8)
    boxes = list(frame.box.tiles(region))
    for m_box in boxes[::-1] if batch % 2 else boxes:
        ids[m_box.y0 : m_box.y1, m_box.x0 : m_box.x1] = predictor.predict(m_box).class_ids()
    return ids


def smoothing_card(blocks: bool, radius: float) -> ModelCard:
    changes = {"smoothing_um": radius, "checked_window": 768 if blocks else None}
    return make_card(upsampling="bilinear").model_copy(update=changes)


@pytest.mark.parametrize("blocks", [True, False])
@given(
    seed=st.integers(0, 9999),
    height=st.integers(40, 1100),
    width=st.integers(500, 1100),
    radius=st.sampled_from([9.0, 32.0, 50.0]),
)
@settings(max_examples=8, deadline=None)
def test_the_mask_is_the_same_for_all_regions_batches_and_orders(
    blocks: bool, seed: int, height: int, width: int, radius: float
) -> None:
    slide, card = ImageSlide(tissue_like(height, width, seed)), smoothing_card(blocks, radius)
    cells = np.random.default_rng(seed).random((-(-height // CELL), -(-width // CELL))) < 0.9
    tissue = TissueMask.of(cells, CELL)
    first = class_map(card, slide, tissue)
    assert (first != class_map(card.model_copy(update={"smoothing_um": None}), slide, tissue)).any()
    for region, batch, rows in ((1024, 1, 1), (512, 7, 3), (4096, 5, 2)):
        np.testing.assert_array_equal(class_map(card, slide, tissue, region=region, batch=batch, rows=rows), first)


@pytest.mark.parametrize("blocks", [True, False])
def test_within_outlines_kinds_are_those_of_the_whole_run(blocks: bool) -> None:
    slide, card = ImageSlide(tissue_like(1024, 1024, 3)), smoothing_card(blocks, 32.0)
    found = np.ones((64, 64), bool)
    within = np.zeros_like(found)
    within[10:25, 28:40] = True
    whole = class_map(card, slide, TissueMask.of(found, CELL))
    part = class_map(card, slide, TissueMask.of(within, CELL, found=found))
    assert (part > 0).sum() == 15 * 12 * CELL * CELL
    inner = np.s_[10 * CELL + 8 : 25 * CELL - 8, 28 * CELL + 8 : 40 * CELL - 8]
    np.testing.assert_array_equal(part[inner], whole[inner])


@pytest.mark.parametrize("blocks", [True, False])
def test_background_stays_at_the_edge_of_the_tissue(blocks: bool) -> None:
    held = np.zeros((44, 57), bool)
    held[8:30, 10:40] = True
    slide, tissue = ImageSlide(tissue_like(700, 900, 5)), TissueMask.of(held, CELL)
    ids = class_map(smoothing_card(blocks, 9.0), slide, tissue, network=constant(0.6, 0.2, 0.2))
    assert np.bincount(ids.ravel()).tolist() == [700 * 900 - held.sum() * CELL**2, held.sum() * CELL**2]


@pytest.mark.parametrize("blocks", [True, False])
def test_no_outline_of_a_mask_depends_on_how_kinds_are_smoothed(blocks: bool) -> None:
    slide, tissue = ImageSlide(tissue_like(700, 900, 5)), TissueMask.of(np.ones((44, 57), bool), CELL)
    narrow, wide = (class_map(smoothing_card(blocks, radius), slide, tissue) for radius in (9.0, 32.0))
    assert ((narrow != wide) & (narrow > 1)).any()
    assert (narrow == 1).any()
    np.testing.assert_array_equal(narrow == 1, wide == 1)


def test_a_region_counts_the_windows_of_its_halo() -> None:
    frame = mask_frame(ImageSlide(np.zeros((1024, 1024, 3), np.uint8)), 1.0, 1.0)
    tissue = TissueMask.of(np.ones((64, 64), bool), CELL)
    plain, smooth = (lattice_of(frame, card) for card in (make_card(), smoothing_card(False, 48.0)))
    assert smooth.halo == 96
    assert count_windows(plain, tissue, Box(0, 0, 512, 512)) == 36
    assert count_windows(smooth, tissue, Box(0, 0, 512, 512)) == 49


def test_blocks_have_a_margin_for_the_halo_and_none_that_they_need_not_have() -> None:
    frame = mask_frame(ImageSlide(np.zeros((1024, 1024, 3), np.uint8)), 1.0, 1.0)
    assert lattice_of(frame, smoothing_card(True, 32.0)).margin == 64
    assert lattice_of(frame, smoothing_card(True, 33.0)).margin == 96
