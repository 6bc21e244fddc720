from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from wsi_segment.export.logits_product import multiply_logits

CHANNELS, CLASSES = 64, 7


def quantised_head(*, side: int = 1, bias: bool = True) -> onnx.ModelProto:
    """A graph whose bytes (B, 64, H, W) are read by one convolution in float."""
    rng = np.random.default_rng(0)
    constants = {
        "scale": np.float32(0.0274),
        "zero": np.uint8(3),
        "w": rng.normal(size=(CLASSES, CHANNELS, side, side)).astype(np.float32),
        "b": rng.normal(size=CLASSES).astype(np.float32),
    }
    inputs = ["x", "w", "b"] if bias else ["x", "w"]
    nodes = [
        helper.make_node("DequantizeLinear", ["bytes", "scale", "zero"], ["x"], name="read"),
        helper.make_node("Conv", inputs, ["logits"], pads=[side // 2] * 4, name="last"),
    ]
    graph = helper.make_graph(
        nodes,
        "head",
        [helper.make_tensor_value_info("bytes", TensorProto.UINT8, ["batch", CHANNELS, "height", "width"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES, "height", "width"])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items() if bias or name != "b"],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def run(model: onnx.ModelProto, values: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(None, {"bytes": values})[0]
    return found


@pytest.mark.parametrize("bias", [True, False])
def test_a_product_gives_the_logits_of_the_convolution(bias: bool) -> None:
    model = quantised_head(bias=bias)
    assert multiply_logits(model)
    assert [node.op_type for node in model.graph.node].count("Conv") == 0
    rng = np.random.default_rng(1)
    for batch, height, width in ((1, 1, 1), (2, 5, 9), (1, 40, 33)):
        values = rng.integers(0, 256, (batch, CHANNELS, height, width), dtype=np.uint8)
        np.testing.assert_allclose(run(model, values), run(quantised_head(bias=bias), values), rtol=0, atol=2e-4)


def test_other_last_convolutions_are_left_as_they_are() -> None:
    wide, shared, seen = quantised_head(side=3), quantised_head(), quantised_head()
    shared.graph.node.append(helper.make_node("Identity", ["w"], ["copy"], name="copy"))
    seen.graph.node.append(helper.make_node("Identity", ["x"], ["copy"], name="copy"))
    strided, none = quantised_head(), quantised_head()
    strided.graph.node[1].attribute.append(helper.make_attribute("strides", [2, 2]))
    del none.graph.node[1]
    given = quantised_head()
    given.graph.output.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, None))
    for model in (given, wide, shared, seen, strided, none):
        before = model.SerializeToString()
        assert not multiply_logits(model)
        assert model.SerializeToString() == before


def test_a_graph_that_is_rewritten_once_is_not_rewritten_again() -> None:
    model = quantised_head()
    assert multiply_logits(model)
    assert not multiply_logits(model)
