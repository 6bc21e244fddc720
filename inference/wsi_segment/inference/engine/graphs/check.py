"""What a graph does, found by running it on windows of every kind, beside what its card says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi_segment.errors import ModelError
from wsi_segment.inference.engine.graphs.conversion import GraphForm, Layout, as_input, as_logits, channels_first
from wsi_segment.inference.grid.box import ceil_div
from wsi_segment.model.card import Activation, InputFormat, Model, ModelCard
from wsi_segment.model.varied_windows import varied_windows

VARIED = 4
"""Windows that a graph is tried on."""

TYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32", "tensor(float16)": "float16"}
"""Types of an input that can be filled, as onnxruntime and as a card spell them."""
_SUM_TOLERANCE = {np.dtype(np.float16): 1e-2}
"""Distance from 1 of the sum of a softmax; 2e-3 for other types."""
_EXTERNAL = b"\n\x08location\x12"
"""Start of the external_data entry in which a tensor of an ONNX file names the file that holds its data."""

Outputs = dict[str, NDArray[Any]]


def reason_of(error: Exception) -> str:
    """Return the whole text of an error of onnxruntime on one line, without its code."""
    text = " ".join(str(error).split())
    return re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text) or type(error).__name__


def run_graph(session: Any, windows: NDArray[np.uint8], form: InputFormat, batch: int | None) -> Outputs:
    """Run windows (B, h, w, 3) in calls of ``batch``, the last one padded with its last window.

    Returns:
        The outputs that have one entry per window, by name.
    """
    size, names = batch or len(windows), [output.name for output in session.get_outputs()]
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
    pixels = session.get_inputs()[0].name
    for start in range(0, len(windows), size):
        part = as_input(padded(windows[start : start + size], size), form)
        for name, raw in zip(names, session.run(names, {pixels: part}), strict=True):
            if isinstance(raw, np.ndarray) and raw.ndim and len(raw) == size:
                parts[name].append(raw)
    calls = ceil_div(len(windows), size)
    return {name: np.concatenate(found)[: len(windows)] for name, found in parts.items() if len(found) == calls}


def logits_of(session: Any, windows: NDArray[np.uint8], form: GraphForm, card: ModelCard) -> NDArray[np.float32]:
    """Run windows (B, h, w, 3) in the calls that a graph takes; return logits (B, C, rows, columns)."""
    size = form.batch or len(windows)
    parts = [
        session.run([form.output], {form.input: as_input(padded(windows[start : start + size], size), card.input)})[0]
        for start in range(0, len(windows), size)
    ]
    raw = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return as_logits(raw[: len(windows)], form, len(card.classes))


def whole_weights(model: Model, file: str) -> Path:
    """Return the path of a model's graph after checking its hash and that it holds all its weights.

    Raises:
        ModelError: the file is changed, or keeps weights in others.
    """
    path = model.weights(file)
    if keeps_weights_elsewhere(path):
        raise ModelError(f"{path}: keeps weights in other files, which its card does not vouch for; export it whole")
    return path


def keeps_weights_elsewhere(path: Path) -> bool:
    """Return whether an ONNX file names others that hold its weights."""
    return _EXTERNAL in path.read_bytes()


def padded(windows: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Repeat the last window until there are ``size`` of them."""
    if len(windows) == size:
        return windows
    return np.concatenate([windows, np.repeat(windows[-1:], size - len(windows), axis=0)])


def find_form(session: Any, path: Path, card: ModelCard) -> GraphForm:
    """Run a graph on varied windows and find out how it is called and what it gives.

    Args:
        session: An onnxruntime session.
        path: The graph's file, for messages.
        card: What it says must be what is found; what it leaves open is found.

    Raises:
        ModelError: the graph is not what its card says, or cannot be run by the engine; the line says what it has and
            what would be needed.
    """
    batch = _check_input(session, path, card)
    windows = varied_windows(VARIED, card.window)
    try:
        outputs = run_graph(session, windows, card.input, batch)
    except Exception as error:  # onnxruntime's errors have no common type of their own
        try:
            # the batch may be dynamic in name only: some exporters leave reshapes to a batch of 1 inside
            outputs, batch = run_graph(session, windows, card.input, 1), 1
        except Exception:  # onnxruntime's errors have no common type of their own
            raise ModelError(
                f"{path}: does not take two windows as its card describes them: {reason_of(error)}"
            ) from error
    name, layout = _choose_output(session, outputs, path, card)
    raw = channels_first(outputs[name], layout)
    if raw.dtype.kind == "f" and not np.isfinite(raw).all():
        raise ModelError(f"{path}: output {name} holds values that are not numbers; export it in float32")
    alone = run_graph(session, np.repeat(windows[:1], 2, axis=0), card.input, batch)[name][:1]
    _check_independent(raw[:1], channels_first(alone, layout), path)
    activation = _agreed_activation(raw, path, card)
    return GraphForm(
        input=session.get_inputs()[0].name,
        batch=batch,
        output=name,
        layout=layout,
        channels=raw.shape[1],
        activation=activation,
    )


