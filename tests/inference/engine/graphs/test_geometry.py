from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsi_segment.errors import ModelError
from wsi_segment.inference.engine.graphs.geometry import find_geometry


def cells_of(windows: np.ndarray, stride: int, margin: int) -> np.ndarray:
    """Means of squares of ``stride`` pixels, within the margin; (B, 3, cells, cells)."""
    inner = windows[:, margin : windows.shape[1] - margin, margin : windows.shape[2] - margin].astype(np.float64)
    cells = inner.shape[1] // stride
    squares = inner[:, : cells * stride, : cells * stride].reshape(len(windows), cells, stride, cells, stride, 3)
    means: np.ndarray = squares.mean(axis=(2, 4)).transpose(0, 3, 1, 2)
    return means


@settings(max_examples=60)
@given(st.sampled_from([1, 2, 3, 4, 6, 8, 12, 16]), st.integers(6, 20), st.integers(0, 40))
def test_stride_and_margin_are_measured(stride: int, eights: int, margin: int) -> None:
    window = eights * 16 * (3 if stride % 3 == 0 else 1) + 2 * margin
    found = find_geometry(lambda windows: cells_of(windows, stride, margin), window)
    assert found == (stride, margin)


@pytest.mark.parametrize("margin", range(30, 50))
def test_few_large_cells_are_told_from_those_a_pixel_larger(margin: int) -> None:
    assert find_geometry(lambda windows: cells_of(windows, 16, margin), 96 + 2 * margin) == (16, margin)


def test_the_classic_network_without_padding_is_told_from_a_stride() -> None:
    assert find_geometry(lambda windows: cells_of(windows, 1, 92), 572) == (1, 92)
    assert find_geometry(lambda windows: cells_of(windows, 2, 34), 128) == (2, 34)


def test_one_vector_covers_the_window() -> None:
    assert find_geometry(lambda windows: windows.mean(axis=(1, 2))[:, :, None, None], 224) == (224, 0)


def test_cells_that_lie_beside_the_middle_are_refused() -> None:
    with pytest.raises(ModelError, match="px off its middle"):
        find_geometry(lambda windows: cells_of(windows[:, 32:, 32:], 1, 0), 128)


def test_an_output_that_does_not_follow_its_window_is_refused() -> None:
    with pytest.raises(ModelError, match="answers alike"):
        find_geometry(lambda windows: np.zeros((len(windows), 2, 32, 32)), 128)


def test_an_enlarged_output_is_refused() -> None:
    with pytest.raises(ModelError, match="256 cells for a window of 128 px"):
        find_geometry(lambda windows: cells_of(windows, 1, 0).repeat(2, axis=2).repeat(2, axis=3), 128)
