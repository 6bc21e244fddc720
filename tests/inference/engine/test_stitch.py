from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsi_segment.errors import ModelError
from wsi_segment.inference.engine.kinds import decision
from wsi_segment.inference.engine.kinds.decision import BLOCK, class_of, enlarge
from wsi_segment.inference.engine.stitch import RegionStitcher, softmax, window_weight
from wsi_segment.inference.grid.box import Box


def test_weights_of_half_overlapping_windows_sum_to_one() -> None:
    weight = window_weight(16)
    line = weight.sum(axis=0) / weight.sum(axis=0).max() * weight[8].max()
    profile = np.sqrt(np.diagonal(weight))
    np.testing.assert_allclose(profile[:8] + profile[8:], 1, rtol=1e-6)
    assert (line > 0).all()


def test_softmax_sums_to_one_and_survives_large_logits() -> None:
    probabilities = softmax(np.array([[[[1000.0]], [[0.0]], [[-1000.0]]]], np.float32))
    np.testing.assert_allclose(probabilities[0, :, 0, 0], [1, 0, 0])


@pytest.mark.parametrize("logits", [[np.nan, 0], [np.inf, 0], [-np.inf, -np.inf]])
def test_what_is_no_number_is_refused_and_becomes_no_class(logits: list[float]) -> None:
    several = np.zeros((2, 2, 3, 3), np.float32)
    several[1, :, 2, 1] = logits
    with pytest.raises(ModelError, match=r"values that are not numbers \(NaN\)"):
        softmax(several)


def test_a_class_that_is_impossible_has_no_probability() -> None:
    probabilities = softmax(np.array([[[[-np.inf]], [[0.0]]]], np.float32))
    np.testing.assert_array_equal(probabilities[0, :, 0, 0], [0, 1])


def test_without_overlap_a_window_is_its_own_crop() -> None:
    probabilities = np.random.default_rng(0).random((3, 16, 16), np.float32)
    stitcher = RegionStitcher(Box(0, 0, 128, 128), 3, 8)
    stitcher.add(Box(0, 0, 128, 128), probabilities)
    np.testing.assert_array_equal(stitcher.probabilities(), probabilities)
    np.testing.assert_array_equal(stitcher.class_ids("nearest")[::8, ::8], probabilities.argmax(axis=0) + 1)


def test_windows_are_averaged_where_they_were_added_up_and_only_once() -> None:
    probabilities = np.random.default_rng(1).random((3, 16, 16), np.float32)
    stitcher = RegionStitcher(Box(0, 0, 128, 192), 3, 8, np.full((16, 16), 0.3, np.float32))
    for top in (0, 64):
        stitcher.add(Box(0, top, 128, top + 128), probabilities)
    first = stitcher.probabilities()
    expected = first.copy()
    np.testing.assert_allclose(first[:, 8:16], (probabilities[:, 8:] + probabilities[:, :8]) / 2, rtol=1e-6)
    again = stitcher.probabilities()
    np.testing.assert_array_equal(again, expected)
    assert np.shares_memory(first, again)  # a region's averages are large enough to be kept once


