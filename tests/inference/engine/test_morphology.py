from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from wsi_segment.inference.engine.morphology import grown, shrunk, smoothed, without_small

SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 40))
MASKS = st.builds(
    lambda shape, seed, share: np.random.default_rng(seed).random(shape) < share,
    SHAPES,
    st.integers(0, 10_000),
    st.sampled_from([0.0, 0.1, 0.4, 0.6, 0.9, 1.0]),
)


@given(arrays(np.uint8, st.tuples(st.integers(1, 30), st.integers(1, 30), st.just(3))))
def test_smoothing_is_that_of_scipy_to_the_bit(picture: np.ndarray) -> None:
    expected = ndimage.gaussian_filter(picture.astype(np.float32), sigma=(1, 1, 0))
    np.testing.assert_array_equal(smoothed(picture), expected)


@given(MASKS, st.integers(1, 3))
def test_masks_grow_and_shrink_as_in_scipy(mask: np.ndarray, times: int) -> None:
    np.testing.assert_array_equal(grown(mask, times), ndimage.binary_dilation(mask, iterations=times))
    np.testing.assert_array_equal(shrunk(mask, times), ndimage.binary_erosion(mask, iterations=times))


@given(MASKS, st.floats(0, 60))
def test_pieces_are_those_of_scipy(mask: np.ndarray, smallest: float) -> None:
    pieces, count = ndimage.label(mask)
    areas = ndimage.sum_labels(mask, pieces, np.arange(1, count + 1))
    large = np.concatenate([[False], areas >= smallest])
    np.testing.assert_array_equal(without_small(mask, smallest), large[pieces])


def test_a_spiral_is_one_piece() -> None:
    spiral = np.zeros((81, 81), bool)
    y = x = 40
    spiral[y, x] = True
    for turn in range(1, 39):
        dy, dx = ((0, 1), (1, 0), (0, -1), (-1, 0))[turn % 4]
        for _ in range(turn // 2 * 2):
            y, x = y + dy, x + dx
            spiral[y, x] = True
    area = int(spiral.sum())
    assert ndimage.label(spiral)[1] == 1
    np.testing.assert_array_equal(without_small(spiral, area), spiral)
    assert not without_small(spiral, area + 1).any()
