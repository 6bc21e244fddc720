"""What ``wsi-segment train`` makes of slides that are outlined in part."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest

from synthetic import tissue_like, write_slide
from wsi_segment.service.cli.main import main

pytest.importorskip("torch")

SMALL = ("--set", "steps=1", "--set", "segmentation_batch=2", "--set", "classification_batch=2")


@pytest.fixture
def outlined(tmp_path: Path) -> Path:
    """A folder of slides, each with two squares that lie apart, one of each class."""
    folder = tmp_path / "outlined"
    folder.mkdir()
    classes = [{"name": "red", "color": [255, 0, 0]}, {"name": "green", "color": [0, 255, 0]}]
    (folder / "classes.json").write_text(json.dumps({"classes": classes, "mpp": 1.0}))
    collection = {"type": "FeatureCollection", "features": [square("red", 100, 300), square("green", 600, 200)]}
    for index in range(4):
        write_slide(folder / f"s{index}.tiff", tissue_like(900, 900, seed=index))
        (folder / f"s{index}.geojson").write_text(json.dumps(collection))
    return folder


def square(name: str, corner: int, side: int) -> dict[str, Any]:
    end = corner + side
    ring = [[corner, corner], [end, corner], [end, end], [corner, end], [corner, corner]]
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"classification": {"name": name}},
    }


def losses(run: Path) -> tuple[float, float]:
    [row] = csv.DictReader((run / "log.csv").read_text().splitlines())
    return float(row["segmentation_loss"]), float(row["classification_loss"])


def test_outlines_teach_all_of_their_pixels(outlined: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(outlined), "--out", str(tmp_path / "run"), *SMALL]) == 0
    said = capsys.readouterr().err
    assert "every outlined pixel is learnt from" in said
    assert "nan" not in said
    of_pixels, of_labels = losses(tmp_path / "run")
    assert math.isfinite(of_pixels)
    assert math.isnan(of_labels)  # there are no labels


def test_the_tiles_of_the_paper_can_be_asked_for(
    outlined: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiles = ("--set", "classification_patches=tiles")
    assert main(["train", str(outlined), "--out", str(tmp_path / "run"), *SMALL, *tiles]) == 0
    said = capsys.readouterr().err
    assert "every outlined pixel" not in said
    assert "nan" not in said
    of_pixels, of_labels = losses(tmp_path / "run")
    assert math.isnan(of_pixels)  # no tile holds exactly two classes
    assert math.isfinite(of_labels)
