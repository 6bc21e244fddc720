"""`wsi-segment info`: everything that a colleague would ask about an odd slide."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fuzz.dicom_maker import DicomSpec, write_dicom
from fuzz.tiff_maker import Layout, TiffSpec, write_tiff
from synthetic import tissue_like, write_model, write_slide
from wsi_segment.service.cli.main import main


def facts_of(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> dict[str, Any]:
    assert main(["info", *map(str, arguments), "--json"]) == code
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def told(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> str:
    assert main(["info", *map(str, arguments)]) == code
    return capsys.readouterr().out


def test_every_image_and_every_statement_of_pixel_size_is_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = TiffSpec(kind="ome", levels=(2, 4), levels_inside=True, decoys_before=("macro",), other_mpp=1.0, unit="nm")
    path = tmp_path / "s.ome.tif"
    write_tiff(path, spec)
    facts = facts_of(capsys, path)
    macro, slide = facts["images"]
    assert (macro["role"], slide["role"]) == ("label, macro or thumbnail", "slide")
    assert [(size["x"], size["source"]) for size in slide["pixel_sizes"]] == [
        (pytest.approx(0.5), "OME-XML PhysicalSize"),
        (pytest.approx(1.0), "TIFF resolution"),
    ]
    assert slide["levels"] == [[500, 400], [250, 200], [125, 100]]
    assert [doubt["code"] for doubt in facts["warnings"]] == ["pixel-size-differs"]
    text = told(capsys, path)
    assert "doubt (pixel-size-differs)" in text
    assert "read by tifffile: a TIFF of no vendor is read directly" in text


def test_orientation_and_tiles_that_are_left_out_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "s.tif"
    write_tiff(path, TiffSpec(orientation=6, left_out=(0.0, 0.5)))
    text = told(capsys, path, code=2)
    assert "orientation 6: turned by 90 degrees" in text
    assert "2 tiles or strips left out (white)" in text
    assert "refused: " in text


def test_what_would_be_refused_is_described_all_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "s.tif"
    write_tiff(path, TiffSpec(samples="rgb16", layout=Layout("deflate")))
    facts = facts_of(capsys, path, code=2)
    assert "uint16" in facts["refused"]
    assert "uint16" in facts["images"][0]["problem"]
    assert facts["reader"] is None


def test_a_pixel_size_that_is_needed_names_its_flag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_slide(tmp_path / "s.tiff", tissue_like(300, 300), mpp=None)
    assert "needed: " in (text := told(capsys, path))
    assert "--mpp" in text
    assert facts_of(capsys, path)["needs"]


def test_a_dicom_folder_lists_its_images_and_what_lies_beside_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dicom(tmp_path, DicomSpec(levels=(2,), labels=("LABEL",), beside=("SEG", "DICOMDIR")))
    facts = facts_of(capsys, tmp_path)
    assert [image["role"] for image in facts["images"]] == ["VOLUME", "VOLUME", "LABEL"]
    assert facts["files"] == 3
    assert {other.split(": ")[1] for other in facts["beside"]} == {
        "SEG (Segmentation Storage)",
        "DICOMDIR (Media Storage Directory Storage)",
    }


def test_of_several_images_one_is_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "s.tif"
    write_tiff(path, replace(TiffSpec(), decoys_after=("half of another",), decoys_marked=False, decoys_tiled=True))
    assert facts_of(capsys, path)["levels"][0]["width"] == 500
    assert facts_of(capsys, path, "--image", 1)["levels"][0]["width"] == 250


def test_the_preview_shows_the_tissue_and_greys_the_glass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_model(tmp_path / "model")
    path = write_slide(tmp_path / "s.tiff", tissue_like(1600, 1600), mpp=1.0)
    picture = tmp_path / "new" / "tissue.png"
    facts = facts_of(capsys, path, "--preview", picture, "--model", tmp_path / "model")
    assert 0.6 < facts["tissue_share"] < 0.85  # an ellipse of 0.48 of both sides covers 0.72
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("RGB"))
    side = pixels.shape[1]
    assert (pixels[5, 5] == pixels[5, 5, 0]).all()  # glass
    assert pixels[5, 5, 0] < 250
    centre = pixels[side // 2 - 20 : side // 2 + 20, side // 2 - 20 : side // 2 + 20].astype(int)
    assert np.ptp(centre.mean(axis=(0, 1))) > 20  # tissue in its colours
    assert ((pixels == (0, 140, 70)).all(axis=2)).sum() > side  # and its outline


def test_a_picture_of_a_slide_without_a_pixel_size_needs_one(tmp_path: Path) -> None:
    write_model(tmp_path / "model")
    path = write_slide(tmp_path / "s.tiff", tissue_like(600, 600), mpp=None)
    words = ["info", str(path), "--preview", str(tmp_path / "t.png"), "--model", str(tmp_path / "model")]
    assert main(words) == 2
    assert not (tmp_path / "t.png").exists()
    assert main([*words, "--mpp", "1"]) == 0
    assert (tmp_path / "t.png").is_file()


def test_the_preview_never_takes_the_place_of_the_slide(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_model(tmp_path / "model")
    slide, folder, link = tmp_path / "s.tiff", tmp_path / "dicom", tmp_path / "link.png"
    write_slide(slide, tissue_like(600, 600), mpp=1.0)
    folder.mkdir()
    write_dicom(folder, DicomSpec())
    link.symlink_to(slide)
    image = next(folder.iterdir())
    for given, picture, said in (
        (slide, slide, "is read by this run; choose another name"),
        (slide, link, "is read by this run; choose another name"),
        (folder, image, "is read by this run; choose another name"),
        (slide, "", "not a name for a file"),
        (slide, tmp_path / "model", "is a folder"),
    ):
        before = {file: file.read_bytes() for file in (slide, *folder.iterdir())}
        words = ["info", given, "--preview", picture, "--model", tmp_path / "model"]
        assert main([str(word) for word in words]) == 2
        line = capsys.readouterr().err
        assert line.count("\n") == 1
        assert said in line
        assert {file: file.read_bytes() for file in (slide, *folder.iterdir())} == before
    assert link.is_symlink()


def test_a_file_that_is_nothing_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "s.svs").write_bytes(b"nothing")
    assert main(["info", str(tmp_path / "s.svs")]) == 2
    answer = capsys.readouterr()
    assert answer.out == ""
    assert len(answer.err.strip().splitlines()) == 1


@pytest.mark.parametrize("name", ["CMU-1-Small-Region.svs", "tcga-cr-7395-01a-01-ts1.svs", "dicom-cmu-1"])
def test_real_slides_are_described(slides: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    facts = facts_of(capsys, slides / name)
    assert facts["refused"] is None
    assert {image["role"].lower() for image in facts["images"]} & {"slide", "volume"}
    assert "thumbnail" in {image["role"].lower() for image in facts["images"]}