def _check_input(session: Any, path: Path, card: ModelCard) -> int | None:
    """Compare a graph's input with its card; return the number of windows that it takes, None for any."""
    inputs = session.get_inputs()
    if len(inputs) != 1:
        names = ", ".join(one.name for one in inputs)
        raise ModelError(f"{path}: has {len(inputs)} inputs ({names}); a segmentation model has one, of pixels")
    shape, dtype = list(inputs[0].shape), TYPES.get(inputs[0].type, inputs[0].type)
    sides, channels = (shape[2:4], shape[1]) if card.input.layout == "NCHW" else (shape[1:3], shape[-1])
    fits = (
        len(shape) == 4
        and dtype == card.input.dtype
        and (not isinstance(channels, int) or channels == 3)
        and all(not isinstance(side, int) or side == card.window for side in sides)
    )
    if not fits:
        raise ModelError(
            f"{path}: does not take two windows as its card describes them: its input is {described(dtype, shape)}, "
            f"the card says {card.input.dtype} {card.input.layout} and windows of {card.window} px; correct the card, "
            "or have import-model write one"
        )
    return shape[0] if isinstance(shape[0], int) and shape[0] > 0 else None


def described(dtype: str, shape: list[Any]) -> str:
    """Return a type and shape such as ``float32 [batch, 3, 256, 256]``."""
    return f"{dtype} [{', '.join('?' if side is None else str(side) for side in shape)}]"


def layout_of(shape: tuple[int, ...], kind: str, cells: int, channels: set[int]) -> Layout | None:
    """Return the order of the axes of an output (B, ...), or None where it cannot be the one that is looked for.

    Args:
        shape: Of the output.
        kind: Of its type: ``f`` float, ``i``, ``u`` or ``b`` else, which are numbers of classes and have one channel.
        cells: Of a window, along one axis.
        channels: How many there may be.
    """
    wanted = channels if kind == "f" else {1}
    if len(shape) == 4 and shape[2:] == (cells, cells) and shape[1] in wanted:
        return "NCHW"
    if len(shape) == 4 and shape[1:3] == (cells, cells) and shape[3] in wanted:
        return "NHWC"
    if len(shape) == 3 and shape[1:] == (cells, cells) and 1 in wanted:
        return "NHW"
    if len(shape) <= 2 and cells == 1 and int(np.prod(shape[1:])) in wanted:
        return "NC"
    return None


def _choose_output(session: Any, outputs: Outputs, path: Path, card: ModelCard) -> tuple[str, Layout]:
    stated, classes = card.output, len(card.classes)
    there = [output.name for output in session.get_outputs()]
    if stated is not None and stated.name is not None:
        if stated.name not in there:
            raise ModelError(f"{path}: has no output {stated.name!r}; its outputs are {', '.join(there)}")
        outputs = {name: raw for name, raw in outputs.items() if name == stated.name}
    fitting: dict[str, Layout] = {}
    for name, raw in outputs.items():
        layout = layout_of(raw.shape, raw.dtype.kind, card.cells, {1, classes - 1, classes})
        if layout is not None and (stated is None or stated.layout in (None, layout)):
            fitting[name] = layout
    if len(fitting) > 1:
        raise ModelError(
            f"{path}: has several outputs that could be its classes ({', '.join(fitting)}); name one in its card, "
            "output.name"
        )
    if not fitting:
        raise ModelError(f"{path}: {_misfit(outputs, card)}; correct the card, or have import-model write one")
    name, layout = next(iter(fitting.items()))
    if classes == 1:
        only = card.classes[0].name
        raise ModelError(
            f"{path}: its one output channel tells a class from everything else, and its card lists one class; "
            f"list two classes: what is not {only}, and {only}"
        )
    return name, layout


def _misfit(outputs: Outputs, card: ModelCard) -> str:
    found = ", ".join(f"{raw.dtype} {(2, *raw.shape[1:])}" for raw in outputs.values()) or "nothing per window"
    return f"gives {found}, its card promises float32 {(2, len(card.classes), card.cells, card.cells)}"


