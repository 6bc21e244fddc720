from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthetic import write_convolutions, write_dataset
from wsi_segment.errors import ModelError
from wsi_segment.export import variants
from wsi_segment.inference.engine.networks import precision as settling
from wsi_segment.inference.engine.networks.network import load_network
from wsi_segment.model.card import Model, SegmentClass, find_model, sha256_of, write_card
from wsi_segment.service.cli.main import main

onnx = pytest.importorskip("onnx", reason="export needs the extra [train]")
from wsi_segment.export.last_convolution import shift_logits  # noqa: E402


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
    weights = [feeds[node.input[1]].input for node in convolutions]
    assert [feeds[node.input[1]].op_type for node in convolutions] == ["DequantizeLinear"] * 2
    assert {types[names[0]] for names in weights} == {onnx.TensorProto.INT8}
    scales = {one.name: list(one.dims) for one in graph.initializer}
    assert [scales[names[1]] for names in weights] == [[4], [4]]  # one a channel
    assert [node.input[1] for node in graph.node if node.op_type == "MatMul"] == ["w2"]
    assert types["w2"] == onnx.TensorProto.FLOAT
    activations = [feeds[node.input[0]].input[2] for node in convolutions]
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


def test_an_export_that_fails_late_leaves_everything_as_it_was(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_convolutions(tmp_path / "m")
    (tmp_path / "m" / "notes.txt").write_text("mine")
    steps = ("--smoothing-um", "9", "--calibrate", "--applicability", "--manifest", data)
    before = {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()}
    for out in ("m", "new", "deep/new"):
        assert export(tmp_path / "m", tmp_path / out, *steps, "--version", "9", "--overwrite") == 2
        assert "too few" in capsys.readouterr().err  # images to say what is like them
    assert {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()} == before
    assert not (tmp_path / "new").exists()
    assert export(tmp_path / "m", tmp_path / "other", "--int8", "--manifest", data, "--quiet") == 0
    other = {path.name: path.read_bytes() for path in (tmp_path / "other").iterdir()}
    assert export(tmp_path / "m", tmp_path / "other", *steps, "--overwrite") == 2
    assert {path.name: path.read_bytes() for path in (tmp_path / "other").iterdir()} == other


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
    assert export(tmp_path / "n", tmp_path / "o", "--calibrate", "--manifest", data) == 0
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


def test_figures_of_other_logits_or_another_radius_are_dropped(tmp_path: Path, data: Path) -> None:
    model = write_convolutions(tmp_path / "m")
    with_a_rare_kind(model, data)
    card = find_model(tmp_path / "m").card
    figures = {"test": {"macro_f1": 0.5}, "selection": {"split": "val"}}
    write_card(card.model_copy(update={"metrics": figures, "smoothing_um": 20.0}), tmp_path / "m")
    assert export(tmp_path / "m", tmp_path / "n", "--calibrate", "--manifest", data, "--quiet") == 0
    assert set(find_model(tmp_path / "n").card.metrics) == {"selection", "calibration"}
    assert export(tmp_path / "m", tmp_path / "o", "--smoothing-um", "20") == 0
    assert set(find_model(tmp_path / "o").card.metrics) == {"selection", "test"}  # as it was measured
    for radius in ("0", "30"):
        assert export(tmp_path / "m", tmp_path / f"r{radius}", "--smoothing-um", radius) == 0
        assert set(find_model(tmp_path / f"r{radius}").card.metrics) == {"selection"}


def test_a_radius_warns_where_another_class_than_the_first_sounds_like_the_background(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_convolutions(tmp_path / "m")
    with_a_rare_kind(model, data)
    assert export(tmp_path / "m", tmp_path / "fine", "--smoothing-um", "20") == 0
    printed = capsys.readouterr()
    assert "averaged within 20 µm, after it is decided what is lesion" in printed.out
    assert "warning" not in printed.err
    card = find_model(tmp_path / "m").card
    renamed = tuple(
        one.model_copy(update={"name": name})
        for one, name in zip(card.classes, ("tumour", "background", "necrosis"), strict=True)
    )
    write_card(card.model_copy(update={"classes": renamed}), tmp_path / "m")
    assert export(tmp_path / "m", tmp_path / "n", "--smoothing-um", "20") == 0
    assert "first class, tumour, counts as the background now, though background sounds" in capsys.readouterr().err
    assert export(tmp_path / "n", tmp_path / "o", "--smoothing-um", "0") == 0
    printed = capsys.readouterr()
    assert "given cell by cell" in printed.out
    assert "warning" not in printed.err


def test_what_was_done_to_logits_outlasts_another_radius_without_its_errors(tmp_path: Path, data: Path) -> None:
    model = write_convolutions(tmp_path / "m")
    with_a_rare_kind(model, data)
    done = {"calibration": {"split": "val", "images": 2, "temperature": 1.2, "error": 0.1, "error_before": 0.2}}
    card = find_model(tmp_path / "m").card.model_copy(update={"metrics": done})
    write_card(card, tmp_path / "m")
    assert export(tmp_path / "m", tmp_path / "n", "--smoothing-um", "20", "--quiet") == 0
    assert find_model(tmp_path / "n").card.metrics == {"calibration": {"split": "val", "images": 2, "temperature": 1.2}}


def test_calibration_needs_a_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_convolutions(tmp_path / "m")
    assert export(tmp_path / "m", tmp_path / "n", "--calibrate") == 2
    assert "--calibrate needs a dataset" in capsys.readouterr().err


def with_a_rare_kind(model: Model, data: Path) -> None:
    """Let a third class lie in the corner of the first mask, and the model answer it as it answers the second."""
    rare = SegmentClass(name="rare", color=(0, 0, 200))
    classes = json.loads((data / "classes.json").read_text())
    classes["classes"].append(rare.model_dump(mode="json"))
    (data / "classes.json").write_text(json.dumps(classes))
    mask = np.array(Image.open(data / "0_mask.png"))
    mask[:16, 100:] = 3
    Image.fromarray(mask).save(data / "0_mask.png")
    graph = onnx.load(model.folder / "model.onnx")
    for one in graph.graph.initializer:
        if one.name in ("w2", "b2"):
            values = onnx.numpy_helper.to_array(one)
            one.CopyFrom(onnx.numpy_helper.from_array(np.concatenate((values, values[1:])), one.name))
    graph.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 3
    onnx.save(graph, model.folder / "model.onnx")
    files = {"model.onnx": sha256_of(model.folder / "model.onnx")}
    changes = {"classes": (*model.card.classes, rare), "files": files, "metrics": {"test": {"macro_f1": 0.5}}}
    write_card(model.card.model_copy(update=changes), model.folder)


def test_kinds_are_balanced_by_their_shares_of_train(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_a_rare_kind(write_convolutions(tmp_path / "m"), data)
    balance = ("--balance-classes", "0.5", "--manifest", data)
    assert export(tmp_path / "m", tmp_path / "n", "--int8", *balance) == 0
    assert "added to the logits: stroma +0.00, tumour " in capsys.readouterr().out
    pixels = np.random.default_rng(0).integers(40, 240, (1, 128, 128, 3), dtype=np.uint8)
    before, after = (load_network(find_model(tmp_path / name), "cpu", "fp32")(pixels) for name in "mn")
    stroma, tumour, rare = (after - before).mean(axis=(0, 2, 3))
    share = 16 * 60 / (2 * 128 * 100)  # of the pixels of lesions in the two masks of train that hold some
    assert stroma == pytest.approx(0, abs=1e-5)
    assert rare - tumour == pytest.approx(0.5 * np.log((1 - share) / share), abs=1e-4)
    assert (1 - share) * tumour + share * rare == pytest.approx(0, abs=1e-4)
    card = find_model(tmp_path / "n").card
    assert set(card.metrics) == {"class_balance"}  # what was measured is of other classes
    assert card.metrics["class_balance"]["strength"] == 0.5
    assert export(tmp_path / "n", tmp_path / "o", *balance, "--quiet") == 0
    again = find_model(tmp_path / "o").card
    assert again.metrics["class_balance"]["strength"] == 1
    assert again.variants is None  # made of the logits of before
    assert not (tmp_path / "o" / "model.int8.onnx").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--balance-classes", "0.5"), "--balance-classes needs a dataset"),
        (("--balance-classes", "1.5", "--manifest", "DATA"), "give 0 to 1"),
        (("--balance-classes", "0.5", "--manifest", "DATA"), "has one kind of lesion"),
    ],
)
def test_kinds_that_cannot_be_balanced_are_refused(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], reason: str
) -> None:
    write_convolutions(tmp_path / "m")
    given = [str(data) if word == "DATA" else word for word in words]
    assert export(tmp_path / "m", tmp_path / "n", *given) == 2
    assert reason in capsys.readouterr().err


def test_a_kind_that_train_does_not_show_has_no_share(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_a_rare_kind(write_convolutions(tmp_path / "m"), data)
    shutil.copy(data / "2_mask.png", data / "0_mask.png")
    assert export(tmp_path / "m", tmp_path / "n", "--balance-classes", "0.5", "--manifest", data) == 2
    assert "no pixel of 'rare' in train; leave" in capsys.readouterr().err


def test_a_last_convolution_without_a_bias_is_not_shifted(tmp_path: Path) -> None:
    write_convolutions(tmp_path / "m")
    graph = onnx.load(tmp_path / "m" / "model.onnx")
    del graph.graph.node[-1].input[2]
    onnx.save(graph, tmp_path / "m" / "model.onnx")
    with pytest.raises(ModelError, match="no bias for 2 classes"):
        shift_logits(tmp_path / "m" / "model.onnx", np.zeros(2))
