from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wsi_segment.inference.mask.pyramid import level_shapes, mean_of_2x2, mode_of_2x2


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 3)))
def test_halving_takes_the_commonest_id(ids: np.ndarray) -> None:
    height, width = ids.shape
    padded = np.pad(ids, ((0, height % 2), (0, width % 2)), mode="edge")
    halved = mode_of_2x2(ids)
    assert halved.shape == ((height + 1) // 2, (width + 1) // 2)
    for y in range(halved.shape[0]):
        for x in range(halved.shape[1]):
            block = padded[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].ravel().tolist()
            counts = Counter(block)
            best = max(counts.values())
            assert halved[y, x] == next(value for value in block if counts[value] == best)


def test_levels_halve_until_one_chunk_is_left() -> None:
    assert level_shapes(1484, 1110) == ((1484, 1110), (742, 555), (371, 278))
    assert level_shapes(10, 10) == ((10, 10),)


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_the_mean_of_probabilities_is_rounded(values: np.ndarray) -> None:
    height, width = values.shape
    padded = np.pad(values, ((0, height % 2), (0, width % 2)), mode="edge").astype(float)
    blocks = padded.reshape((height + 1) // 2, 2, (width + 1) // 2, 2)
    np.testing.assert_array_equal(mean_of_2x2(values), np.floor(blocks.mean(axis=(1, 3)) + 0.5))


def test_levels_are_the_same_whatever_rows_are_made_at_once() -> None:
    plane = np.random.default_rng(0).integers(0, 4, (1537, 9), np.uint8)
    for halve in (mode_of_2x2, mean_of_2x2):
        by_pairs = np.concatenate([halve(plane[top : top + 2]) for top in range(0, len(plane), 2)])
        np.testing.assert_array_equal(halve(plane), by_pairs)
