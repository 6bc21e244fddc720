"""Run the examples in docstrings, in a folder that holds ``slide.tiff``, ``mask.zarr`` made of it, and ``data``."""

from __future__ import annotations

import doctest
import importlib
import inspect
import shutil
from pathlib import Path
from types import ModuleType

import pytest

import wsi_segment.inference as door
import wsi_segment.model as training_door
from synthetic import tissue_like, write_dataset, write_slide
from test_house import SOURCES, module_of

MODULES = [module_of(path) for path in SOURCES if ">>> " in path.read_text(encoding="utf-8")]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    write_slide(folder / "slide.tiff", tissue_like(600, 600))
    door.segment(folder / "slide.tiff", out=folder / "mask.zarr", quiet=True)
    (folder / "data").mkdir()
    write_dataset(folder / "data")
    return folder


@pytest.mark.parametrize("module", MODULES)
def test_examples_do_what_they_say(module: str, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(inputs, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    if module.startswith("model.training.train"):
        pytest.importorskip("torch", reason="training needs PyTorch")
    loaded = importlib.import_module(f"wsi_segment.{module}")
    found = doctest.testmod(loaded, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert found.attempted
    assert not found.failed


@pytest.mark.parametrize("package", [door, training_door], ids=["inference", "model"])
def test_every_name_of_the_front_doors_has_an_example(package: ModuleType) -> None:
    if package is training_door:
        pytest.importorskip("torch", reason="training needs PyTorch")
    without = [name for name in package.__all__ if ">>> " not in (inspect.getdoc(getattr(package, name)) or "")]
    assert not without
