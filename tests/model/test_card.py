from __future__ import annotations

import json
from pathlib import Path

import pytest

from synthetic import make_card, write_model
from wsi_segment.errors import ModelError
from wsi_segment.model.card import DEFAULT_MODEL, ModelCard, bundled_models, find_model, read_card, write_card


def test_a_card_survives_its_file(tmp_path: Path) -> None:
    card = make_card()
    assert read_card(write_card(card, tmp_path)) == card


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"mpp": 0}, "mpp"),
        ({"window": 0}, "window"),
        ({"window": 5000}, "window"),
        ({"window": 130}, "window 130.*multiple of the output_stride 8"),
        ({"output": {"margin": 3}}, "margin of 3 on each side is 122 px"),
        ({"output": {"margin": 64}}, "is 0 px"),
        ({"output_stride": 64, "upsampling": "bilinear"}, "upsampling bilinear needs an output_stride"),
        ({"activation": "relu"}, "activation"),
        ({"input": {"dtype": "float64"}}, r"input\.dtype"),
        ({"variants": [{"file": "model.int8.onnx", "precision": "int8"}]}, "'model.int8.onnx' is not one of the files"),
        ({"output_stride": 3}, "output_stride"),
        ({"classes": []}, "classes"),
        ({"classes": [{"name": "a", "color": [0, 0, 256]}]}, "classes.0.color.2"),
        ({"classes": [{"name": "a", "color": [0, 0, 0]}] * 2}, "class names repeat"),
        ({"files": {"../x.onnx": "0" * 64}}, "plain name"),
        ({"files": {"model.onnx": "abc"}}, "files.model.onnx"),
        ({"unknown": 1}, "the field unknown is unknown.*newer"),
        ({"output": {"crop": 1}}, r"the field output\.crop is unknown"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, change: dict[str, object], named: str) -> None:
    card = json.loads(make_card().model_dump_json()) | change
    (tmp_path / "card.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match=named):
        read_card(tmp_path / "card.json")


def test_a_card_states_what_a_foreign_network_needs(tmp_path: Path) -> None:
    foreign = {
        "window": 572,
        "output_stride": 1,
        "input": {"layout": "NCHW", "dtype": "float16"},
        "output": {"name": "head", "layout": "NHWC", "margin": 92},
        "activation": "sigmoid",
        "trained_window": 256,
        "checked_window": 1024,
        "smoothing_um": 32.0,
        "variants": [{"file": "model.onnx", "precision": "fp16"}],
        "applicability": {"anything": [1]},
    }
    card = ModelCard.model_validate(json.loads(make_card().model_dump_json(exclude_none=True)) | foreign)
    assert (card.cells, card.margin) == (388, 92)
    assert read_card(write_card(card, tmp_path)) == card


def test_a_card_without_the_later_fields_is_written_without_them(tmp_path: Path) -> None:
    written = json.loads(write_card(make_card(), tmp_path).read_text())
    assert not {"output", "activation", "trained_window", "variants", "applicability"} & written.keys()
    assert "null" not in (tmp_path / "card.json").read_text()


def test_weights_are_checked_before_they_are_used(tmp_path: Path) -> None:
    model = write_model(tmp_path / "m")
    assert find_model(tmp_path / "m").weights() == tmp_path / "m" / "model.onnx"
    with pytest.raises(ModelError, match=r"not model.int8.onnx"):
        model.weights("model.int8.onnx")
    (tmp_path / "m" / "model.onnx").unlink()
    with pytest.raises(ModelError, match="missing"):
        model.weights()


def test_a_training_run_is_no_model_and_the_way_to_one_is_said(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ModelError, match=r"a training run; wsi-segment export .* --out MODELDIR makes it a model"):
        find_model(tmp_path)


def test_an_unknown_model_names_those_that_there_are() -> None:
    with pytest.raises(ModelError, match=DEFAULT_MODEL):
        find_model("no-such-model")


@pytest.mark.parametrize("name", list(bundled_models()))
def test_bundled_models_are_complete_and_honest(name: str) -> None:
    model = find_model(name)
    card: ModelCard = model.card
    assert card.name == name
    for file in card.files:
        assert model.weights(file).stat().st_size < 16 << 20
    assert "Research only" in card.intended_use
    assert {"split", "cases", "macro_f1", "lesion_dice", "majority_baseline"} <= set(card.metrics["test"])
    assert "doi" in card.attribution
    assert card.limitations
