#!/usr/bin/env bash
# onnxruntime can save the graph that it has loaded (SessionOptions.optimized_model_filepath). One would guess that the
# file saved from a model whose weights lie in a second file is complete, since the session holds all weights in memory.
# It is not: tensors that no optimisation has touched still name the second file, by a path relative to the new one, and
# the saved model does not load anywhere else.
# Seen with onnx 1.23.2 and onnxruntime 1.31.1 on Linux x86-64, Python 3.11:
#     beside the weights: loads; alone in another folder: fails
# What does make one file: onnx.save(onnx.load(path), other).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnx==1.23.2 onnxruntime==1.31.1 numpy
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

weight = numpy_helper.from_array(np.ones((64, 64, 3, 3), np.float32), "w")
values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 64, "h", "w_"]) for name in ("x", "y")]
graph = helper.make_graph([helper.make_node("Conv", ["x", "w"], ["y"])], "g", values[:1], values[1:], [weight])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
onnx.save(model, "two-files.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)

options = onnxruntime.SessionOptions()
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
options.optimized_model_filepath = "saved.onnx"
onnxruntime.InferenceSession("two-files.onnx", options, providers=["CPUExecutionProvider"])


def loads(path: str) -> bool:
    try:
        onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as error:
        print("   ", " ".join(str(error).split())[:200])
        return False
    return True


Path("elsewhere").mkdir()
shutil.copy("saved.onnx", "elsewhere/saved.onnx")
onnx.save(onnx.load("two-files.onnx"), "elsewhere/whole.onnx")
found = loads("saved.onnx"), loads("elsewhere/saved.onnx"), loads("elsewhere/whole.onnx")
print("beside the weights, alone in another folder, saved by onnx:", found)
assert found == (True, False, True), "this has changed"
PYTHON
