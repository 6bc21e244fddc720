from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

pytest.importorskip("torch", reason="training needs the extra [train]")

import torch

from synthetic import write_dataset
from wsi_segment.model.card import sha256_of
from wsi_segment.model.training.resnet import Encoder
from wsi_segment.service.cli.main import main

CONFIG = """
split = "val"
[budget]
steps = 2
segmentation_batch = 2
classification_batch = 2
classification_patches = "images"
[[block]]
experiment = "curve"
settings = ["S", "S+C*"]
shares = [50]
"""


def prepared(folder: Path, config: str) -> tuple[list[str], Path]:
    """The command of an experiment on made images, and its file of results."""
    file, results, data, runs = (folder / name for name in ("config.toml", "results.jsonl", "data", "runs"))
    file.write_text(config)
    data.mkdir()
    runs.mkdir()
    command = ["experiment", str(file), str(write_dataset(data)), "--runs", str(runs), "--results", str(results)]
    return command, results


def test_an_experiment_goes_on_run_by_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command, results = prepared(tmp_path, CONFIG)
    assert main([*command, "--limit", "1"]) == 0
    (first,) = results.read_text().splitlines()
    assert main(command) == 0
    lines = results.read_text().splitlines()
    assert lines[0] == first
    assert [json.loads(line)["setting"] for line in lines] == ["S", "S+C*"]
    line = json.loads(lines[1])
    assert line["split"] == "val"
    assert line["steps"] == 2
    assert line["segmentation_percent"] == 50
    assert 0 <= line["macro_f1"] <= 1
    assert line["versions"]["torch"]
    assert (tmp_path / "results-curve.png").stat().st_size > 10_000
    capsys.readouterr()
    assert main(command) == 0
    assert "2 runs, 2 of them done" in capsys.readouterr().err
    assert main([*command, "--quiet", "--figures-only"]) == 0
    assert capsys.readouterr().err == ""
    (tmp_path / "config.toml").write_text(CONFIG.replace("steps = 2", "steps = 3"))
    assert main(command) == 2
    assert "with steps 2, not 3; name another file" in capsys.readouterr().err


def test_the_same_command_beside_itself_takes_the_runs_that_are_left(tmp_path: Path) -> None:
    command, results = prepared(tmp_path, CONFIG.replace("shares = [50]", "shares = [50, 100]"))
    script = str(Path(sys.executable).with_name("wsi-segment"))
    beside = [subprocess.Popen([script, *command]) for _ in range(2)]
    assert [process.wait(900) for process in beside] == [0, 0]
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    assert sorted((line["setting"], line["s"]) for line in lines) == [
        ("S", 50), ("S", 100), ("S+C*", 50), ("S+C*", 100),
    ]  # fmt: skip


def test_a_run_that_another_process_holds_is_left_to_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command, results = prepared(tmp_path, CONFIG)
    with FileLock(tmp_path / "runs" / "curve_paper_S_50_seed0.lock"):
        assert main(command) == 0
    assert "1/2 curve_paper_S_50_seed0: another process is at it" in capsys.readouterr().err
    (line,) = results.read_text().splitlines()
    assert json.loads(line)["setting"] == "S+C*"


def test_an_experiment_may_start_from_pretrained_encoders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = CONFIG.replace('settings = ["S", "S+C*"]', 'settings = ["S"]')
    pretrained = config[config.index("[[block]]") :] + 'encoder_weights = "encoder.pt"\nvariant = "pretrained"\n'
    command, results = prepared(tmp_path, config + pretrained)
    assert main(command) == 2
    assert "encoder.pt: no such file" in capsys.readouterr().err
    assert not results.exists()  # said before anything is trained
    torch.manual_seed(1)
    torch.save(Encoder().state_dict(), tmp_path / "encoder.pt")
    assert main(command) == 0
    plain, started = (json.loads(line) for line in results.read_text().splitlines())
    assert "encoder_sha256" not in plain
    assert started["encoder_sha256"] == sha256_of(tmp_path / "encoder.pt")
    assert started["variant"] == "pretrained"
    began = {path.parent.name: json.loads(path.read_text()) for path in (tmp_path / "runs").glob("*/run.json")}
    assert began["curve_paper_S_50_seed0"]["encoder_weights"] is None
    assert began["curve_paper_pretrained_S_50_seed0"]["encoder_weights"]
    (tmp_path / "config.toml").write_text(config + pretrained.replace('variant = "pretrained"\n', ""))
    assert main(command) == 2
    assert "a block with encoder_weights needs a variant" in capsys.readouterr().err
