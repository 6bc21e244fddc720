from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from synthetic import tissue_like, write_model, write_slide
from wsi_segment.model.card import write_card
from wsi_segment.service.cli.main import main


@pytest.fixture
def model(tmp_path: Path) -> Path:
    made = write_model(tmp_path / "model")
    write_card(made.card, made.folder)
    return made.folder


def test_fields_lie_where_the_model_is_unsure(tmp_path: Path, model: Path) -> None:
    """Half of the slide is of one strong colour; in the other half colours hardly differ."""
    pixels = np.full((1536, 2048, 3), (200, 40, 60), np.uint8)
    pixels[:, 1024:] = (150, 146, 140)
    slide = write_slide(tmp_path / "s.tiff", pixels)
    out = tmp_path / "fields.geojson"
    command = ["suggest", str(slide), "--out", str(out), "--model", str(model), "--tissue", "none", "--quiet"]
    assert main([*command, "--count", "3"]) == 0
    features = json.loads(out.read_text())["features"]
    assert [feature["properties"]["name"] for feature in features] == ["annotate 1", "annotate 2", "annotate 3"]
    for feature in features[:1]:
        corners = np.array(feature["geometry"]["coordinates"][0])
        assert corners.min(axis=0)[0] >= 1024
        assert np.ptp(corners, axis=0).tolist() == [512, 512]
    assert len({feature["id"] for feature in features}) == 3
    before = out.read_bytes()
    assert main([*command, "--count", "3"]) == 2
    assert main([*command, "--count", "3", "--overwrite"]) == 0
    assert out.read_bytes() == before


def test_several_slides_share_the_count(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slides = [str(write_slide(tmp_path / f"{n}.tiff", tissue_like(1100, 1100, n), mpp=0.5)) for n in (1, 2)]
    assert main(["suggest", *slides, "--out", str(tmp_path / "f"), "--model", str(model), "--count", "2"]) == 0
    files = [json.loads((tmp_path / "f" / f"{n}.geojson").read_text())["features"] for n in (1, 2)]
    assert sum(map(len, files)) == 2
    assert {feature["properties"]["measurements"]["Rank"] for file in files for feature in file} == {1, 2}
    assert "fields of 1.tiff" in capsys.readouterr().out


def test_fields_never_take_the_place_of_what_is_read(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "wsi_segment.inference.evaluation.annotating.suggest.candidates_of", None
    )  # nothing is looked at
    slide, region = write_slide(tmp_path / "s.tiff", tissue_like(600, 600)), tmp_path / "r.geojson"
    region.write_text('{"type": "FeatureCollection", "features": []}')
    for out, said in ((region, "is read by this run"), (slide, "cannot be written")):
        before = out.read_bytes()
        command = ["suggest", str(slide), "--out", str(out), "--region", str(region), "--model", str(model)]
        assert main([*command, "--overwrite"]) == 2
        line = capsys.readouterr().err
        assert line.count("\n") == 1
        assert said in line
        assert out.read_bytes() == before


def test_a_slide_without_tissue_is_one_line(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slide = write_slide(tmp_path / "s.tiff", np.full((600, 600, 3), 250, np.uint8))
    assert main(["suggest", str(slide), "--out", str(tmp_path / "f.geojson"), "--model", str(model)]) == 2
    assert "no field of 512 px is half of tissue" in capsys.readouterr().err
