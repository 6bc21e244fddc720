from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from synthetic import class_map, tissue_like, write_slide
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.model.card import find_model
from wsi_segment.service.cli.main import main

WEIGHT = np.array([[-20.0, 20.0, 0.0], [20.0, -20.0, 0.0]], np.float32)
"""Of two classes: what is green, and what is red."""


def write_graph(path: Path, *, vector: bool = False, side: int = 64, external: bool = False) -> Path:
    """A network that tells red from green, per pixel or per window."""
    weight = numpy_helper.from_array(WEIGHT[:, :, None, None], "w")
    nodes = [helper.make_node("Conv", ["x", "w"], ["cells" if vector else "y"])]
    shape: list[Any] = ["n", 2, side, side]
    if vector:
        nodes += [
            helper.make_node("GlobalAveragePool", ["cells"], ["mean"]),
            helper.make_node("Flatten", ["mean"], ["y"]),
        ]
        shape = ["n", 2]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, side, side])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)]
    graph = helper.make_graph(nodes, "g", inputs, outputs, [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path, save_as_external_data=external, location="weights.bin", size_threshold=0)
    return path


def two_colours(height: int = 300, width: int = 400) -> np.ndarray:
    """Red in the left 150 columns, green elsewhere."""
    pixels = np.full((height, width, 3), (60, 160, 60), np.uint8)
    pixels[:, :150] = (200, 80, 80)
    return pixels


def test_a_model_is_made_and_shown_on_a_slide(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slide = write_slide(tmp_path / "s.tiff", tissue_like(500, 600))
    words = ["import-model", write_graph(tmp_path / "f.onnx"), "--classes", "green,red", "--mpp", 1, "--slide", slide]
    assert main([str(word) for word in [*words, "--out", tmp_path / "Model"]]) == 0
    said = capsys.readouterr().out
    assert "model 1, 2 classes: green, red" in said
    assert "64 x 64 cells of 1 px" in said
    card = find_model(tmp_path / "Model").card
    assert (card.name, card.window, card.activation, card.mpp_source) == ("model", 64, "logits", "given at import")
    with Image.open(tmp_path / "Model" / "preview.png") as picture:
        assert picture.width > 600
    assert main([str(word) for word in [*words, "--out", tmp_path / "Model"]]) == 2
    assert "card.json: already exists" in capsys.readouterr().err


def test_the_name_on_a_card_is_made_of_the_folders(tmp_path: Path) -> None:
    words = ["import-model", write_graph(tmp_path / "f.onnx"), "--classes", "green,red", "--mpp", 1, "--quiet"]
    assert main([str(word) for word in [*words, "--out", tmp_path / "My model, v2"]]) == 0
    assert find_model(tmp_path / "My model, v2").card.name == "my-model-v2"


def test_what_a_configuration_says_beyond_its_specification_is_asked_about(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {
        "spec_version": "1.0", "architecture": "resnet34", "num_classes": 2, "class_names": ["green", "red"],
        "patch_size_pixels": 64, "spacing_um_px": 1.0, "transform": [{"name": "ToTensor"}], "halo_size_pixels": 16,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    graph = write_graph(tmp_path / "f.onnx", vector=True)
    words = ["import-model", graph, "--config", tmp_path / "config.json", "--out", tmp_path / "model"]
    assert main([str(word) for word in words]) == 0
    assert "doubt: its configuration has halo_size_pixels, which is not read" in capsys.readouterr().out


def test_a_wsinfer_model_paints_the_step_of_each_window(tmp_path: Path) -> None:
    config = {
        "spec_version": "1.0",
        "architecture": "resnet34",
        "num_classes": 2,
        "class_names": ["green", "red"],
        "patch_size_pixels": 128,
        "spacing_um_px": 0.5,
        "transform": [{"name": "Resize", "arguments": {"size": 64}}, {"name": "ToTensor"}],
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    graph = write_graph(tmp_path / "f.onnx", vector=True)
    slide = write_slide(tmp_path / "s.tiff", two_colours(), mpp=1.0)
    for step, border in ((64, 128), (20, 160), (6, 150)):
        out = tmp_path / f"by{step}"
        words = ["import-model", graph, "--config", tmp_path / "config.json", "--step", step, "--out", out, "--quiet"]
        assert main([str(word) for word in words]) == 0
        model = find_model(out)
        assert (model.card.mpp, model.card.window, model.card.output_stride) == (1.0, 64, step)
        segment(slide, model, tmp_path / f"{step}.zarr", SegmentOptions(tissue="none"))
        ids = class_map(tmp_path / f"{step}.zarr")
        assert (ids[:, :border] == 2).all()
        assert (ids[:, border:] == 1).all()


@pytest.mark.parametrize("step", [64, 50, 34])
def test_cells_that_regions_cut_do_not_depend_on_the_region(tmp_path: Path, step: int) -> None:
    graph = write_graph(tmp_path / "f.onnx", vector=True)
    words = [
        "import-model",
        graph,
        "--classes",
        "a",
        "b",
        "--mpp",
        1,
        "--step",
        step,
        "--out",
        tmp_path / "m",
        "--quiet",
    ]
    assert main([str(word) for word in words]) == 0
    slide, maps = write_slide(tmp_path / "s.tiff", tissue_like(1100, 1300)), []
    for size in (512, 1024, 2048):
        out = tmp_path / f"{size}.zarr"
        segment(slide, find_model(tmp_path / "m"), out, SegmentOptions(region_size=size, tissue="none"))
        maps.append(class_map(out))
    np.testing.assert_array_equal(maps[0], maps[2])
    np.testing.assert_array_equal(maps[1], maps[2])
    assert set(np.unique(maps[2])) == {1, 2}


def test_weights_beside_the_file_are_put_into_it(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    graph = write_graph(tmp_path / "there" / "f.onnx", external=True)
    words = ["import-model", graph, "--classes", "green", "red", "--mpp", 1, "--out", tmp_path / "m", "--quiet"]
    assert main([str(word) for word in words]) == 0
    assert find_model(tmp_path / "m").weights().stat().st_size > graph.stat().st_size - 200
    assert not (tmp_path / "m" / "weights.bin").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--classes", "a", "b"], "--mpp is missing"),
        (["--mpp", "1"], "--classes is missing"),
        (
            ["--classes", "a", "b", "c", "d", "--mpp", "1"],
            r"f\.onnx: gives y float32 \[n, 2, 64, 64\]; --classes",
        ),
        (["--classes", "a", "b", "--mpp", "1", "--window", "96"], "--window is 96"),
        (["--classes", "a", "b", "--mpp", "1", "--output", "z"], "no output 'z'; its outputs are y"),
        (["--classes", "a", "b", "--mpp", "1", "--step", "8"], "--step is for one vector per window"),
        (["--classes", "a", "b", "--mpp", "0.001"], "mpp: Input should be greater"),
        (["--classes", "a", "a", "--mpp", "1"], "class names repeat"),
        (["--classes", "a", "b", "--mpp", "1", "--name", "My Net"], "--name 'My Net': a model is named by lower-case"),
    ],
)
def test_what_is_missing_or_wrong_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    graph = write_graph(tmp_path / "f.onnx", external=True)
    assert main(["import-model", str(graph), *words, "--out", str(tmp_path / "m")]) == 2
    said = capsys.readouterr().err
    assert re.search(message, said), said
    assert said.count("\n") == 1
    assert str(tmp_path) not in said or str(graph) in said  # never the name of a temporary copy
    assert not (tmp_path / "m").exists()


def test_what_onnxruntime_says_of_a_newer_file_is_shown_to_its_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = write_graph(tmp_path / "f.onnx")
    newer = onnx.load(graph)
    newer.ir_version = 99
    onnx.save(newer, graph)
    words = ["import-model", str(graph), "--classes", "a", "b", "--mpp", "1", "--out", str(tmp_path / "m")]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "IR version: 99" in said
    assert "max supported IR version" in said


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--mpp", "0"], "--mpp is 0.0; give"),
        (["--mpp", "nan"], "--mpp is nan; give"),
        (["--mpp", "1", "--window", "0"], "--window is 0; give 1 or more"),
        (["--mpp", "1", "--output-stride", "0"], "--output-stride is 0; give 1 or more"),
        (["--mpp", "1", "--margin", "-1"], "--margin is -1; give 0 or more"),
        (["--mpp", "1", "--std", "0", "1", "1"], "--std is (0.0, 1.0, 1.0); give three positive numbers"),
        (["--mpp", "1", "--mean", "nan", "0", "0"], "--mean is (nan, 0.0, 0.0); give three numbers"),
        (["--mpp", "1", "--mean", "0.5", "0.5", "0.5", "--std", "58", "57", "57"], "one is for pixels of 0 to 1"),
        (["--mpp", "1", "--mean", "123", "116", "103", "--std", "0.2", "0.2", "0.2"], "give both for 0 to 1"),
        (["--mpp", "1", "--classes", "a", "b\nc"], "--classes has 'b\\nc', of which not all can be printed"),
    ],
)
def test_impossible_numbers_are_refused_and_no_model_is_made(
    flags: list[str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["import-model", write_graph(tmp_path / "f.onnx"), "--classes", "a", "b", "--out", tmp_path / "m", *flags]
    assert main([str(word) for word in words]) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("flags", "mean", "std"),
    [
        (["--mean", "123.675", "116.28", "103.53", "--std", "58.395", "57.12", "57.375"],
         (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        (["--mean", "123.675", "116.28", "103.53"], (0.485, 0.456, 0.406), (1 / 255,) * 3),
        (["--std", "255", "255", "255"], (0, 0, 0), (1, 1, 1)),
        (["--mean", "0.485", "0.456", "0.406", "--std", "0.229", "0.224", "0.225"],
         (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ],
)  # fmt: skip
def test_normalisation_for_pixels_of_0_to_255_is_taken_as_such_and_said(
    flags: list[str],
    mean: tuple[float, ...],
    std: tuple[float, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["import-model", write_graph(tmp_path / "f.onnx"), "--classes", "a,b", "--mpp", 1, "--out", tmp_path / "m"]
    assert main([str(word) for word in [*words, *flags]]) == 0
    card = find_model(tmp_path / "m").card
    assert card.input.mean == pytest.approx(mean)
    assert card.input.std == pytest.approx(std)
    assert ("divided by 255" in capsys.readouterr().out) == ("0.485" not in flags)


def test_a_pixel_size_that_could_be_a_power_is_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["import-model", write_graph(tmp_path / "f.onnx"), "--classes", "a,b", "--mpp", 20, "--out", tmp_path / "m"]
    assert main([str(word) for word in words]) == 0
    assert "is it the power of an objective?" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "name"),
    [(b"PK\x03\x04rest", "PyTorch"), (b"\x89HDF\r\n\x1a\n", "HDF5"), (b"\x1c\0\0\0TFL3", "TensorFlow Lite")],
)
def test_files_of_other_frameworks_are_refused_by_name(
    content: bytes, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "f.onnx").write_bytes(content)
    words = ["import-model", tmp_path / "f.onnx", "--classes", "a", "b", "--mpp", 1, "--out", tmp_path / "m"]
    assert main([str(word) for word in words]) == 2
    assert re.search(rf"not ONNX but .*{name}.*export the network to ONNX", capsys.readouterr().err)
