"""Names that file systems or encodings cannot hold are found before anything is computed, or harm nothing."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from synthetic import ChannelNetwork, make_model, tissue_like, write_slide
from wsi_segment.errors import OutputError
from wsi_segment.files import longest_name, printable, refuse_long_names, replacing, temporary_for
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.inference.mask.partial import Output
from wsi_segment.inference.mask.summary import summary_paths


def run(slide: Path, out: Path) -> str:
    options = SegmentOptions(tissue="none")
    return segment(slide, make_model(), out, options, network=ChannelNetwork()).slide


@pytest.mark.parametrize("over", [0, 1])
def test_the_longest_name_that_fits_is_segmented_and_one_byte_more_is_refused(tmp_path: Path, over: int) -> None:
    slide = write_slide(tmp_path / "s.tiff", tissue_like(200, 200))
    stem = "n" * (longest_name(tmp_path) - len(".summary.json") + over)
    out = tmp_path / f"{stem}.zarr"
    if over:
        with pytest.raises(OutputError, match=r"names can have 255 bytes .* would have 256; choose a shorter `out`"):
            run(slide, out)
        assert [path.name for path in tmp_path.iterdir()] == ["s.tiff"]
    else:
        run(slide, out)
        assert all(path.is_file() for path in summary_paths(out))
        assert out.is_dir()


def test_a_file_system_with_shorter_names_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pathconf", lambda folder, name: 143)
    Output(tmp_path / f"{'n' * 130}.zarr", overwrite=False)
    with pytest.raises(OutputError, match="143 bytes"):
        Output(tmp_path / f"{'n' * 131}.zarr", overwrite=False)


def test_a_file_system_that_does_not_say_is_taken_for_a_common_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(folder: Path, name: str) -> int:
        raise OSError

    monkeypatch.setattr(os, "pathconf", unknown)
    assert longest_name(tmp_path) == 255


def test_length_is_counted_in_bytes(tmp_path: Path) -> None:
    refuse_long_names([tmp_path / ("ß" * 127)])
    with pytest.raises(OutputError, match="256"):
        refuse_long_names([tmp_path / ("ß" * 128)])


def test_the_longest_file_can_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / ("n" * longest_name(tmp_path))
    for content in ("a", "b"):
        with replacing(path, text=True) as file:
            file.write(content)
        assert path.read_text() == content
    assert len(temporary_for(path).name) < 30


@pytest.mark.skipif(sys.platform != "linux", reason="other systems take names that are Unicode alone")
def test_a_slide_whose_name_is_not_utf8_is_segmented(tmp_path: Path) -> None:
    slide = Path(os.fsdecode(bytes(tmp_path) + b"/M\xfcller.tiff"))
    slide.write_bytes(write_slide(tmp_path / "s.tiff", tissue_like(200, 200)).read_bytes())
    out = Path(os.fsdecode(bytes(tmp_path) + b"/M\xfcller.zarr"))
    assert run(slide, out) == f"{tmp_path}/M\\xfcller.tiff"
    as_json, as_csv = summary_paths(out)
    assert json.loads(as_json.read_text(encoding="utf-8"))["slide"].endswith("M\\xfcller.tiff")
    assert "M\\xfcller.tiff" in as_csv.read_text(encoding="utf-8")
    assert out.is_dir()


@pytest.mark.parametrize("name", ["plain.svs", "Müller.svs", "切片.svs", "🔬.svs", r"back\slash.svs"])
def test_names_that_are_text_are_printed_as_they_are(name: str) -> None:
    assert printable(Path(name)) == name
