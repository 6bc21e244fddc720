from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from synthetic import write_convolutions, write_dataset
from wsi_segment.errors import ModelError
from wsi_segment.export import variants
from wsi_segment.inference.engine.networks import precision as settling
from wsi_segment.inference.engine.networks.network import load_network
from wsi_segment.model.card import Model, find_model, sha256_of
from wsi_segment.service.cli.main import main

onnx = pytest.importorskip("onnx", reason="export needs the extra [train]")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return write_dataset(tmp_path / "data")


@pytest.fixture(autouse=True)
def _on_a_processor_with_vnni(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "multiplies_bytes", lambda: True)


def export(source: Path | str, out: Path, *words: object) -> int:
    return main(["export", str(source), "--out", str(out), *map(str, words)])


def test_a_model_gets_files_in_other_precisions_with_figures_of_their_own(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_convolutions(tmp_path / "m")
    assert export(tmp_path / "m", tmp_path / "out", "--int8", "--fp16", "--manifest", data, "--version", "2") == 0
    printed = capsys.readouterr().out
    assert re.search(r"model\.int8\.onnx: macro F1 on val 0\.9\d+, 0\.9855 in fp32; (99|100)\.\d+ %", printed), printed
    card = find_model(tmp_path / "out").card
    assert (card.name, card.version) == ("channels", "2")
    assert card.files_by_precision == {"fp32": "model.onnx", "int8": "model.int8.onnx", "fp16": "model.fp16.onnx"}
    for variant in card.variants or ():
        assert card.files[variant.file] == sha256_of(tmp_path / "out" / variant.file)
        assert variant.metrics["val"]["images"] == 2
        assert variant.metrics["val"]["pixels_as_default"] >= 0.995
    assert card.metrics == {}  # those of model.onnx, which were not measured here


def test_weights_are_bytes_and_the_last_convolution_is_left_in_float(tmp_path: Path, data: Path) -> None:
    write_convolutions(tmp_path / "m")
    assert export(tmp_path / "m", tmp_path / "m", "--int8", "--manifest", data, "--overwrite", "--quiet") == 0
    graph = onnx.load(tmp_path / "m" / "model.int8.onnx").graph
    types = {one.name: one.data_type for one in graph.initializer}
    feeds = {node.output[0]: node for node in graph.node}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert [feeds[node.input[1]].op_type for node in convolutions[:-1]] == ["DequantizeLinear"] * 2
    weights = [feeds[node.input[1]].input for node in convolutions[:-1]]
    assert {types[names[0]] for names in weights} == {onnx.TensorProto.INT8}
    scales = {one.name: list(one.dims) for one in graph.initializer}
    assert [scales[names[1]] for names in weights] == [[4], [4]]  # one a channel
    assert convolutions[-1].input[1] == "w2"
    activations = [feeds[node.input[0]].input[2] for node in convolutions[:-1]]
    assert {types[name] for name in activations} == {onnx.TensorProto.UINT8}


def test_files_of_other_precisions_compute_windows_of_any_size(tmp_path: Path, data: Path) -> None:
    write_convolutions(tmp_path / "m")
    assert export(tmp_path / "m", tmp_path / "m", "--int8", "--fp16", "--manifest", data, "--overwrite", "--quiet") == 0
    model = find_model(tmp_path / "m")
    windows = np.random.default_rng(0).integers(40, 240, (2, 256, 192, 3), dtype=np.uint8)
    expected = load_network(model, "cpu", "fp32")(windows)
    for precision in ("int8", "fp16"):
        found = load_network(model, "cpu", precision)(windows)
        assert found.shape == (2, 2, 32, 24)
        np.testing.assert_allclose(found, expected, atol=0.05)


@pytest.mark.parametrize(("bound", "value"), [("LARGEST_LOSS", -0.1), ("LEAST_AGREEMENT", 1.1)])
def test_a_file_that_answers_otherwise_is_not_kept(
    tmp_path: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    bound: str,
    value: float,
) -> None:
    before = write_convolutions(tmp_path / "m")
    monkeypatch.setattr(variants, bound, value)
    assert export(tmp_path / "m", tmp_path / "m", "--int8", "--manifest", data, "--overwrite") == 2
    assert "0.9855 before (at most" in capsys.readouterr().err
    assert find_model(tmp_path / "m").card == before.card
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == ["card.json", "model.onnx"]


@pytest.mark.parametrize(
    ("agreement", "after", "kept"), [(0.9950, 0.6970, True), (0.9949, 0.7, False), (1, 0.6969, False)]
)
def test_the_gate_is_where_it_is_said_to_be(agreement: float, after: float, kept: bool) -> None:
    gate = variants.Gate(macro_f1=after, macro_f1_before=0.7, agreement=agreement, figures={})
    if kept:
        gate.check("int8")
    else:
        with pytest.raises(ModelError, match="not kept"):
            gate.check("int8")


def test_a_variant_needs_a_dataset_and_a_folder_of_its_own(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_convolutions(tmp_path / "m")
    assert export(tmp_path / "m", tmp_path / "n", "--int8") == 2
    assert "--int8 needs a dataset" in capsys.readouterr().err
    assert not (tmp_path / "n").exists()
    assert export(tmp_path / "m", tmp_path / "m", "--int8", "--manifest", data) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_a_copied_model_is_the_same_but_for_what_is_said(tmp_path: Path) -> None:
    before: Model = write_convolutions(tmp_path / "m")
    (tmp_path / "m" / "LICENSE.md").write_text("as before")
    assert export(tmp_path / "m", tmp_path / "n", "--name", "other", "--quiet") == 0
    assert find_model(tmp_path / "n").card == before.card.model_copy(update={"name": "other"})
    assert (tmp_path / "n" / "LICENSE.md").read_text() == "as before"


def test_a_radius_of_smoothing_is_stated_and_taken_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_convolutions(tmp_path / "m")
    assert export(tmp_path / "m", tmp_path / "n", "--smoothing-um", "32", "--quiet") == 0
    assert find_model(tmp_path / "n").card.smoothing_um == 32
    assert export(tmp_path / "n", tmp_path / "n", "--overwrite", "--smoothing-um", "0", "--quiet") == 0
    assert find_model(tmp_path / "n").card.smoothing_um is None
    assert export(tmp_path / "m", tmp_path / "o", "--smoothing-um", "-1") == 2
    assert "give 0 to 1000" in capsys.readouterr().err


def test_logits_are_divided_so_that_confidence_is_right(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_convolutions(tmp_path / "m")
    assert export(tmp_path / "m", tmp_path / "n", "--int8", "--manifest", data, "--quiet") == 0
    assert export(tmp_path / "n", tmp_path / "o", "--calibrate", "--applicability", "--manifest", data) in (0, 2)
    printed = capsys.readouterr()
    model = find_model(tmp_path / "o")
    figures = model.card.metrics["calibration"]
    assert figures["error"] <= figures["error_before"]
    assert f"logits divided by {figures['temperature']:g}" in printed.out
    windows = np.random.default_rng(0).integers(40, 240, (1, 128, 128, 3), dtype=np.uint8)
    before, after = (load_network(find_model(tmp_path / name), "cpu", "fp32")(windows) for name in "mo")
    np.testing.assert_allclose(after * figures["temperature"], before, rtol=1e-4, atol=1e-5)
    assert model.card.variants is None  # of other logits
    assert not (tmp_path / "o" / "model.int8.onnx").exists()
    assert "too few" in printed.err  # images to say what is like them


def test_calibration_needs_a_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_convolutions(tmp_path / "m")
    assert export(tmp_path / "m", tmp_path / "n", "--calibrate") == 2
    assert "--calibrate needs a dataset" in capsys.readouterr().err