@pytest.mark.parametrize(("background", "lesion_first", "expected"), [(1 / 3, False, 1), (0.45, True, 2)])
@pytest.mark.parametrize("stride", [4, 8])
def test_where_no_window_came_the_id_is_0(background: float, lesion_first: bool, expected: int, stride: int) -> None:
    stitcher = RegionStitcher(Box(0, 0, 200, 130), 3, stride, lesion_first=lesion_first)
    shares = np.array([background, *[(1 - background) / 2] * 2], np.float32)
    stitcher.add(Box(0, 0, 128, 128), np.broadcast_to(shares[:, None, None], (3, 128 // stride, 128 // stride)))
    ids = stitcher.class_ids("bilinear")
    assert ids.shape == (130, 200)
    assert (ids[:128, :128] == expected).all()
    assert (ids[:, 128:] == 0).all()
    assert (ids[128:] == 0).all()


@pytest.mark.parametrize("background", [0.5, 0.6, 0.8, 1.0])
@pytest.mark.parametrize("stride", [4, 8])
def test_background_stays_beside_cells_that_no_window_covered(background: float, stride: int) -> None:
    stitcher = RegionStitcher(Box(0, 0, 256, 256), 3, stride, lesion_first=True)
    shares = np.array([background, (1 - background) * 0.4, (1 - background) * 0.6], np.float32)
    stitcher.add(Box(64, 64, 192, 192), np.broadcast_to(shares[:, None, None], (3, 128 // stride, 128 // stride)))
    ids = stitcher.class_ids("bilinear")
    assert (ids[64:192, 64:192] == 1).all()
    assert np.count_nonzero(ids) == 128 * 128


@pytest.mark.parametrize("lesion_first", [False, True])
@pytest.mark.parametrize("stride", [2, 4, 8])
@given(seed=st.integers(0, 9999), classes=st.integers(3, 5))
@settings(max_examples=25, deadline=None)
def test_probabilities_beside_what_no_window_covered_are_whole_and_agree_with_the_classes(
    stride: int, lesion_first: bool, seed: int, classes: int
) -> None:
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(3, 40, 2)
    cells = rng.dirichlet(np.ones(classes), (rows, columns)).transpose(2, 0, 1).astype(np.float32)
    cells[:, rng.random((rows, columns)) < 0.3] = 0
    stitcher = RegionStitcher(
        Box(0, 0, columns * stride, rows * stride),
        classes,
        stride,
        np.ones((1, 1), np.float32),
        lesion_first=lesion_first,
    )
    stitcher._sums[:], stitcher._weights[:] = cells, cells.any(axis=0)
    ids = stitcher.class_ids("bilinear")
    planes = np.stack(list(stitcher.probability_planes("bilinear"))).astype(int)
    inside = ids > 0
    assert (np.abs(planes.sum(axis=0) - 255)[inside] <= classes / 2 + 1).all()
    given_ = np.take_along_axis(planes, np.maximum(ids.astype(int) - 1, 0)[None], axis=0)[0]
    rivals = planes[1:].max(axis=0) if lesion_first else planes.max(axis=0)
    lesions = inside & (ids > 1)
    assert (given_ >= rivals - 1)[lesions].all()
    if lesion_first:
        assert (planes[0][ids == 1] >= 127).all()
        assert (planes[0][lesions] <= 128).all()


def interpolate_all(probabilities: np.ndarray, stride: int) -> np.ndarray:
    """Bilinear interpolation of every cell, written with coordinates, clamped to blocks."""
    _, rows, columns = probabilities.shape

    def axis(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        pixel = np.arange(count * stride)
        place = (pixel + 0.5) / stride - 0.5
        first_cell = pixel // BLOCK * (BLOCK // stride)
        last_cell = np.minimum(first_cell + BLOCK // stride - 1, count - 1)
        low = np.floor(place)
        return (
            np.clip(low, first_cell, last_cell).astype(int),
            np.clip(low + 1, first_cell, last_cell).astype(int),
            place - low,
        )

    y0, y1, fy = axis(rows)
    x0, x1, fx = axis(columns)
    fy = fy[:, None]
    p = probabilities.astype(np.float64)
    top = p[:, y0][:, :, x0] * (1 - fx) + p[:, y0][:, :, x1] * fx
    bottom = p[:, y1][:, :, x0] * (1 - fx) + p[:, y1][:, :, x1] * fx
    interpolated: np.ndarray = top * (1 - fy) + bottom * fy
    return interpolated


@pytest.mark.parametrize("stride", [4, 8])
@given(seed=st.integers(0, 10_000), rows=st.integers(1, 40), columns=st.integers(60, 150))
def test_refining_borders_equals_interpolating_everything(stride: int, seed: int, rows: int, columns: int) -> None:
    rng = np.random.default_rng(seed)
    smooth = rng.random((3, rows // 4 + 1, columns // 4 + 1)).repeat(4, axis=1).repeat(4, axis=2)[:, :rows, :columns]
    raw = (smooth + 0.3 * rng.random(smooth.shape)).astype(np.float32)
    region = Box(0, 0, columns * stride, rows * stride)
    stitcher = RegionStitcher(region, 3, stride, np.ones((128 // stride,) * 2, np.float32))
    stitcher._sums[:], stitcher._weights[:] = raw, 1
    full = interpolate_all(raw, stride)
    found = stitcher.class_ids("bilinear")
    differs = found != full.argmax(axis=0) + 1
    margin = np.sort(full, axis=0)
    assert (margin[-1] - margin[-2])[differs].max(initial=0) < 1e-6  # only where two classes tie


def stitched(probabilities: np.ndarray, stride: int, *, lesion_first: bool = False) -> np.ndarray:
    """Class ids of cells whose probabilities are given."""
    classes, rows, columns = probabilities.shape
    region, weight = Box(0, 0, columns * stride, rows * stride), np.ones((1, 1), np.float32)
    stitcher = RegionStitcher(region, classes, stride, weight, lesion_first=lesion_first)
    stitcher._sums[:], stitcher._weights[:] = probabilities, 1
    return stitcher.class_ids("bilinear")


def decided(full: np.ndarray, *, lesion_first: bool) -> np.ndarray:
    """Class ids of probabilities at full size, by definition."""
    likeliest: np.ndarray = full.argmax(axis=0) + 1
    lesion: np.ndarray = np.where(full[0] >= 0.5, 1, full[1:].argmax(axis=0) + 2)
    return lesion if lesion_first else likeliest


@pytest.mark.parametrize("stride", [2, 4, 8])
@given(seed=st.integers(0, 10_000), classes=st.integers(1, 6), rows=st.integers(1, 40), columns=st.integers(60, 300))
def test_of_equally_likely_classes_the_first_wins(
    stride: int, seed: int, classes: int, rows: int, columns: int
) -> None:
    # eighths, so that interpolation is exact and many pixels tie
    probabilities = np.random.default_rng(seed).integers(1, 8, (classes, rows, columns)) / np.float32(8)
    smooth = np.kron(probabilities[:, ::3, ::3], np.ones((1, 3, 3), np.float32))[:, :rows, :columns]
    expected = interpolate_all(smooth, stride).argmax(axis=0) + 1
    np.testing.assert_array_equal(stitched(smooth.astype(np.float32), stride), expected)


@given(seed=st.integers(0, 10_000), rows=st.integers(1, 200), split=st.integers(1, 3))
def test_a_cell_comes_out_the_same_however_many_are_refined_with_it(seed: int, rows: int, split: int) -> None:
    probabilities = np.random.default_rng(seed).random((5, rows, 4 * BLOCK // 8), np.float32)
    whole, at = stitched(probabilities, 8), split * BLOCK // 8
    parts = [stitched(probabilities[:, :, :at], 8), stitched(probabilities[:, :, at:], 8)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


@pytest.mark.parametrize("lesion_first", [False, True])
@pytest.mark.parametrize("stride", [2, 3, 4, 8])
def test_classes_are_decided_by_the_probabilities_at_full_size_however_close(
    stride: int, lesion_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decision, "_on_borders", lambda ids, stride: np.ones(ids.shape, bool))
    close = (0.5 + np.random.default_rng(stride).integers(-4, 5, (5, 60, 90)) * 2.0**-23).astype(np.float32)
    full = np.stack([enlarge(plane, stride, "bilinear") for plane in close])
    expected = decided(full, lesion_first=lesion_first)
    assert (np.bincount(expected.ravel(), minlength=6)[1:] > 0).all()
    np.testing.assert_array_equal(stitched(close, stride, lesion_first=lesion_first), expected)


@pytest.mark.parametrize("stride", [2, 4, 8])
@given(seed=st.integers(0, 10_000), classes=st.integers(3, 6), rows=st.integers(1, 40), columns=st.integers(60, 300))
def test_lesions_end_where_the_background_has_a_half_whatever_their_kinds(
    stride: int, seed: int, classes: int, rows: int, columns: int
) -> None:
    # sixteenths that add up to one, so that interpolation is exact
    rng = np.random.default_rng(seed)
    coarse = rng.multinomial(16, np.full(classes, 1 / classes), (rows // 3 + 1, columns // 3 + 1)) / 16
    cells = np.kron(coarse.transpose(2, 0, 1), np.ones((1, 3, 3)))[:, :rows, :columns].astype(np.float32)
    found = stitched(cells, stride, lesion_first=True)
    full = interpolate_all(cells, stride)
    np.testing.assert_array_equal(found, decided(full, lesion_first=True))
    as_one = np.stack([cells[0], cells[1:].sum(axis=0)])
    np.testing.assert_array_equal(found > 1, stitched(as_one, stride) > 1)


def test_a_lesion_whose_kinds_are_as_likely_as_each_other_is_no_background() -> None:
    cells = np.full((3, 1, 1), 0.3, np.float32)
    cells[0] = 0.4
    assert class_of(cells) == 1
    assert class_of(cells, lesion_first=True) == 2


def test_likeliest_class_of_nothing_is_0() -> None:
    probabilities = np.zeros((2, 1, 2), np.float32)
    probabilities[1, 0, 1] = 0.4
    np.testing.assert_array_equal(class_of(probabilities), [[0, 2]])
    np.testing.assert_array_equal(class_of(probabilities, lesion_first=True), [[0, 2]])
