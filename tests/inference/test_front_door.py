from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

import wsi_segment.inference as door
from synthetic import files_of, tissue_like, write_model, write_slide
from wsi_segment.errors import Cancelled
from wsi_segment.inference import Mask, Progress, SegmentOptions, find_model, open_slide, segment

PLAIN_SCRIPT = """
from wsi_segment.inference import Mask, segment
summary = segment("slide.tiff", out="mask.zarr", model="channels")
print(Mask.open("mask.zarr").at(300, 300).name, summary.windows)
"""


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a slide and a cheap model, which the test runs in."""
    write_slide(tmp_path / "slide.tiff", tissue_like(600, 700))
    write_model(tmp_path / "channels")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_door_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from wsi_segment.inference import segment\n"
        "heavy = {'onnxruntime', 'zarr', 'torch', 'numpy', 'rich', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_public_name_can_be_imported_and_is_documented() -> None:
    assert set(door.__all__) <= set(dir(door))
    for name in door.__all__:
        assert getattr(door, name).__doc__, name
    with pytest.raises(AttributeError, match="nothing"):
        _ = door.nothing  # type: ignore[attr-defined]


def test_strings_and_paths_name_the_same(made: Path) -> None:
    first = segment("slide.tiff", out="a.zarr", model="channels", quiet=True)
    second = segment(made / "slide.tiff", out=made / "b.zarr", model=find_model(made / "channels"))
    assert first.classes == second.classes
    assert files_of(made / "a.zarr") == files_of(made / "b.zarr")
    with_path, with_text = open_slide(made / "slide.tiff"), open_slide("slide.tiff")
    assert with_path.bounds == with_text.bounds
    with_path.close()
    with_text.close()


def test_options_reports_and_stops_reach_the_engine(made: Path) -> None:
    told: list[Progress] = []
    options = SegmentOptions(overlap=0)
    summary = segment("slide.tiff", out="m.zarr", model="channels", options=options, report=told.append)
    assert {one.stage for one in told} >= {"tissue", "segment", "pyramid"}
    assert summary.provenance["parameters"]["overlap"] == 0
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        segment("slide.tiff", out="n.zarr", model="channels", stop=stop)


def test_a_plain_script_needs_no_main_guard(made: Path) -> None:
    (made / "plain.py").write_text(PLAIN_SCRIPT)
    done = subprocess.run([sys.executable, "plain.py"], cwd=made, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] in {"red", "green", "blue"}
    assert done.stderr == ""  # nobody watches: no progress bar


def test_two_threads_segment_at_once(made: Path) -> None:
    alone = segment("slide.tiff", out="alone.zarr", model="channels", quiet=True)
    summaries = {}

    def work(name: str) -> None:
        summaries[name] = segment("slide.tiff", out=f"{name}.zarr", model="channels")

    threads = [threading.Thread(target=work, args=(name,)) for name in ("first", "second")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in ("first", "second"):
        assert summaries[name].classes == alone.classes
        assert files_of(made / f"{name}.zarr") == files_of(made / "alone.zarr")
        assert Mask.open(f"{name}.zarr").areas() == alone.classes