def _check_independent(together: NDArray[Any], alone: NDArray[Any], path: Path) -> None:
    """Compare a window's output beside others with that beside itself."""
    first, second = together.astype(np.float32), alone.astype(np.float32)
    largest = max(float(np.abs(first).max()), 1e-3)
    if (np.abs(first - second) > 0.02 * largest).mean() > 0.001:
        raise ModelError(
            f"{path}: what it gives for a window depends on the other windows of the batch, or on chance, as batch "
            "normalisation and dropout do while a network is trained; export it in evaluation mode"
        )


def are_class_numbers(raw: NDArray[Any]) -> bool:
    """Return whether outputs for varied windows are whole numbers, as argmax gives, perhaps of a type for fractions."""
    return raw.dtype.kind != "f" or bool((raw == np.rint(raw)).all() and raw.min() >= 0 and raw.max() < 255)


def measured_activation(raw: NDArray[Any]) -> Activation:
    """Tell what outputs (B, C, h, w) for varied windows are; parts of a whole (percent, one-hot) count as softmax.

    >>> measured_activation(np.array([[30.0, 70.0], [99.0, 1.0]]).reshape(2, 2, 1, 1))
    'softmax'
    """
    channels = raw.shape[1]
    if channels == 1 and are_class_numbers(raw):
        return "argmax"
    values = raw.astype(np.float32)
    sums, tolerance = values.sum(axis=1), _SUM_TOLERANCE.get(raw.dtype, 2e-3)
    if channels > 1 and values.min() >= 0 and np.abs(sums - sums.mean()).max() <= tolerance * sums.mean() != 0:
        return "softmax"
    if values.min() < 0 or values.max() > 1.001:
        return "logits"
    return "sigmoid"


def other_than_scores(raw: NDArray[Any]) -> str | None:
    """Say what outputs (B, C, h, w) for varied windows are where the largest is not the class, else None."""
    if raw.shape[1] == 1 or raw.dtype.kind != "f":
        return None
    values, tolerance = raw.astype(np.float64), 5 * _SUM_TOLERANCE.get(raw.dtype, 2e-3)
    if 1 not in raw.shape[2:] and values.min() >= 0 and values.max() < 1.001:
        for axis, name in ((2, "rows"), (3, "columns")):
            if np.abs(values.sum(axis=axis) - 1).max() <= tolerance:
                return f"a softmax over the {name} of the window, not over classes"

    def is_always(sums: NDArray[np.float64], total: float) -> bool:
        return float(np.abs(sums - total).max()) <= tolerance * max(1.0, abs(total))

    if values.min() >= 0 and values.max() > 1.001 and is_always(np.exp(-values).sum(axis=1), 1):
        return "negative log-probabilities, of which the smallest is the class"
    if values.max() <= 0 and is_always(values.sum(axis=1), -1):
        return "negative probabilities, of which the smallest is the class"
    if raw.shape[1] > 2 and values.min() >= 0 and values.max() < 1.001:
        return (
            "1 less probabilities, of which the smallest is the class"
            if is_always(values.sum(axis=1), raw.shape[1] - 1)
            else None
        )
    return None


def _agreed_activation(raw: NDArray[Any], path: Path, card: ModelCard) -> Activation:
    measured, classes, channels = measured_activation(raw), len(card.classes), raw.shape[1]
    if (wrong := other_than_scores(raw)) is not None:
        raise ModelError(
            f"{path}: gives {wrong} (from {raw.min():.3g} to {raw.max():.3g}); export it so that the largest channel "
            "is the class"
        )
    if measured == "softmax" and card.activation == "logits" and raw.max() > 1.001:
        measured = "logits"  # percent, on earlier cards
    if card.activation is not None and card.activation != measured:
        raise ModelError(
            f"{path}: gives {measured} on varied windows (from {raw.min():.3g} to {raw.max():.3g}), its card says "
            f"{card.activation}; correct its activation"
        )
    if measured == "argmax" and raw.max() >= classes:
        raise ModelError(f"{path}: gives class number {int(raw.max())}, its card lists {classes}, counted from 0")
    if channels == classes - 1 and channels > 1 and measured != "sigmoid":
        raise ModelError(
            f"{path}: gives {channels} channels of {measured}, its card lists {classes} classes; list one per channel"
        )
    if channels == 1 and measured != "argmax" and classes > 2:
        raise ModelError(f"{path}: has one output channel, which tells two classes apart; its card lists {classes}")
    return measured
