"""Addresses given to the command line: read and written there, or refused in one line before anything is done."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from buckets import Bucket, emulated
from synthetic import files_of, tissue_like, write_model, write_slide
from wsi_segment.errors import InputError
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.slides.location import slide_location
from wsi_segment.service.cli.main import main
from wsi_segment.service.cli.orders import make_orders


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with emulated() as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, bucket: Bucket) -> Path:
    """Slide, model, outlines and a table that names them; all but the model lie in the bucket too, below ``study``."""
    folder = tmp_path_factory.mktemp("addresses")
    write_slide(folder / "s.tiff", tissue_like(400, 700))
    write_model(folder / "model")
    corners = [[50, 50], [350, 50], [350, 350], [50, 350], [50, 50]]
    (folder / "r.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [corners]}))
    (folder / "t.csv").write_text("slide,region,tissue\ns.tiff,r.geojson,r.geojson\n")
    for name in ("s.tiff", "r.geojson", "t.csv"):
        bucket.client.upload_file(str(folder / name), bucket.name, f"study/{name}")
    return folder


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr().err
    assert said.count("\n") == 1, said
    return said


def test_tables_and_outlines_are_read_from_a_bucket(bucket: Bucket, folder: Path, tmp_path: Path) -> None:
    common, study = ["--model", str(folder / "model"), "--quiet"], f"s3://{bucket.name}/study"
    slide, outlines = str(folder / "s.tiff"), str(folder / "r.geojson")
    assert main([slide, "--out", str(tmp_path / "l.zarr"), "--region", outlines, "--tissue", outlines, *common]) == 0
    local = files_of(tmp_path / "l.zarr")
    there = f"{study}/r.geojson"
    assert main([slide, "--out", str(tmp_path / "a.zarr"), "--region", there, "--tissue", there, *common]) == 0
    assert files_of(tmp_path / "a.zarr") == local
    assert main(["--manifest", f"{study}/t.csv", "--out", f"s3://{bucket.name}/made/", *common]) == 0
    assert bucket.objects("made/s.zarr/") == local
    (tmp_path / "t.csv").write_text(f"slide,region,tissue\n{slide},{there},{there}\n")
    assert main(["--manifest", str(tmp_path / "t.csv"), "--out", str(tmp_path / "b"), *common]) == 0
    assert files_of(tmp_path / "b" / "s.zarr") == local
    assert main(["info", f"{study}/s.tiff", "--preview", f"s3://{bucket.name}/made/tissue.png", "--mpp", "0.5"]) == 0
    assert bucket.objects("made/tissue.png")[""].startswith(b"\x89PNG")


@pytest.mark.parametrize("flag", ["--region", "--tissue", "--manifest"])
def test_what_is_missing_or_wrong_in_a_bucket_is_one_line(
    bucket: Bucket, folder: Path, tmp_path: Path, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    common = [str(folder / "s.tiff"), "--out", str(tmp_path / "m"), "--model", str(folder / "model"), "--quiet"]
    for address, said in (
        (f"s3://{bucket.name}/study/missing", "no such file"),
        ("s3://no-such-bucket/x", "there is no bucket no-such-bucket"),
        (f"s3://{bucket.name}/study/s.tiff", "GeoJSON" if flag != "--manifest" else "CSV"),
        (f"s3://{bucket.name}/study//x", "no empty part"),
    ):
        assert main([*common, flag, address]) != 0
        line = one_line(capsys)
        assert address in line
        assert said in line
        assert "Errno" not in line


def test_a_row_that_leads_nowhere_is_named(bucket: Bucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = b"slide,region\n../s.tiff,\nt.tiff,x//y\nnowhere://s.tiff,\n"
    bucket.client.put_object(Bucket=bucket.name, Key="rows/t.csv", Body=rows)
    assert main(["--manifest", f"s3://{bucket.name}/rows/t.csv", "--out", str(tmp_path / "m")]) == 2
    said = one_line(capsys)
    assert all(f"line {line}" in said for line in (2, 3, 4))


def test_what_is_read_from_a_bucket_is_never_written_to(
    bucket: Bucket, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study, before = f"s3://{bucket.name}/study", bucket.objects("study/")
    alias = study.replace("s3:", "s3a:")
    given = [f"{study}/s.tiff", "--out", f"{study}/m.zarr", "--model", str(folder / "model"), "--quiet"]
    given += ["--region", f"{study}/r.geojson"]
    for flag in ("--preview", "--geojson"):
        for name in ("s.tiff", "r.geojson", "m.zarr/x"):
            for place in (study, alias):
                assert main([*given, flag, f"{place}/{name}"]) == 2
                assert "choose another name" in one_line(capsys)
    for picture, said in (
        (f"{study}/s.tiff", "choose another name"),
        (f"{alias}/s.tiff", "choose another name"),
        (f"s3://{bucket.name}", "name for a file"),
    ):
        assert main(["info", f"{study}/s.tiff", "--preview", picture, "--mpp", "0.5"]) == 2
        assert said in one_line(capsys)
    assert bucket.objects("study/") == before


def test_places_that_cannot_be_written_are_refused_at_once(
    bucket: Bucket, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(folder / "s.tiff"), "--out", str(tmp_path / "m.zarr"), "--model", str(folder / "model"), "--quiet"]
    for flag in ("--preview", "--geojson"):
        for place, said in (("https://example.org/x", "object store"), (f"s3://{bucket.name}", "name for a file")):
            assert main([*given, flag, place]) == 2
            line = one_line(capsys)
            assert flag in line
            assert said in line
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_a_suffix_alone_is_a_folder_everywhere(bucket: Bucket, folder: Path) -> None:
    for place in ("masks", f"s3://{bucket.name}"):
        orders = [
            make_orders(slides, None, slide_location(f"{place}/.zarr"), SegmentOptions(), None)[0]
            for slides in (["s.tiff"], [f"s3://{bucket.name}/.tiff"])
        ]
        assert [order.out.name for order in orders] == ["s.zarr", ".tiff.zarr"]
        assert all(order.out.parent.name == ".zarr" for order in orders)


@pytest.mark.parametrize(
    "command",
    [
        ["view", "s3://b/m.zarr"],
        ["view", "m.zarr", "--slide", "s3://b/s.tiff"],
        ["suggest", "s.tiff", "--out", "s3://b/x"],
        ["submit", "s.tiff", "--region", "s3://b/r.geojson"],
        ["train", "s3://b/data", "--out", "run"],
        ["backup", "--out", "s3://b/copy"],
    ],
)
def test_an_address_in_place_of_a_path_is_one_line(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        main(command)
    said = one_line(capsys)
    assert next(word for word in command if "://" in word) in said
    assert "must be on this machine" in said
    assert not list(tmp_path.iterdir())


def test_a_folder_whose_name_ends_in_a_colon_is_no_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study:").mkdir()
    for place in ("./study:/m.zarr", "./study://m.zarr"):
        assert main(["view", place]) == 2
        assert "study:/m.zarr: no such mask" in one_line(capsys)


@pytest.mark.parametrize("place", ["C:/m.zarr", "C://m.zarr"])
def test_a_drive_is_no_address(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", place]) == 2
    assert "C:/m.zarr: no such mask" in one_line(capsys)


@pytest.mark.parametrize("place", ["s3:/b/data", "study:/data"])
def test_an_address_with_a_slash_too_few_makes_no_folder(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study:").mkdir()
    with pytest.raises(SystemExit, match="2"):
        main(["backup", "--out", place])
    assert f"{place}: looks like an address; give ./{place} for a folder of this name" in one_line(capsys)
    assert [path.name for path in tmp_path.rglob("*")] == ["study:"]


@pytest.mark.parametrize(
    "command",
    [
        ["PLACE", "--out", "m.zarr"],
        ["s.tiff", "--out", "PLACE"],
        *(["s.tiff", "--out", "m.zarr", flag, "PLACE"] for flag in ("--preview", "--geojson", "--region", "--tissue")),
        ["--manifest", "PLACE", "--out", "m"],
        ["info", "PLACE"],
        ["info", "s.tiff", "--preview", "PLACE"],
        ["verify", "PLACE"],
        ["suggest", "PLACE", "--out", "x"],
        ["evaluate", "PLACE.zarr", "r.geojson"],
    ],
)
@pytest.mark.parametrize(
    ("place", "meant"),
    [
        ("s3:/b/x", "s3://b/x"),
        ("gs:/b/x", "gs://b/x"),
        ("https:/host/x", "https://host/x"),
        ("file:/data/x", "file:///data/x"),
    ],
)
def test_an_address_with_a_slash_too_few_is_told_how_it_is_written(
    command: list[str],
    place: str,
    meant: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([word.replace("PLACE", place) for word in command]) == 2
    assert f"{place}" in (said := one_line(capsys))
    assert f"looks like an address; give {meant}" in said
    assert not list(tmp_path.iterdir())


def test_a_row_with_a_slash_too_few_is_told_so_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.csv").write_text("slide,region\ns3:/b/s.tiff,\ns.tiff,gs:/b/r.geojson\n")
    assert main(["--manifest", str(tmp_path / "t.csv"), "--out", str(tmp_path / "m")]) == 2
    said = one_line(capsys)
    assert "line 2: s3:/b/s.tiff: looks like an address; give s3://b/s.tiff" in said
    assert "line 3: gs:/b/r.geojson: looks like an address; give gs://b/r.geojson" in said


def test_masks_are_measured_wherever_they_are_and_however_their_suffix_is_spelt(
    bucket: Bucket, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ring = {"type": "Polygon", "coordinates": [[[50, 50], [350, 50], [350, 350], [50, 350], [50, 50]]]}
    feature = {"type": "Feature", "geometry": ring, "properties": {"classification": {"name": "red"}}}
    (tmp_path / "a.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    found = []
    for out in (f"s3://{bucket.name}/measured/M.zarr", str(tmp_path / "M.ZARR")):
        assert main([str(folder / "s.tiff"), "--out", out, "--model", str(folder / "model"), "--quiet"]) == 0
        capsys.readouterr()
        assert main(["evaluate", out, str(tmp_path / "a.geojson"), "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0] == found[1]
    assert found[0]["annotated_mm2"] > 0


def test_an_address_is_no_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["s.tiff", "--out", "m.zarr", "--model", "s3://b/model"]) == 2
    assert "s3://b/model: no such model" in one_line(capsys)


def test_outlines_of_a_run_in_python_may_be_addresses(bucket: Bucket) -> None:
    options = SegmentOptions(region=f"s3://{bucket.name}/r.geojson", tissue="s3://b/t.geojson")  # type: ignore[arg-type]
    assert str(options.region) == f"s3://{bucket.name}/r.geojson"
    assert str(options.tissue) == "s3://b/t.geojson"
    assert SegmentOptions(region="none").region == Path("none")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no empty part"):
        SegmentOptions(region="s3://b//r.geojson")  # type: ignore[arg-type]
