"""With the CPU in the place of a GPU: what is tested is shapes, filling up and cutting off, not speed."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from synthetic import write_convolutions
from wsi_segment.inference.engine.networks.fixed_shape import FixedShapeCalls
from wsi_segment.inference.engine.networks.onnx_network import OnnxNetwork
from wsi_segment.model.card import Model


class Watched:
    """A session that keeps the shapes that it is run with."""

    def __init__(self, session: Any) -> None:
        self.session, self.shapes = session, set[tuple[int, ...]]()
        self.bound: list[Any] = []

    def io_binding(self) -> Any:
        binding = self.session.io_binding()
        bind = binding.bind_ortvalue_input

        def watched(name: str, value: Any) -> None:
            self.shapes.add(tuple(value.shape()))
            bind(name, value)

        binding.bind_ortvalue_input = watched
        return binding

    def run_with_iobinding(self, binding: Any) -> None:
        self.session.run_with_iobinding(binding)


@pytest.fixture
def reference(tmp_path: Path) -> OnnxNetwork:
    model: Model = write_convolutions(tmp_path / "m")
    card = model.card.model_copy(update={"checked_window": 512})
    return OnnxNetwork(Model(model.folder, card), "cpu")


def calls_of(reference: OnnxNetwork, batch_size: int, sessions: int = 1) -> tuple[FixedShapeCalls, Sequence[Watched]]:
    watched = [Watched(reference._session) for _ in range(sessions)]
    return FixedShapeCalls(
        sessions=watched, form=reference.form, card=reference._card, batch_size=batch_size, device="cpu"
    ), watched


def random_windows(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(sum(shape)).integers(0, 256, (*shape, 3), dtype=np.uint8)


@pytest.mark.parametrize("count", [1, 3, 4, 5, 9])
def test_batches_are_filled_up_to_one_shape(reference: OnnxNetwork, count: int) -> None:
    calls, (session,) = calls_of(reference, batch_size=4)
    windows = random_windows(count, 128, 128)
    np.testing.assert_allclose(calls(windows), reference(windows), rtol=1e-6)
    assert session.shapes == {(4, 128, 128, 3)}


def test_pieces_of_blocks_are_brought_to_one_side(reference: OnnxNetwork) -> None:
    calls, (session,) = calls_of(reference, batch_size=4)
    for height, width in ((512, 512), (256, 192), (64, 400), (128, 136)):
        windows = random_windows(1, height, width)
        np.testing.assert_allclose(calls(windows), reference(windows), rtol=1e-6)
    assert session.shapes == {(4, 128, 128, 3), (1, 512, 512, 3)}


def test_threads_share_the_sessions(reference: OnnxNetwork) -> None:
    calls, _ = calls_of(reference, batch_size=2, sessions=2)
    batches = [random_windows(2, 128, 128) + np.uint8(index) for index in range(24)]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(calls, batches))
    for batch, logits in zip(batches, found, strict=True):
        np.testing.assert_allclose(logits, reference(batch), rtol=1e-6)
