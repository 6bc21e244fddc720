"""What a Python user imports from ``wsi_segment.model``, and what is not loaded by it."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import wsi_segment.model as door

HEAVY = ("torch", "matplotlib", "numpy", "pydantic", "PIL", "onnxruntime", "zarr")


def loaded_after(code: str) -> set[str]:
    """Which heavy libraries a fresh interpreter has loaded after some code."""
    report = f"import sys; {code}; print(*({HEAVY!r} & sys.modules.keys()))".replace(repr(HEAVY), f"set({HEAVY!r})")
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_door_loads_no_library() -> None:
    assert loaded_after("import wsi_segment.model") == set()


@pytest.mark.parametrize("name", [name for name in door.__all__ if name not in ("train", "TrainingProgress")])
def test_no_name_but_those_of_training_loads_pytorch(name: str) -> None:
    assert not loaded_after(f"from wsi_segment.model import {name}") & {"torch", "matplotlib", "onnxruntime"}


def test_every_name_of_the_door_is_there_and_documented() -> None:
    pytest.importorskip("torch")
    assert set(door.__all__) <= set(dir(door))
    for name in door.__all__:
        assert (inspect.getdoc(getattr(door, name)) or "").strip()
    with pytest.raises(AttributeError, match="has no attribute 'fit'"):
        door.fit  # type: ignore[attr-defined]  # noqa: B018
