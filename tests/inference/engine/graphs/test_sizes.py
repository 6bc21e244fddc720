"""Which networks compute the same in larger windows, made with numpy."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from wsi_segment.inference.engine.graphs.sizes import largest_same_window
from wsi_segment.inference.engine.networks.onnx_network import OnnxNetwork
from wsi_segment.model.card import DEFAULT_MODEL, find_model

Floats = NDArray[np.float64]


def cells(windows: NDArray[np.uint8]) -> Floats:
    grey = windows.astype(np.float64).mean(axis=3)
    found: Floats = grey.reshape(len(grey), grey.shape[1] // 4, 4, grey.shape[2] // 4, 4).mean(axis=(2, 4))
    return found


def local(windows: NDArray[np.uint8]) -> Floats:
    found = cells(windows)
    return np.stack([found, 255 - found], axis=1)


def pooled(windows: NDArray[np.uint8]) -> Floats:
    found = cells(windows)
    return np.stack([found, found + found.mean(axis=(1, 2), keepdims=True)], axis=1)


def normalised(windows: NDArray[np.uint8]) -> Floats:
    found = cells(windows)
    return np.stack([(found - found.mean()) / found.std(), found / 255], axis=1)


def of_one_size(windows: NDArray[np.uint8]) -> Floats:
    if windows.shape[1:3] != (128, 128):
        raise RuntimeError("Got invalid dimensions for input")
    return local(windows)


def up_to_700(windows: NDArray[np.uint8]) -> Floats:
    if max(windows.shape[1:3]) > 700:
        raise MemoryError
    return local(windows)


@pytest.mark.parametrize(
    ("network", "largest"),
    [(local, 1152), (pooled, None), (normalised, None), (of_one_size, None), (up_to_700, 640)],
)
def test_networks_that_look_at_all_of_a_window_are_told_from_those_that_do_not(
    network: object, largest: int | None
) -> None:
    assert largest_same_window(network, 4) == largest  # type: ignore[arg-type]


def test_cells_that_are_no_part_of_a_step_allow_no_blocks() -> None:
    assert largest_same_window(local, 5) is None


def test_the_bundled_model_states_what_is_measured() -> None:
    model = find_model(DEFAULT_MODEL)
    network = OnnxNetwork(model, "cpu", "fp32")
    assert largest_same_window(network, model.card.output_stride) == model.card.checked_window == 1152
