from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from wsi_segment.errors import ModelError
from wsi_segment.inference.engine.graphs.wsinfer import read_wsinfer

BREAST: dict[str, Any] = {
    "spec_version": "1.0",
    "architecture": "resnet34",
    "num_classes": 2,
    "class_names": ["notumor", "tumor"],
    "patch_size_pixels": 350,
    "spacing_um_px": 0.25,
    "transform": [
        {"name": "Resize", "arguments": {"size": 224}},
        {"name": "ToTensor"},
        {"name": "Normalize", "arguments": {"mean": [0.7238, 0.5716, 0.6779], "std": [0.112, 0.1459, 0.1089]}},
    ],
}
"""Of kaczmarj/breast-tumor-resnet34.tcga-brca on Hugging Face."""


def read(folder: Path, **changes: Any) -> Any:
    (folder / "config.json").write_text(json.dumps(BREAST | changes))
    return read_wsinfer(folder / "config.json")


def test_a_configuration_of_the_zoo_is_read(tmp_path: Path) -> None:
    model = read(tmp_path)
    assert (model.classes, model.window, model.mpp) == (("notumor", "tumor"), 224, 0.390625)
    assert (model.mean, model.std) == ((0.7238, 0.5716, 0.6779), (0.112, 0.1459, 0.1089))
    assert model.mpp_source.endswith("patches of 350 px at 0.25 µm, given to the network as 224 px")


def test_what_is_said_beyond_the_specification_is_named(tmp_path: Path) -> None:
    more = {"halo_size_pixels": 32, "stain_normalization": True, "object_based": False, "apply_softmax": True}
    assert read(tmp_path).unread == ()
    assert read(tmp_path, **more).unread == ("halo_size_pixels", "stain_normalization")


def test_without_resize_and_normalisation_the_patch_goes_in_as_it_is(tmp_path: Path) -> None:
    model = read(tmp_path, patch_size_pixels=100, spacing_um_px=0.5, transform=[{"name": "ToTensor"}])
    assert (model.window, model.mpp, model.mean, model.std) == (100, 0.5, (0, 0, 0), (1, 1, 1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spec_version": "2.0"}, "spec_version.*1.0"),
        ({"num_classes": 3}, "num_classes is 3, class_names has 2"),
        ({"spacing_um_px": 0}, "spacing_um_px"),
        ({"transform": {"resize_size": 224}}, "transform"),
        ({"transform": [{"name": "CenterCrop"}]}, r"transform\.0\.name"),
        ({"transform": [{"name": "Resize", "arguments": {"size": 224}}]}, "transform is Resize; .*in that order"),
        ({"transform": [{"name": "Normalize"}, {"name": "ToTensor"}]}, "transform is Normalize ToTensor"),
        ({"transform": [{"name": "Resize", "arguments": {"size": [224, 200]}}, {"name": "ToTensor"}]}, "Resize to"),
        ({"transform": [{"name": "ToTensor"}, {"name": "Normalize", "arguments": {"mean": [0.5]}}]}, "mean is .0.5.;"),
    ],
)
def test_what_is_not_known_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        read(tmp_path, **changes)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        read_wsinfer(tmp_path / "config.json")
