"""Rules of the house that no other test would notice."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PORTIONS = ("model", "export", "inference", "service")
MAY_IMPORT = {
    "model": {"model"},
    "export": {"model", "export"},
    "inference": {"model", "inference"},
    "service": {"model", "export", "inference", "service"},
}
SOURCES = [path for portion in PORTIONS for path in sorted((ROOT / portion).rglob("*.py"))]


@pytest.mark.parametrize("portion", PORTIONS)
def test_no_init_hides_the_other_portions(portion: str) -> None:
    assert not (ROOT / portion / "wsi_segment" / "__init__.py").exists()
    assert (ROOT / portion / "wsi_segment" / portion / "py.typed").exists()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    portion = path.relative_to(ROOT).parts[0]
    modules = {
        name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [part.name for part in node.names])
    }
    used = {module.split(".")[1] for module in modules if module.startswith("wsi_segment.")}
    assert used <= MAY_IMPORT[portion], path
    if portion == "inference":
        assert not {module.split(".")[0] for module in modules} & {"torch", "matplotlib", "onnx"}


def test_segmenting_never_imports_torch(tmp_path: Path) -> None:
    code = """
import sys
import numpy as np
from pathlib import Path
from synthetic import write_model, write_slide, tissue_like
from wsi_segment.service.cli.main import main
write_model(Path("model"))
write_slide(Path("s.tiff"), tissue_like(600, 600))
sys.modules["torch"] = None  # an import of it would now raise
code = main(["s.tiff", "--out", "m.zarr", "--model", "model", "--preview", "p.png", "--quiet"])
assert code == 0, code
"""
    environment = {"PYTHONPATH": ":".join(str(p) for p in [ROOT / "tests", *(ROOT / p for p in PORTIONS)])}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "m.zarr" / "zarr.json").exists()


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from wsi_segment.service.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'zarr', 'onnxruntime', 'dask', 'rich', 'torch', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    environment = {"PYTHONPATH": ":".join(str(ROOT / p) for p in PORTIONS)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_image_is_built_from_every_folder_of_the_wheel() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        wheel = tomllib.load(file)["tool"]["hatch"]["build"]["targets"]["wheel"]
    copied = (ROOT / "deploy" / "Containerfile").read_text(encoding="utf-8")
    for folder in (*wheel["only-include"], *wheel["force-include"]):
        assert f"COPY {folder} /source/{folder}\n" in copied


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_short_enough_to_read(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 330
