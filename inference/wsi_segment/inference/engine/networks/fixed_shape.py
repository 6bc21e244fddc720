"""Calls of one shape on a GPU: each change of shape costs cuDNN a new plan, which takes longer than a batch.

Unmeasured: written after what others found (https://github.com/microsoft/onnxruntime/issues/23006), and tested with the
CPU in the GPU's place.
"""

from __future__ import annotations

import queue
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from wsi_segment.inference.engine.graphs.conversion import GraphForm, as_input, as_logits
from wsi_segment.model.card import ModelCard


class FixedShapeCalls:
    """A network in several sessions, each with a stream and bound buffers of its own, called in one shape.

    A session copies and computes while another does the other; a thread waits for one that is free. Batches are
    filled up, and windows larger than the card's, which are pieces of blocks, are brought to one side by mirroring
    them to the right and downwards; what was added is cut off again.
    """

    def __init__(
        self,
        sessions: Sequence[Any],
        form: GraphForm,
        card: ModelCard,
        batch_size: int,
        device: Literal["cuda", "cpu"] = "cuda",
    ) -> None:
        """Bind buffers and run each session once, so that plans are made before the first window comes.

        Args:
            sessions: onnxruntime's, of one file.
            form: How the graph is called.
            card: The model's.
            batch_size: Windows in each call, unless the graph says how many.
            device: Where the buffers are.
        """
        self._form, self._card = form, card
        self._size = form.batch or batch_size
        self._free: queue.LifoQueue[_BoundSession] = queue.LifoQueue()
        for session in sessions:
            bound = _BoundSession(session, form, device)
            bound(as_input(np.zeros((self._size, card.window, card.window, 3), np.uint8), card.input))
            self._free.put(bound)

    def __call__(self, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Map windows (B, h, w, 3) to logits (B, C, rows, columns)."""
        large = max(windows.shape[1:3]) > self._card.window
        size = self._form.batch or (1 if large else self._size)
        side = self._card.window
        if large:
            side = max(self._card.checked_window or 0, *windows.shape[1:3])
        parts = [self._fixed(windows[start : start + size], size, side) for start in range(0, len(windows), size)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _fixed(self, windows: NDArray[np.uint8], size: int, side: int) -> NDArray[np.float32]:
        count, height, width = windows.shape[:3]
        batch = as_input(_filled(windows, size, side), self._card.input)
        bound = self._free.get()
        try:
            raw = bound(batch)
        finally:
            self._free.put(bound)
        logits = as_logits(raw[:count], self._form, len(self._card.classes))
        margin, stride = self._card.margin, self._card.output_stride
        return logits[:, :, : (height - 2 * margin) // stride, : (width - 2 * margin) // stride]


class _BoundSession:
    """A session whose input and output stay in one place on the device for as long as the shape is the same."""

    def __init__(self, session: Any, form: GraphForm, device: str) -> None:
        self._session, self._form, self._device = session, form, device
        self._shape: tuple[int, ...] | None = None

    def __call__(self, batch: NDArray[Any]) -> NDArray[Any]:
        if batch.shape != self._shape:
            self._bind(batch)
        self._input.update_inplace(batch)
        self._session.run_with_iobinding(self._binding)
        raw: NDArray[Any] = self._binding.copy_outputs_to_cpu()[0]
        return raw

    def _bind(self, batch: NDArray[Any]) -> None:
        self._input = onnxruntime.OrtValue.ortvalue_from_numpy(batch, self._device, 0)
        self._binding = self._session.io_binding()
        self._binding.bind_ortvalue_input(self._form.input, self._input)
        self._binding.bind_output(self._form.output, self._device, 0)
        self._shape = batch.shape


def _filled(windows: NDArray[np.uint8], size: int, side: int) -> NDArray[np.uint8]:
    """Bring windows (B, h, w, 3) to (size, side, side, 3)."""
    count, height, width = windows.shape[:3]
    if (count, height, width) == (size, side, side):
        return windows
    return np.pad(
        windows,
        ((0, size - count), (0, side - height), (0, side - width), (0, 0)),
        mode="symmetric",
    )
