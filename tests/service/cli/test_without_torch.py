"""The commands that need PyTorch, where it is not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from synthetic import write_dataset

CONFIG = """
[[block]]
experiment = "curve"
settings = ["S"]
shares = [100]
"""


@pytest.mark.parametrize("command", ["experiment", "train", "export", "pretrain"])
def test_the_line_of_pip_is_said_and_the_exit_code_is_2(command: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    dataset = write_dataset(tmp_path / "data")
    (tmp_path / "e.toml").write_text(CONFIG)
    arguments = {
        "experiment": ["e.toml", str(dataset), "--runs", "runs", "--results", "r.jsonl"],
        "train": [str(dataset), "--out", "run"],
        "pretrain": [str(dataset), "--out", "run"],
        "export": ["run", "--out", "model", "--limitations", "all"],
    }[command]
    code = (
        "import sys; sys.modules['torch'] = None  # an import of it raises, as where it is not installed\n"
        f"from wsi_segment.service.cli.main import main; sys.exit(main({[command, *arguments]!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "pip install" in done.stderr
    assert "pip install '.[train]'" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "r.jsonl").exists()
