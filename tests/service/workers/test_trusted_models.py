"""Which models are served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from synthetic import write_model
from wsi_segment.errors import ModelError
from wsi_segment.model.card import MODEL_FILE, sha256_of
from wsi_segment.service.workers.trusted_models import TrustedModels


def changed_model(folder: Path, change: Any) -> Path:
    """A model folder whose graph was changed and whose card knows of it."""
    model = write_model(folder / "odd")
    graph = onnx.load(model.folder / MODEL_FILE)
    change(graph)
    onnx.save(graph, model.folder / MODEL_FILE)
    card = model.card.model_copy(update={"files": {MODEL_FILE: sha256_of(model.folder / MODEL_FILE)}, "name": "odd"})
    (model.folder / "card.json").write_text(card.model_dump_json())
    return folder


def test_models_with_foreign_operators_are_not_served(tmp_path: Path) -> None:
    def change(model: Any) -> None:
        model.graph.node.append(helper.make_node("Evil", ["logits"], ["evil"], domain="my.library"))
        model.opset_import.append(helper.make_opsetid("my.library", 1))

    with pytest.raises(ModelError, match=r"my\.library"):
        TrustedModels(changed_model(tmp_path, change)).check()


def test_models_with_foreign_operators_inside_of_others_are_not_served(tmp_path: Path) -> None:
    def change(model: Any) -> None:
        inner = helper.make_graph([helper.make_node("Evil", [], ["e"], domain="my.library")], "inner", [], [])
        model.graph.node.append(helper.make_node("If", ["c"], ["d"], then_branch=inner, else_branch=inner))

    with pytest.raises(ModelError, match=r"my\.library"):
        TrustedModels(changed_model(tmp_path, change)).check()


def test_models_with_weights_in_other_files_are_not_served(tmp_path: Path) -> None:
    def change(model: Any) -> None:
        tensor = model.graph.initializer.add(name="w", data_type=TensorProto.FLOAT, dims=[1])
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="/etc/passwd")

    with pytest.raises(ModelError, match="other files"):
        TrustedModels(changed_model(tmp_path, change)).check()


def test_models_that_were_changed_or_are_none_are_not_served(tmp_path: Path) -> None:
    model = write_model(tmp_path / "channels")
    path = model.folder / MODEL_FILE
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ModelError, match="sha256"):
        TrustedModels(tmp_path).check()
    with pytest.raises(ModelError, match="not an ONNX file"):
        TrustedModels(changed_model(tmp_path / "other", lambda graph: graph.Clear())).check()
