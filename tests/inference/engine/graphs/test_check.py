"""What a graph may not be, each refused with what it has and what is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wsi_segment.errors import ModelError
from wsi_segment.inference.engine.graphs.check import find_form, layout_of, measured_activation
from wsi_segment.inference.engine.graphs.conversion import GraphForm, as_logits
from wsi_segment.inference.engine.stitch import softmax
from wsi_segment.model.card import InputFormat, ModelCard, OutputFormat
from wsi_segment.model.varied_windows import varied_windows


class Value:
    def __init__(self, name: str, shape: list[Any], kind: str = "tensor(float)") -> None:
        self.name, self.shape, self.type = name, shape, kind


class Session:
    """Answers as a graph would whose output is a function of its input."""

    def __init__(self, inputs: list[Value], **outputs: Any) -> None:
        self.inputs, self.outputs = inputs, outputs

    def get_inputs(self) -> list[Value]:
        return self.inputs

    def get_outputs(self) -> list[Value]:
        return [Value(name, []) for name in self.outputs]

    def run(self, names: list[str], given: dict[str, Any]) -> list[Any]:
        (pixels,) = given.values()
        batch = self.inputs[0].shape[0]
        if isinstance(batch, int) and len(pixels) != batch:
            raise RuntimeError(
                "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got invalid dimensions for input\n at index 0"
            )
        return [self.outputs[name](pixels) for name in names]


def card(classes: int = 3, **changes: Any) -> ModelCard:
    return ModelCard.model_validate(
        {
            "name": "c",
            "version": "1",
            "mpp": 1.0,
            "window": 64,
            "output_stride": 1,
            "classes": [{"name": f"k{index}", "color": (index, 0, 0)} for index in range(classes)],
            "input": InputFormat(layout="NCHW", dtype="float32"),
            "files": {"model.onnx": "0" * 64},
            "license": "x",
            "training_data": "x",
            "intended_use": "x",
            "limitations": "x",
        }
        | changes
    )


def pixels_in(batch: Any = "n", side: Any = 64, kind: str = "tensor(float)") -> list[Value]:
    return [Value("x", [batch, 3, side, side], kind)]


def logits(x: np.ndarray) -> np.ndarray:
    return (x - 0.5) * 9


PATH = Path("foreign.onnx")


@pytest.mark.parametrize(
    ("session", "stated", "message"),
    [
        (Session([*pixels_in(), Value("mask", [1])], y=logits), {}, r"2 inputs \(x, mask\).*has one"),
        (Session(pixels_in(side=96), y=logits), {}, r"float32 \[n, 3, 96, 96\], the card says .* windows of 64 px"),
        (Session(pixels_in(kind="tensor(double)"), y=logits), {}, r"tensor\(double\) \[n, 3"),
        (Session([Value("x", ["n", 4, 64, 64])], y=logits), {}, r"\[n, 4, 64, 64\]"),
        (Session(pixels_in(), y=logits, z=logits), {}, r"several outputs.*\(y, z\); name one"),
        (Session(pixels_in(), y=logits), {"output": OutputFormat(name="z")}, r"no output 'z'; its outputs are y"),
        (Session(pixels_in(), y=lambda x: logits(x)[..., 2:-2, 2:-2]), {}, r"gives float32 \(2, 3, 60, 60\)"),
        (Session(pixels_in(), y=lambda x: logits(x) * np.nan), {}, "not numbers"),
        (Session(pixels_in(), y=lambda x: softmax(logits(x))), {"activation": "logits"}, "gives softmax.*says logits"),
        (Session(pixels_in(), y=logits), {"activation": "softmax"}, "gives logits.*says softmax"),
        (Session(pixels_in(), y=lambda x: logits(x)[:, :1]), {}, "one output channel.*lists 3"),
        (Session(pixels_in(), y=lambda x: (x[:, 0] * 9).astype(np.int64)), {}, "class number 9, its card lists 3"),
        (Session(pixels_in(), y=lambda x: logits(x - x.mean(axis=0))), {}, "other windows of the batch"),
        (
            Session(pixels_in(), y=lambda x: logits(x) + np.random.default_rng().normal(0, 5, x.shape)),
            {},
            "or on chance",
        ),
        (Session(pixels_in(), y=lambda x: logits(x)[0]), {}, "nothing per window"),
    ],
)
def test_what_cannot_be_run_is_refused_by_name(session: Session, stated: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=f"foreign.onnx: .*{message}"):
        find_form(session, PATH, card(**stated))


def test_the_runtimes_reason_is_shown_to_its_end() -> None:
    def fails(x: np.ndarray) -> np.ndarray:
        raise RuntimeError("[ONNXRuntimeError] : 1 : FAIL : first line\nsecond line, opset 99")

    with pytest.raises(ModelError, match=r"two windows as its card describes them: first line second line, opset 99$"):
        find_form(Session(pixels_in(), y=fails), PATH, card())


def test_a_batch_that_is_dynamic_in_name_only_is_found() -> None:
    def only_one(x: np.ndarray) -> np.ndarray:
        return logits(x).reshape(1, 3, 64, 64)

    assert find_form(Session(pixels_in(), y=only_one), PATH, card()).batch == 1


@pytest.mark.parametrize(
    ("output", "measured"),
    [
        (np.array([-3.0, 2.0]), "logits"),
        (np.array([0.0, 40.5]), "logits"),
        (np.array([0.0, 1.0]), "argmax"),
        (np.array([0.25, 0.5]), "sigmoid"),
        (np.array([3, 1]), "argmax"),
        (np.array([True, False]), "argmax"),
    ],
)
def test_one_channel_is_told_by_its_values(output: np.ndarray, measured: str) -> None:
    assert measured_activation(output.reshape(1, 1, 1, 2)) == measured


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_a_softmax_is_told_from_sigmoids_and_logits(kind: type) -> None:
    values = np.random.default_rng(0).normal(0, 3, (4, 5, 16, 16)).astype(np.float32)
    assert measured_activation(values.astype(kind)) == "logits"
    assert measured_activation(softmax(values).astype(kind)) == "softmax"
    assert measured_activation((1 / (1 + np.exp(-values))).astype(kind)) == "sigmoid"


def test_what_a_graph_did_to_its_logits_is_undone() -> None:
    values = np.random.default_rng(1).normal(0, 3, (2, 3, 4, 4)).astype(np.float32)
    probabilities = softmax(values)

    def probabilities_of(raw: np.ndarray, activation: Any, channels: int, classes: int) -> np.ndarray:
        return softmax(
            as_logits(
                raw,
                GraphForm(input="x", batch=None, output="y", layout="NCHW", channels=channels, activation=activation),
                classes,
            )
        )

    np.testing.assert_allclose(probabilities_of(probabilities, "softmax", 3, 3), probabilities, atol=1e-6)
    p = 1 / (1 + np.exp(-values[:, :1]))
    for raw, activation in ((p, "sigmoid"), (values[:, :1], "logits")):
        np.testing.assert_allclose(probabilities_of(raw, activation, 1, 2)[:, 1:], p, atol=1e-6)
    certain = probabilities_of(values.argmax(axis=1)[:, None], "argmax", 1, 3)
    np.testing.assert_array_equal(certain.argmax(axis=1), values.argmax(axis=1))
    np.testing.assert_array_equal(certain.max(axis=1), 1)
    zero_and_one = np.array([0.0, 1.0], np.float32).reshape(1, 1, 1, 2)
    np.testing.assert_array_equal(probabilities_of(zero_and_one, "sigmoid", 1, 2)[0, :, 0].argmax(axis=0), [0, 1])


@pytest.mark.parametrize("number", [3, 255, -1])
def test_a_class_number_that_only_the_slide_brings_out_is_refused(number: int) -> None:
    form = GraphForm(input="x", batch=None, output="y", layout="NHW", channels=1, activation="argmax")
    raw = np.zeros((1, 4, 4), np.int64)
    raw[0, 1, 2] = number
    with pytest.raises(ModelError, match=f"gives class number {number}, its card lists 3 classes, counted from 0"):
        as_logits(raw, form, 3)


def test_the_order_of_axes_is_told_by_the_shape() -> None:
    assert layout_of((4, 3, 16, 16), "f", 16, {1, 2, 3}) == "NCHW"
    assert layout_of((4, 16, 16, 3), "f", 16, {1, 2, 3}) == "NHWC"
    assert layout_of((4, 16, 16), "i", 16, {3}) == "NHW"
    assert layout_of((4, 3), "f", 1, {3}) == "NC"
    assert layout_of((4, 3, 16, 16), "i", 16, {3}) is None
    assert layout_of((4, 3, 16, 15), "f", 16, {3}) is None


def test_varied_windows_are_the_same_every_time_and_use_all_grey_levels() -> None:
    windows = varied_windows(4, 96)
    np.testing.assert_array_equal(windows, varied_windows(4, 96))
    assert windows.shape == (4, 96, 96, 3)
    assert (windows.min(), windows.max()) == (0, 255)
