from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from wsi_segment.errors import ModelError
from wsi_segment.inference.engine.graphs.check import run_graph
from wsi_segment.inference.engine.graphs.geometry import find_geometry
from wsi_segment.inference.engine.networks.onnx_network import load_session
from wsi_segment.model.card import find_model


def cells_of(windows: np.ndarray, stride: int, margin: int) -> np.ndarray:
    """Means of squares of ``stride`` pixels, within the margin; (B, 3, cells, cells)."""
    cells = (windows.shape[1] - 2 * margin) // stride
    inner = windows[:, margin : margin + cells * stride, margin : margin + cells * stride]
    rows = inner.reshape(len(windows), cells, stride, -1).sum(axis=2, dtype=np.int32)
    sums = rows.reshape(len(windows), cells, cells, stride, 3).sum(axis=3)
    means: np.ndarray = (sums / stride**2).transpose(0, 3, 1, 2)
    return means


@settings(max_examples=60)
@given(st.sampled_from([1, 2, 3, 4, 6, 8, 12, 16]), st.integers(6, 20), st.integers(0, 40))
def test_stride_and_margin_are_measured(stride: int, eights: int, margin: int) -> None:
    window = (eights // 3 * 48 if stride % 3 == 0 else eights * 16) + 2 * margin
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


def test_the_bundled_network_is_measured_though_each_cell_sees_far() -> None:
    model = find_model("colorectal-biopsy")
    session = load_session(model.weights(), "cpu")
    output = session.get_outputs()[0].name
    found = find_geometry(lambda windows: run_graph(session, windows, model.card.input, None)[output], 128)
    assert found == (model.card.output_stride, model.card.margin)


def saturating(windows: np.ndarray, stride: int, margin: int) -> np.ndarray:
    """Cells that see their neighbours and the whole window, and saturate as a softmax does."""
    cells = cells_of(windows, stride, margin) / 255 - 0.5
    padded = np.pad(cells, ((0, 0), (0, 0), (2, 2), (2, 2)))
    side = cells.shape[2]
    near = sum(padded[:, :, y : y + side, x : x + side] for y in range(5) for x in range(5))
    answers: np.ndarray = np.tanh(4 * cells + near / 9 + windows.mean(axis=(1, 2, 3))[:, None, None, None] / 255)
    return answers


@settings(max_examples=25)
@given(st.integers(1, 24), st.integers(14, 40), st.integers(0, 40))
def test_saturating_cells_are_measured_at_every_stride_and_number(stride: int, cells: int, margin: int) -> None:
    window = stride * cells + 2 * margin
    assume(stride * cells >= 64 and window <= 400)
    assert find_geometry(lambda windows: saturating(windows, stride, margin), window) == (stride, margin)


@pytest.mark.parametrize(("window", "stride"), [(129, 4), (130, 4), (255, 2), (126, 8)])
def test_a_last_cell_that_lies_half_outside_is_refused_with_a_remedy(window: int, stride: int) -> None:
    def respond(windows: np.ndarray) -> np.ndarray:
        more = -windows.shape[1] % stride
        return cells_of(np.pad(windows, ((0, 0), (0, more), (0, more), (0, 0))), stride, 0)

    with pytest.raises(ModelError, match="give another `window`"):
        find_geometry(respond, window)


def test_an_output_with_rows_and_columns_swapped_is_refused() -> None:
    with pytest.raises(ModelError, match="rows and columns swapped"):
        find_geometry(lambda windows: cells_of(windows, 2, 0).transpose(0, 1, 3, 2), 128)


def test_a_mirrored_output_is_refused() -> None:
    with pytest.raises(ModelError, match="64 cells for a window of 128 px"):
        find_geometry(lambda windows: cells_of(windows, 2, 0)[:, :, :, ::-1], 128)
