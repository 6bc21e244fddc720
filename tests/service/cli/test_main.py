from __future__ import annotations

import errno
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from synthetic import SLIDES, class_map, tissue_like, write_model, write_slide
from wsi_segment.errors import InputError, SlideError
from wsi_segment.inference.engine.networks.onnx_network import OnnxNetwork
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.model.card import write_card
from wsi_segment.service.cli.main import COMMANDS, main, make_parser
from wsi_segment.service.cli.orders import make_orders

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "channels").folder


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(tmp_path_factory.mktemp("slide") / "made.tiff", tissue_like(700, 900))


def fails_with_one_line(capsys: pytest.CaptureFixture[str], arguments: list[object], code: int = 2) -> str:
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    assert err.startswith("wsi-segment: ")
    return err


def test_one_slide_and_a_zarr_name_make_that_store(
    slide: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mask.zarr"
    assert main([str(slide), "--out", str(out), "--model", str(model), "--preview", str(tmp_path / "p.png")]) == 0
    printed = capsys.readouterr().out
    assert "% of tissue" in printed
    assert "red" in printed
    assert {path.name for path in tmp_path.iterdir()} == {"mask.zarr", "mask.summary.json", "mask.summary.csv", "p.png"}


def test_the_suffix_of_a_mask_may_be_spelt_in_capitals(slide: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "W.OME.ZARR"
    assert main([str(slide), "--out", str(out), "--model", str(model), "--quiet"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"W.OME.ZARR", "W.OME.summary.json", "W.OME.summary.csv"}
    assert main(["verify", str(out)]) == 0


def test_a_folder_gets_a_store_for_each_slide_and_skips_finished_ones(
    slide: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.tiff"
    shutil.copy(slide, other)
    arguments = [str(slide), str(other), "--out", str(tmp_path / "masks"), "--model", str(model)]
    assert main(arguments) == 0
    assert {path.name for path in (tmp_path / "masks").glob("*.zarr")} == {"made.zarr", "other.zarr"}
    capsys.readouterr()
    assert main(arguments) == 0
    assert "0 segmented, 2 skipped, 0 failed" in capsys.readouterr().out


def test_a_mask_that_was_made_otherwise_is_skipped_with_a_word(
    slide: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(slide, tmp_path / "other.tiff")
    other = Path(shutil.copytree(model, tmp_path / "other"))
    (other / "card.json").write_text((other / "card.json").read_text().replace('"version": "', '"version": "9'))
    smoothed = Path(shutil.copytree(model, tmp_path / "smoothed"))
    card = json.loads((smoothed / "card.json").read_text())
    (smoothed / "card.json").write_text(json.dumps(card | {"smoothing_um": 30.0}))
    slides = [str(slide), str(tmp_path / "other.tiff"), "--out", str(tmp_path / "masks"), "--model"]
    assert main([*slides, str(model)]) == 0
    for arguments, said in (
        ([str(model)], "already exists, skipped\n"),
        ([str(other)], "skipped; it was made by channels"),
        (
            [str(smoothed)],
            "skipped; kinds of lesion were smoothed or decided otherwise in it: --overwrite replaces it\n",
        ),
        ([str(model), "--precision", "int8"], "skipped; it was made in fp32, not in int8: --overwrite replaces it\n"),
    ):
        capsys.readouterr()
        assert main([*slides, *arguments]) == 0
        assert capsys.readouterr().out.count(said) == 2


def test_one_bad_slide_of_several_is_reported_and_the_rest_done(
    slide: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.svs"
    bad.write_text("no slide")
    assert main([str(bad), str(slide), "--out", str(tmp_path / "masks"), "--model", str(model)]) == 1
    out, err = capsys.readouterr()
    assert "1 segmented, 0 skipped, 1 failed" in out
    assert "bad.svs" in err
    assert (tmp_path / "masks" / "made.zarr").exists()


def test_a_slide_that_fails_within_its_pixels_does_not_end_those_after_it(
    slide: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(slide, tmp_path / "after.tiff")
    predict, failures = OnnxNetwork.__call__, iter([SlideError("made.tiff: a tile cannot be decoded")])

    def failing(self: OnnxNetwork, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        for error in failures:
            raise error
        return predict(self, windows)

    monkeypatch.setattr(OnnxNetwork, "__call__", failing)
    slides = [str(slide), str(tmp_path / "after.tiff")]
    assert main([*slides, "--out", str(tmp_path / "masks"), "--model", str(model)]) == 1
    out, err = capsys.readouterr()
    assert "1 segmented, 0 skipped, 1 failed" in out
    assert "a tile cannot be decoded" in err
    assert (tmp_path / "masks" / "after.zarr").exists()


def test_the_word_segment_may_stand_before_the_slide(slide: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.zarr"
    assert main(["segment", str(slide), "--out", str(out), "--model", str(model), "--quiet"]) == 0
    assert (out / "zarr.json").exists()


def test_a_word_that_is_no_command_and_no_file_is_refused(
    slide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "m.zarr"
    assert "neither a command nor a file" in fails_with_one_line(capsys, ["predict", slide, "--out", out])
    assert not out.exists()


def test_a_folder_may_be_called_as_a_command_is_not(
    slide: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(slide, "segment")
    assert main(["segment", "--out", "m.zarr", "--model", str(model), "--quiet"]) == 0


def test_verify_names_the_damaged_mask_among_several(
    slide: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stores = [tmp_path / name for name in ("a.zarr", "b.zarr")]
    for store in stores:
        assert main([str(slide), "--out", str(store), "--model", str(model), "--quiet"]) == 0
    next(path for path in sorted(stores[1].rglob("*")) if path.is_file() and path.name == "0").unlink()
    assert main(["verify", *map(str, stores)]) == 1
    out, err = capsys.readouterr()
    assert out.startswith(f"{stores[0]}: whole")
    assert {line.partition(": ")[2].partition(": ")[0] for line in err.splitlines()} == {str(stores[1])}


def test_json_is_the_summary_and_nothing_else(
    slide: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(slide), "--out", str(tmp_path / "m.zarr"), "--model", str(model), "--json"]) == 0
    out, err = capsys.readouterr()
    summary = json.loads(out)
    assert err == ""
    assert [entry["name"] for entry in summary["classes"]] == ["red", "green", "blue"]
    assert summary["tissue_mm2"] == pytest.approx(sum(entry["area_mm2"] for entry in summary["classes"]))


def test_quiet_prints_nothing(slide: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(slide), "--out", str(tmp_path / "m.zarr"), "--model", str(model), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_a_clash_of_stems_is_an_error() -> None:
    with pytest.raises(InputError, match="two slides are called a"):
        make_orders(["x/a.svs", "y/a.tiff"], None, out=Path("out"), options=SegmentOptions(), model=None)


def test_a_manifest_brings_slides_with_pixel_sizes_and_models(
    slide: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(slide, tmp_path / "near.tiff")
    write_slide(tmp_path / "bare.tiff", tissue_like(300, 300), mpp=None)
    manifest = tmp_path / "slides.csv"
    manifest.write_text(f"slide,mpp,model\nnear.tiff,,{model}\nbare.tiff,0.9,{model}\n{slide},,{model}\n")
    assert main(["--manifest", str(manifest), "--out", str(tmp_path / "masks"), "--json"]) == 0
    summaries = json.loads(capsys.readouterr().out)
    assert [summary["mpp"] for summary in summaries] == pytest.approx([1.0, 0.9, 1.0], rel=1e-3)
    assert {path.name for path in (tmp_path / "masks").glob("*.zarr")} == {"near.zarr", "bare.zarr", "made.zarr"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,mpp\na,1\n", "column 'slide' is missing"),
        (
            "slide,mpp\na.svs,x\n,1\nb.svs,y\n",
            "line 2, column mpp: 'x' is not a number; line 3, column slide: the cell is empty; line 4",
        ),
        ("Slide, MPP\na.svs, x\n", "line 2, column mpp: 'x' is not a number"),
        ("slide,magnification\na.svs,20\n", "column 'magnification' is unknown"),
        ("slide,mpp\na.svs,1,2\n", "line 2: more cells than columns"),
    ],
)
def test_a_bad_manifest_is_refused_with_all_its_errors(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.csv").write_text(text)
    assert message in fails_with_one_line(capsys, ["--manifest", tmp_path / "m.csv", "--out", tmp_path / "out"])


def test_outlines_of_tissue_limit_what_is_analysed(
    slide: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    square = [[[100, 100], [400, 100], [400, 400], [100, 400], [100, 100]]]
    feature = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": square}}
    outlines = tmp_path / "tissue.geojson"
    outlines.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    arguments = [slide, "--out", tmp_path / "m.zarr", "--model", model, "--json", "--tissue"]
    assert main([str(argument) for argument in [*arguments, outlines]]) == 0
    assert json.loads(capsys.readouterr().out)["tissue_mm2"] == pytest.approx(0.09, rel=0.15)
    outlines.write_text("{}")
    arguments[2] = tmp_path / "n.zarr"
    assert "--tissue" in fails_with_one_line(capsys, [*arguments, outlines])
    assert "--tissue" in fails_with_one_line(capsys, [*arguments, tmp_path / "none.geojson"])


def test_a_region_limits_what_is_analysed_and_is_part_of_the_run(
    slide: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ring = [[100, 100], [400, 100], [400, 400], [100, 400], [100, 100]]
    region, out = tmp_path / "region.geojson", tmp_path / "m.zarr"
    region.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    arguments = [str(slide), "--out", str(out), "--model", str(model), "--json", "--region", str(region)]
    assert main(arguments) == 0
    limited = json.loads(capsys.readouterr().out)
    assert 0.05 < limited["tissue_mm2"] < 0.11
    ids = class_map(out)
    assert ids[110:390, 110:390].any()
    assert not ids[440:].any()
    assert limited["provenance"]["parameters"]["region"].startswith("geojson ")
    assert "--region" in fails_with_one_line(capsys, [*arguments[:-1], tmp_path / "none.geojson", "--overwrite"])


@pytest.mark.parametrize(
    "target",
    [["--geojson", "{slide}"], ["--preview", "{slide}"], ["--geojson", "{out}"], ["--preview", "{out}/p.png"],
     ["--geojson", "{out}.partial"], ["--preview", "x", "--geojson", "x"], ["--tissue", "{t}", "--geojson", "{t}"]],
)  # fmt: skip
def test_nothing_that_is_read_or_written_is_written_over(
    slide: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], target: list[str]
) -> None:
    copy, out, tissue = tmp_path / "copy.tiff", tmp_path / "m.zarr", tmp_path / "t.geojson"
    copy.write_bytes(slide.read_bytes())
    tissue.write_text(json.dumps({"type": "Polygon", "coordinates": [[[0, 0], [9, 0], [9, 9], [0, 0]]]}))
    named = [
        part.format(slide=copy, out=out, t=tissue).replace("x", str(tmp_path / "x"), part == "x") for part in target
    ]
    assert "this run" in fails_with_one_line(capsys, [copy, "--out", out, "--model", model, *named])
    assert copy.read_bytes() == slide.read_bytes()
    assert not out.exists()


def test_extras_that_were_cut_off_are_made_by_the_same_command(
    slide: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from wsi_segment.inference.mask import geojson

    def full(path: Path, *rest: object, **named: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    arguments = [slide, "--out", tmp_path / "m.zarr", "--model", model, "--geojson", tmp_path / "m.geojson", "--quiet"]
    with monkeypatch.context() as patched:
        patched.setattr(geojson, "write_geojson", full)
        assert "m.geojson: cannot be written: the disk is full" in fails_with_one_line(capsys, arguments, code=1)
    assert not (tmp_path / "m.zarr").exists()
    assert main([str(argument) for argument in arguments]) == 0
    assert json.loads((tmp_path / "m.geojson").read_text())["features"]
    summary = json.loads((tmp_path / "m.summary.json").read_text())
    assert summary["regions_kept"] == summary["regions"]


def test_outlines_of_the_mask_are_written(slide: Path, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.geojson.gz"
    arguments = ["--out", tmp_path / "m.zarr", "--model", model, "--geojson", path, "--min-area", 100, "--quiet"]
    assert main([str(slide), *map(str, arguments)]) == 0
    assert json.loads(gzip.decompress(path.read_bytes()))["features"]


def test_verify_says_whole_or_damaged(
    slide: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "m.zarr"
    assert main([str(slide), "--out", str(out), "--model", str(model), "--quiet"]) == 0
    assert main(["verify", str(out)]) == 0
    assert "whole" in capsys.readouterr().out
    next(path for path in sorted(out.rglob("*")) if path.is_file() and path.name == "0").unlink()
    assert main(["verify", str(out)]) == 1
    assert "differs from what was written" in capsys.readouterr().err
    assert "not a mask" in fails_with_one_line(capsys, ["verify", tmp_path])
    assert main(["verify", str(tmp_path), str(out)]) == 1
    assert "differs from what was written" in capsys.readouterr().err  # what is no mask does not end the checks


def test_no_pixel_size_names_the_flag(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_slide(tmp_path / "s.tiff", tissue_like(300, 300), mpp=None)
    out = tmp_path / "m.zarr"
    assert "--mpp" in fails_with_one_line(capsys, [path, "--out", out, "--model", model])
    assert not list(tmp_path.glob("m.*"))
    assert main([str(path), "--out", str(out), "--model", str(model), "--mpp", "1", "--quiet"]) == 0


def bad_slide(folder: Path, kind: str) -> Path:
    path = folder / f"{kind}.svs"
    if kind == "missing":
        return path
    if kind == "empty-folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("a text file, renamed\n" * 50)
    elif kind == "16-bit":
        tifffile.imwrite(path, np.zeros((600, 600, 3), np.uint16), photometric="rgb", tile=(256, 256))
    elif kind == "fluorescence":
        tifffile.imwrite(path, np.zeros((3, 600, 600), np.uint8), photometric="minisblack", tile=(256, 256))
    return path


@pytest.mark.parametrize("kind", ["missing", "empty-folder", "text", "16-bit", "fluorescence"])
def test_what_is_no_slide_is_said_in_one_line(
    kind: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = bad_slide(tmp_path, kind)
    line = fails_with_one_line(capsys, [path, "--out", tmp_path / "m.zarr", "--model", model, "--mpp", 0.5])
    assert path.name in line
    assert not list(tmp_path.glob("m.*"))


@pytest.mark.parametrize(
    "name", sorted(path.name for path in (SLIDES / "damaged").glob("*") if path.is_file()) or ["absent"]
)
def test_damaged_slides_are_said_in_one_line(
    name: str, slides: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = slides / "damaged" / name
    fails_with_one_line(capsys, [path, "--out", tmp_path / "m.zarr", "--model", model])
    assert not list(tmp_path.glob("m.*"))


def test_an_existing_output_is_not_touched(
    slide: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.zarr").mkdir()
    line = fails_with_one_line(capsys, [slide, "--out", tmp_path / "m.zarr", "--model", model])
    assert "--overwrite" in line
    assert not list((tmp_path / "m.zarr").iterdir())


def test_a_slide_in_the_folder_of_its_mask_is_not_removed_with_what_lies_there(
    slide: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "m.zarr"
    assert main([str(word) for word in (slide, "--out", out, "--model", model, "--quiet")]) == 0
    for folder in (out, tmp_path / "m.zarr.partial"):
        folder.mkdir(exist_ok=True)
        inside = Path(shutil.copy(slide, folder / "s.tiff"))
        line = fails_with_one_line(capsys, [inside, "--out", out, "--model", model, "--overwrite"])
        assert f"{folder} holds what is read by this run" in line
        assert inside.is_file()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is what even root cannot write to")
def test_a_read_only_folder_is_said_in_one_line(
    slide: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    locked = Path("/proc") if os.access(folder, os.W_OK) else folder
    line = fails_with_one_line(capsys, [slide, "--out", locked / "m.zarr", "--model", model])
    assert "cannot be written to" in line
    assert str(locked) in line


@pytest.mark.skipif(sys.platform != "linux", reason="links and working folders behave otherwise elsewhere")
def test_places_that_lead_nowhere_are_said_in_one_line(
    slide: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    line = fails_with_one_line(capsys, [slide, "--out", tmp_path / "a" / "m.zarr", "--model", model])
    assert "its links form a circle" in line
    for name in ("x" * 300, "x" * 300 + ".svs"):
        assert "xxx" in fails_with_one_line(capsys, [name, "--out", tmp_path / "m.zarr", "--model", model])
        assert "xxx" in fails_with_one_line(capsys, ["info", name])
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    line = fails_with_one_line(capsys, [slide, "--out", "m.zarr", "--model", model])
    assert "the working folder is gone" in line
    assert main([str(word) for word in (slide, "--out", tmp_path / "m.zarr", "--model", model, "--quiet")]) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="pipes have no names in folders there")
@pytest.mark.parametrize("flag", ["--geojson", "--preview"])
def test_no_file_is_put_in_the_place_of_a_pipe_or_a_device(
    flag: str, slide: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "out").symlink_to("/proc/self/fd/1")  # as /dev/stdout is
    for name in ("pipe", "out"):
        words = [slide, "--out", tmp_path / "m.zarr", "--model", model, flag, tmp_path / name]
        assert "is a device or a pipe" in fails_with_one_line(capsys, words)
    assert (tmp_path / "pipe").is_fifo()
    assert not (tmp_path / "m.zarr").exists()


def test_a_wrong_model_is_said_in_one_line(
    slide: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "m.zarr"
    assert "no such model" in fails_with_one_line(capsys, [slide, "--out", out, "--model", "nothing"])
    changed = tmp_path / "changed"
    shutil.copytree(model, changed)
    with (changed / "model.onnx").open("ab") as file:
        file.write(b"\0")
    assert "sha256" in fails_with_one_line(capsys, [slide, "--out", out, "--model", changed])
    (changed / "card.json").write_text('{"name": "x"}')
    assert "card.json" in fails_with_one_line(capsys, [slide, "--out", out, "--model", changed])
    (changed / "card.json").write_text("not json")
    assert "card.json" in fails_with_one_line(capsys, [slide, "--out", out, "--model", changed])
    assert not list(tmp_path.glob("m.*"))


@pytest.mark.parametrize(
    "flags",
    [
        ["--overlap", "1.5"],
        ["--batch-size", "0"],
        ["--memory-limit", "1M"],
        ["--device", "cuda"],
        ["--preview", "/proc/p.png"],
        ["--geojson", "/proc/p.geojson"],
    ],
)
def test_wrong_parameters_name_the_flag(
    slide: Path, model: Path, tmp_path: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    line = fails_with_one_line(capsys, [slide, "--out", tmp_path / "m.zarr", "--model", model, *flags])
    assert flags[0] in line
    assert not list(tmp_path.glob("m.*"))


INTERRUPTED = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start without it
from wsi_segment.inference.engine.networks import onnx_network as network
call = network.OnnxNetwork.__call__
calls = os.open("calls", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def slow(self, windows):
    os.write(calls, b".")
    time.sleep(0.3)
    return call(self, windows)
network.OnnxNetwork.__call__ = slow
from wsi_segment.service.cli.main import main
sys.exit(main(["s.tiff", "--out", "m.zarr", "--model", "model", "--workers", "2"]))
"""


def interrupt(folder: Path, number: signal.Signals) -> tuple[float, float]:
    """Seconds that a run takes to its first region, and to end when it is interrupted then."""
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, "-c", INTERRUPTED], cwd=folder, stderr=subprocess.PIPE, text=True)
    ledger, calls = folder / "m.zarr.partial" / "ledger.jsonl", folder / "calls"
    before = ledger.read_bytes().count(b"\n") if ledger.exists() else 1
    deadline = time.monotonic() + 240
    while not (ledger.exists() and ledger.read_bytes().count(b"\n") > before):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    asked, made = time.monotonic(), calls.stat().st_size
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "interrupted" in err.splitlines()[-1]
    assert not (folder / "m.zarr").exists()
    assert calls.stat().st_size - made <= 12  # of some sixty that are left
    return asked - started, time.monotonic() - asked


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent in another way there")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupting_ends_within_two_seconds_and_can_be_continued(tmp_path: Path, number: signal.Signals) -> None:
    write_model(tmp_path / "model")
    write_slide(tmp_path / "s.tiff", tissue_like(2400, 2800))
    tries = (interrupt(tmp_path, number) for _ in range(3))
    # on a machine that is busy with something else, all takes longer
    assert any(end < max(2.0, begin) for begin, end in tries)
    done = subprocess.run(
        [sys.executable, "-m", "wsi_segment.service", "s.tiff", "--out", "m.zarr", "--model", "model", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["regions_kept"] >= 1


@pytest.mark.parametrize(
    "arguments",
    [["--workers", "0"], ["--memory-limit", "inf"], ["--min-area", "-1"], ["--simplify", "nan"], ["--nonsense"]],
)
def test_wrong_arguments_are_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["s.svs", "--out", "m.zarr", *arguments])
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert arguments[0] in err


def test_names_with_brackets_are_only_names(slide: Path, model: Path, tmp_path: Path) -> None:
    odd = tmp_path / "case[bold].tiff"
    shutil.copy(slide, odd)
    command = [sys.executable, "-m", "wsi_segment.service", str(odd), "--out", str(tmp_path / "[red]m.zarr")]
    command += ["--model", str(model)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "[red]m.zarr" in done.stdout


def test_debug_shows_the_traceback(model: Path, tmp_path: Path) -> None:
    with pytest.raises(SlideError, match="no such file"):
        main([str(tmp_path / "none.svs"), "--out", str(tmp_path / "m.zarr"), "--model", str(model), "--debug"])


def test_info_and_models_answer(slide: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(slide)]) == 0
    assert "900 x 700" in capsys.readouterr().out
    assert main(["info", str(slide), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mpp_source"] == "TIFF resolution"
    assert main(["models"]) == 0
    assert "colorectal-biopsy" in capsys.readouterr().out
    assert main(["models", str(model)]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "channels"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    assert make_parser(name).format_help().startswith(f"usage: wsi-segment {name}")


def test_evaluate_measures_and_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    model = write_model(tmp_path / "model")
    write_card(model.card, model.folder)
    pixels = tissue_like(256, 256, seed=5)
    truth = np.where((pixels == 255).all(axis=2), 0, pixels.argmax(axis=2) + 1).astype(np.uint8)
    rows = ["image,mask,label,group,split"]
    for split in ("train", "val"):
        Image.fromarray(pixels).save(tmp_path / f"{split}.png")
        Image.fromarray(truth).save(tmp_path / f"{split}_mask.png")
        rows.append(f"{split}.png,{split}_mask.png,,{split},{split}")
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    classes = [entry.model_dump() for entry in model.card.classes]
    (tmp_path / "classes.json").write_text(json.dumps({"classes": classes, "mpp": 1.0}))
    assert main(["evaluate", str(model.folder), str(tmp_path), "--json", "--record", "--overlap", "0"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["macro_f1"] > 0.9
    assert figures["majority_baseline"]["macro_f1"] < 0.4
    recorded = json.loads((model.folder / "card.json").read_text())["metrics"]["val"]
    assert recorded["macro_f1"] == figures["macro_f1"]
    assert np.sum(recorded["confusion"], axis=1).tolist() == np.bincount(truth.ravel())[1:].tolist()
    assert recorded["per_class"]["red"]["recall"] == round(
        recorded["confusion"][0][0] / sum(recorded["confusion"][0]), 4
    )
    assert figures["intervals_95"]["macro_f1"][0] <= figures["macro_f1"] <= figures["intervals_95"]["macro_f1"][1]
    sheet = tmp_path / "sheet.png"
    for taken in (tmp_path / "train.png", tmp_path / "val_mask.png", model.folder / "card.json"):
        before = taken.read_bytes()
        assert main(["evaluate", str(model.folder), str(tmp_path), "--sheet", str(taken)]) == 2
        assert "is read by this run" in capsys.readouterr().err
        assert taken.read_bytes() == before
    assert main(["evaluate", str(model.folder), str(tmp_path), "--sheet", str(sheet)]) == 0
    assert "red" in capsys.readouterr().out
    with Image.open(sheet) as picture:
        assert picture.width > 1000


def test_evaluate_measures_under_shifts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    model = write_model(tmp_path / "model")
    write_card(model.card, model.folder)
    pixels = tissue_like(192, 160, seed=5)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray((pixels.argmax(axis=2) + 1).astype(np.uint8)).save(tmp_path / "a_mask.png")
    (tmp_path / "manifest.csv").write_text("image,mask,label,group,split\na.png,a_mask.png,,a,val\n")
    classes = [entry.model_dump() for entry in model.card.classes]
    (tmp_path / "classes.json").write_text(json.dumps({"classes": classes, "mpp": 1.0}))
    command = ["evaluate", str(model.folder), str(tmp_path)]
    chosen = ["--shift", "density=0.1", "--shift", "size=1.5"]
    curves = tmp_path / "curves.png"
    assert main([*command, *chosen, "--json", "--record", "--curves", str(curves)]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert [(row["shift"], row["amount"]) for row in figures["shifts"]] == [("density", 0.1), ("size", 1.5)]
    paler, larger = (row["calibration_error"] for row in figures["shifts"])
    assert paler > figures["calibration_error"]  # scores follow the contrast here, and what is right does not
    assert larger == pytest.approx(figures["calibration_error"], abs=0.1)
    assert json.loads((model.folder / "card.json").read_text())["metrics"]["val"]["shifts"] == figures["shifts"]
    with Image.open(curves) as picture:
        assert picture.width > picture.height
    assert main([*command, *chosen]) == 0
    assert "density 0.1" in capsys.readouterr().out
    assert main([*command, "--curves", str(curves)]) == 2
    assert "of which shifts?" in capsys.readouterr().err
    assert main(["evaluate", "mask.zarr", "a.geojson", "--shifts"]) == 2
    assert "no images to change" in capsys.readouterr().err


def test_a_reader_that_has_enough_is_no_error() -> None:
    command = [sys.executable, "-m", "wsi_segment.service", "models", "colorectal-biopsy"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_images_that_have_a_label_alone_are_measured_by_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    model = write_model(tmp_path / "model")
    colours = {"red": (200, 90, 90), "green": (90, 200, 90), "blue": (90, 90, 200)}
    labels = [("red", "red"), ("green", "green"), ("blue", "green")]  # shown, said
    rows = ["image,mask,label,group,split"]
    for index, (shown, said) in enumerate(labels):
        Image.new("RGB", (160, 140), colours[shown]).save(tmp_path / f"{index}.png")
        rows.append(f"{index}.png,,{said},{index},test")
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("\n".join(rows))
    classes = [entry.model_dump() for entry in model.card.classes]
    (tmp_path / "classes.json").write_text(json.dumps({"classes": classes, "mpp": 1.0}))
    command = ["evaluate", str(model.folder), str(tmp_path), "--split", "test"]
    assert main([*command, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert figures["images"] == 0
    assert figures["macro_f1"] is None
    assert figures["image_accuracy"] == pytest.approx(2 / 3, abs=1e-4)
    assert {name: row["label_found"] for name, row in figures["per_label"].items()} == {"red": 1.0, "green": 0.5}
    assert main([*command, "--sheet", str(tmp_path / "sheet.png")]) == 2
    assert "no image of test has a mask to draw" in capsys.readouterr().err

    Image.new("L", (160, 140), 1).save(tmp_path / "0_mask.png")  # the red image gets its mask
    manifest.write_text("\n".join(rows).replace("0.png,,", "0.png,0_mask.png,"))
    assert main([*command, "--sheet", str(tmp_path / "sheet.png")]) == 0
    printed = capsys.readouterr().out
    assert "1 images of 1 cases have a mask, 3 have a label" in printed
    assert "image_accuracy    0.667" in printed
    assert main([*command, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["images"], figures["accuracy"]) == (1, 1.0)
    assert [row["images"] for row in figures["per_label"].values()] == [1, 2]


def test_a_command_whose_flags_need_an_extra_says_so_in_one_line(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['pydantic_settings'] = None\n"
        "from wsi_segment.service.cli.main import main\n"
        "sys.exit(main(['serve', '--root', 'slides']))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install '.[service]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1
