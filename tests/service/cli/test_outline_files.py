"""Files of outlines through the command line: which part of a slide they limit a run to, and how they are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from synthetic import class_map, tissue_like, write_model, write_slide
from wsi_segment.service.cli.main import main


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a slide of 900 x 700 px at 1 µm per pixel, tissue in its middle, and a model."""
    folder = tmp_path_factory.mktemp("made")
    write_slide(folder / "s.tiff", tissue_like(700, 900))
    write_model(folder / "channels")
    return folder


def square(x: float, y: float, side: float, name: str | None = None) -> dict[str, Any]:
    ring = [[x, y], [x + side, y], [x + side, y + side], [x, y + side]]  # not closed
    described = {"classification": name} if name else {}
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": described}


LINE = {"type": "Feature", "geometry": {"type": "LineString", "coordinates": [[0, 0], [1, 1]]}, "properties": {}}
BESIDE = square(5000, 0, 100)


def command(made: Path, out: Path, **flags: object) -> list[str]:
    more = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    return [str(made / "s.tiff"), "--out", str(out), "--model", str(made / "channels"), "--json", *more]


def written(path: Path, *features: dict[str, Any]) -> Path:
    path.write_text(json.dumps(features))
    return path


@pytest.mark.parametrize("flag", ["region", "tissue"])
def test_outlines_beside_the_slide_end_the_run_with_both_extents(
    flag: str, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outlines = written(tmp_path / "o.geojson", BESIDE)
    assert main(command(made, tmp_path / "m.zarr", **{flag: outlines})) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert (
        f"--{flag} {outlines}: its outlines lie beside the slide: they span x 5000 to 5100 and y 0 to 100" in said.err
    )
    assert "the slide x 0 to 900 and y 0 to 700" in said.err
    assert not (tmp_path / "m.zarr").exists()


@pytest.mark.parametrize("flag", ["region", "tissue"])
def test_outlines_without_any_area_end_the_run(
    flag: str, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outlines = written(tmp_path / "o.geojson", LINE)
    assert main(command(made, tmp_path / "m.zarr", **{flag: outlines})) == 2
    assert f"--{flag} {outlines}: no outline has an area, it holds only 1 line" in capsys.readouterr().err


def test_a_region_in_which_there_is_no_tissue_ends_the_run(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    glass, other = (
        written(tmp_path / "g.geojson", square(0, 0, 60)),
        written(tmp_path / "t.geojson", square(400, 300, 9)),
    )
    for flags in ({"region": glass}, {"region": glass, "tissue": other}):
        assert main(command(made, tmp_path / "m.zarr", **flags)) == 2
        said = capsys.readouterr()
        assert (
            f"--region {glass}: no tissue lies within its outlines; correct them, or set --tissue to none" in said.err
        )
        assert not (tmp_path / "m.zarr").exists()
    assert main(command(made, tmp_path / "m.zarr", region=glass, tissue="none")) == 0
    assert class_map(tmp_path / "m.zarr")[:60, :60].all()


def test_what_is_left_out_of_outlines_is_a_warning(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    region = written(tmp_path / "o.geojson", LINE, square(300, 200, 100), BESIDE)
    assert main(command(made, tmp_path / "m.zarr", region=region, tissue="none")) == 0
    said = "left out of `region`: 1 line, which has no area; 1 of 2 outlines, which lies beside the slide"
    assert json.loads(capsys.readouterr().out)["warnings"] == [{"code": "outlines-left-out", "message": said}]
    shown = [one for one in command(made, tmp_path / "shown.zarr", region=region, tissue="none") if one != "--json"]
    assert main(shown) == 0  # of several slides, it must tell which
    assert f"wsi-segment: warning: {shown[0]}: {said.replace('`region`', '--region')}\n" in capsys.readouterr().err
    ids = class_map(tmp_path / "m.zarr")
    assert ids[200:300, 300:400].all()
    ids[180:320, 280:420] = 0
    assert not ids.any()


def test_a_mask_is_evaluated_by_outlines_on_it_only(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "m.zarr"
    assert main(command(made, store)) == 0
    capsys.readouterr()
    beside = written(tmp_path / "b.geojson", square(5000, 0, 100, "red"))
    assert main(["evaluate", str(store), str(beside)]) == 2
    assert "lie beside the mask m.zarr: they span x 5000 to 5100" in capsys.readouterr().err
    outlines = written(tmp_path / "o.geojson", square(300, 200, 100, "red"), LINE, square(100, 100, 9))
    named = square(400, 300, 50)
    named["properties"]["name"] = "green"
    written(tmp_path / "n.geojson", square(300, 200, 100, "red"), named)
    assert main(["evaluate", str(store), str(outlines)]) == 0
    assert f"left out of {outlines}: 1 line, which has no area" in capsys.readouterr().err
    assert main(["evaluate", str(store), str(outlines), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["annotated_mm2"], figures["left_out"]) == (0.01, "1 line, which has no area")
    assert main(["evaluate", str(store), str(tmp_path / "n.geojson"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["annotated_mm2"] == 0.0125  # a name that is a class counts


def test_what_submit_cannot_send_is_refused_before_anything_is_posted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    region = written(tmp_path / "r.geojson", LINE)
    assert main(["submit", "s.tiff", "--region", str(region), "--server", "http://127.0.0.1:9"]) == 2
    assert f"--region {region}: no outline has an area, it holds only 1 line" in capsys.readouterr().err
