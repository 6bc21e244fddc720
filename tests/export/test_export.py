from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="export needs the extra [train]")
import onnx  # noqa: E402

from synthetic import class_map, tissue_like, write_slide  # noqa: E402
from wsi_segment.errors import ModelError  # noqa: E402
from wsi_segment.export.graph import to_onnx  # noqa: E402
from wsi_segment.export.parity import LARGEST_DIFFERENCE, check_parity  # noqa: E402
from wsi_segment.inference.engine.networks.onnx_network import OnnxNetwork  # noqa: E402
from wsi_segment.model.card import find_model  # noqa: E402
from wsi_segment.model.training.resnet import SegmentationNetwork, normalise  # noqa: E402
from wsi_segment.service.cli.main import main  # noqa: E402

PATCHES = np.random.default_rng(0).integers(0, 256, (3, 128, 128, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def network() -> SegmentationNetwork:
    torch.manual_seed(0)
    return SegmentationNetwork(4, "lateral").eval()


@pytest.fixture(scope="module")
def graph(network: SegmentationNetwork) -> onnx.ModelProto:
    return to_onnx(network)


def test_pixels_go_in_as_uint8_and_logits_come_at_the_output_stride(graph: onnx.ModelProto) -> None:
    (pixels,), (logits,) = graph.graph.input, graph.graph.output
    assert pixels.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    shape = [d.dim_value or d.dim_param for d in pixels.type.tensor_type.shape.dim]
    assert shape == ["batch", "height", "width", 3]
    assert [d.dim_value or d.dim_param for d in logits.type.tensor_type.shape.dim] == ["batch", 4, "rows", "columns"]
    assert [node.op_type for node in graph.graph.node][:2] == ["Transpose", "DequantizeLinear"]


def test_the_graph_names_no_source_file(graph: onnx.ModelProto) -> None:
    assert b".py" not in graph.SerializeToString()


def test_the_graph_computes_what_the_network_computes(network: SegmentationNetwork, graph: onnx.ModelProto) -> None:
    assert check_parity(network, graph, PATCHES) < LARGEST_DIFFERENCE
    assert check_parity(network, graph, PATCHES[:1]) < LARGEST_DIFFERENCE


def test_a_graph_that_differs_is_refused(network: SegmentationNetwork, graph: onnx.ModelProto) -> None:
    other = SegmentationNetwork(4, "lateral").eval()
    with pytest.raises(ModelError, match="differs from the network"):
        check_parity(other, graph, PATCHES)


def test_train_export_and_run_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    rows = ["image,mask,label,group,split"]
    for index, split in enumerate(["train", "train", "val"]):
        mask = np.ones((128, 128), np.uint8)
        mask[:, 64:] = 2
        Image.fromarray(rng.integers(0, 256, (128, 128, 3), dtype=np.uint8)).save(tmp_path / f"{index}.png")
        Image.fromarray(mask).save(tmp_path / f"{index}_mask.png")
        rows.append(f"{index}.png,{index}_mask.png,,{index},{split}")
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    classes = [{"name": "a", "color": [1, 2, 3]}, {"name": "b", "color": [4, 5, 6]}]
    (tmp_path / "classes.json").write_text(json.dumps({"classes": classes, "mpp": 0.5}))
    small = ["--set", "segmentation_batch=2", "--set", "validate_every=2", "--recipe", "paper", "--steps", "2"]
    assert main(["train", str(tmp_path / "manifest.csv"), "--out", str(tmp_path / "run"), *small]) == 0
    assert "best at step 2" in capsys.readouterr().out
    assert (tmp_path / "run" / "curves.png").stat().st_size > 5000
    assert main(["export", str(tmp_path / "run"), "--out", str(tmp_path / "my-model")]) == 0
    assert "differ from the network's by at most" in capsys.readouterr().out
    model = find_model(tmp_path / "my-model")
    assert (model.card.name, model.card.mpp, model.card.output_stride) == ("my-model", 0.5, 8)
    with torch.inference_mode():
        from wsi_segment.model.training.run_folder import load_run

        expected = load_run(tmp_path / "run").network(normalise(torch.from_numpy(PATCHES).permute(0, 3, 1, 2)))
    np.testing.assert_allclose(OnnxNetwork(model, "cpu")(PATCHES), expected.numpy(), atol=1e-3)
    slide = write_slide(tmp_path / "slide.tiff", tissue_like(300, 400))
    out = tmp_path / "mask.zarr"
    assert main([str(slide), "--out", str(out), "--model", str(tmp_path / "my-model"), "--mpp", "0.5"]) == 0
    assert set(np.unique(class_map(out))) - {0} <= {1, 2}
    assert class_map(out).any()
    assert main(["export", str(tmp_path / "run"), "--out", str(tmp_path / "my-model")]) == 2
    assert "--overwrite" in capsys.readouterr().err
