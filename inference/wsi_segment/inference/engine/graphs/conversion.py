"""Between the engine's arrays and those of a graph: pixels in its layout and type, its output as logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from wsi_segment.errors import ModelError
from wsi_segment.model.card import Activation, InputFormat

Layout = Literal["NCHW", "NHWC", "NHW", "NC"]

_TINY = np.float32(1e-37)
"""Value in place of a probability of 0, which has no logarithm."""
_NEVER = np.float32(-200)
"""A logit beside one of 0: its probability is 0 in float32."""


@dataclass(frozen=True, slots=True)
class GraphForm:
    """How a graph is called and what it gives, as was found by running it."""

    input: str
    """Name of its one input."""
    batch: int | None
    """Windows in each call, where the graph takes no other number."""
    output: str
    """Name of the output that is used."""
    layout: Layout
    channels: int
    """1 for an output without channels."""
    activation: Activation


def as_input(windows: NDArray[np.uint8], form: InputFormat) -> NDArray[Any]:
    """Bring windows (B, h, w, 3) into a graph's layout and type; return the same array for uint8 NHWC of RGB."""
    batch: NDArray[Any] = windows
    if form.dtype != "uint8":
        scale = np.float32(1 / 255) / np.asarray(form.std, np.float32)
        offset = np.asarray(form.mean, np.float32) / np.asarray(form.std, np.float32)
        batch = windows.astype(np.float32) * scale - offset
    if form.dtype == "float16":
        batch = batch.astype(np.float16)
    if form.colours == "BGR":
        batch = np.ascontiguousarray(batch[..., ::-1])
    if form.layout == "NCHW":
        batch = np.ascontiguousarray(batch.transpose(0, 3, 1, 2))
    return batch


def channels_first(raw: NDArray[Any], layout: Layout) -> NDArray[Any]:
    """View a graph's output as (B, C, h, w)."""
    if layout == "NHWC":
        return raw.transpose(0, 3, 1, 2)
    if layout == "NHW":
        return raw[:, None]
    if layout == "NC":
        return raw.reshape(len(raw), -1, 1, 1)
    return raw


def as_logits(raw: NDArray[Any], form: GraphForm, classes: int) -> NDArray[np.float32]:
    """Undo what a graph did to its logits, so that one softmax, later, gives the probabilities that the graph means.

    Args:
        raw: The graph's output for B windows, in its own layout and type.
        form: What that output is.
        classes: Number of classes on the card. One more than channels: the first class is where no channel exceeds
            one half.

    Returns:
        (B, classes, h, w) logits. Of sigmoids of as many channels as classes, probabilities are those in proportion.

    Raises:
        ModelError: the graph gives the number of a class that the card does not list.
    """
    values = channels_first(raw, form.layout)
    if form.activation == "argmax":
        chosen = values[:, 0][:, None] == np.arange(classes).reshape(1, -1, 1, 1)
        if not (known := chosen.any(axis=1)).all():
            other = values[:, 0][~known][0]
            raise ModelError(
                f"the network gives class number {other}, its card lists {classes} classes, counted from 0; import it "
                "again with the names of all"
            )
        return np.where(chosen, np.float32(0), _NEVER)
    logits: NDArray[np.float32] = values.astype(np.float32, copy=False)
    if form.activation in ("softmax", "sigmoid"):
        logits = np.log(np.maximum(logits, _TINY))
        if form.channels < classes:
            logits -= np.log(np.maximum(1 - values.astype(np.float32), _TINY))
    if form.channels < classes:
        none = np.zeros((len(logits), 1, *logits.shape[2:]), np.float32)
        logits = np.concatenate([none, logits], axis=1)
    return logits
