from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from wsi_segment.export.stem import fold_stem

OUT = 8


def quantised_stem(side: int, channels: int = 3, pad: int | None = None, *, bias: bool = True) -> onnx.ModelProto:
    """A graph in QDQ form of one convolution of stride 2 over NHWC pixels, which end as bytes."""
    rng = np.random.default_rng(side)
    weights = rng.integers(-127, 128, (OUT, channels, side, side), dtype=np.int8)
    pads = [side // 2 if pad is None else pad] * 4
    constants = {
        "scale": np.float32(1 / 128),
        "zero": np.uint8(255),
        "w": weights,
        "w_scale": np.linspace(0.001, 0.004, OUT, dtype=np.float32),
        "w_zero": np.zeros(OUT, np.int8),
        "b": rng.integers(-2000, 2001, OUT, dtype=np.int32),
        "b_scale": np.linspace(0.001, 0.004, OUT, dtype=np.float32) / np.float32(128),
        "b_zero": np.zeros(OUT, np.int32),
        "y_scale": np.float32(0.02),
        "y_zero": np.uint8(120),
    }
    nodes = [
        helper.make_node("Transpose", ["pixels"], ["nchw"], perm=[0, 3, 1, 2], name="to_nchw"),
        helper.make_node("DequantizeLinear", ["nchw", "scale", "zero"], ["x"], name="normalise"),
        helper.make_node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["wf"], axis=0, name="weights"),
        helper.make_node("DequantizeLinear", ["b", "b_scale", "b_zero"], ["bf"], axis=0, name="bias"),
        helper.make_node(
            "Conv", ["x", "wf", "bf"], ["y"], strides=[2, 2], pads=pads, kernel_shape=[side] * 2, name="conv"
        ),
        helper.make_node("QuantizeLinear", ["y", "y_scale", "y_zero"], ["logits"], name="quantise"),
    ]
    if not bias:
        constants = {name: value for name, value in constants.items() if not name.startswith("b")}
        nodes = [node for node in nodes if node.name != "bias"]
        del nodes[3].input[2:]
    graph = helper.make_graph(
        nodes,
        "stem",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", "height", "width", channels])],
        [helper.make_tensor_value_info("logits", TensorProto.UINT8, ["batch", OUT, "rows", "columns"])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def run(model: onnx.ModelProto, pixels: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(None, {"pixels": pixels})[0]
    return found


@pytest.mark.parametrize("side", [1, 3, 5, 7, 9])
@pytest.mark.parametrize(("channels", "bias"), [(1, True), (3, True), (3, False), (4, True)])
def test_a_stem_over_strips_gives_the_same_bytes(side: int, channels: int, bias: bool) -> None:
    folded = quantised_stem(side, channels, bias=bias)
    assert fold_stem(folded)
    (weights,) = (one for one in folded.graph.initializer if one.name == "w")
    assert list(weights.dims[:3]) == [2 * OUT, 4 * channels, side]
    rng = np.random.default_rng(0)
    for batch, height, width in ((1, 2, 4), (1, 3, 8), (2, 34, 16), (1, 64, 132)):
        pixels = rng.integers(0, 256, (batch, height, width, channels), dtype=np.uint8)
        found = run(folded, pixels)
        assert len(np.unique(found)) > 3
        np.testing.assert_array_equal(found, run(quantised_stem(side, channels, bias=bias), pixels))


def test_no_other_layout_is_made_of_what_a_stem_over_strips_reads_and_gives(tmp_path: Path) -> None:
    folded = quantised_stem(7)
    assert fold_stem(folded)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(folded.SerializeToString(), options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert kinds.count("QLinearConv") == 1
    assert kinds.count("Transpose") == 1  # of the output, which the test reads in NCHW


def test_other_first_convolutions_are_left_as_they_are() -> None:
    wide, uneven = quantised_stem(3, channels=5), quantised_stem(7, pad=2)
    twice = quantised_stem(3)
    twice.graph.node.append(helper.make_node("Identity", ["x"], ["seen"], name="seen"))
    channels_first = quantised_stem(3)
    channels_first.graph.node[0].attribute[0].ints[:] = [0, 2, 1, 3]
    in_float = quantised_stem(3)
    in_float.graph.initializer.append(numpy_helper.from_array(np.ones((OUT, 3, 3, 3), np.float32), "wf"))
    del in_float.graph.node[2]
    read_in_float = quantised_stem(3)
    read_in_float.graph.node.append(helper.make_node("Identity", ["y"], ["seen"], name="seen"))
    of_channels, earlier = quantised_stem(3), quantised_stem(3)
    for name, value in (("scale", np.full(3, 1 / 128, np.float32)), ("zero", np.full(3, 255, np.uint8))):
        next(one for one in of_channels.graph.initializer if one.name == name).CopyFrom(
            numpy_helper.from_array(value, name)
        )
    earlier.opset_import[0].version = 13
    given = quantised_stem(3)
    given.graph.output.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, None))
    for model in (of_channels, earlier, given, wide, uneven, twice, channels_first, in_float, read_in_float):
        before = model.SerializeToString()
        assert not fold_stem(model)
        assert model.SerializeToString() == before


def test_a_graph_that_is_folded_once_is_not_folded_again() -> None:
    model = quantised_stem(7)
    assert fold_stem(model)
    assert not fold_stem(model)
