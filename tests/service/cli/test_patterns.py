"""Slides by folder and pattern, and a folder that is watched."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from live_server import Served, write_slides
from synthetic import tissue_like, write_slide
from wsi_segment.service.cli.main import main
from wsi_segment.service.slide_patterns import is_pattern, match, watch


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("r/*.svs", ["r/a.svs"], ["r/b/a.svs", "r/a.tif", "q/a.svs"]),
        ("r/**/*.svs", ["r/a.svs", "r/b/c/a.svs"], ["r/a.tif", "rx/a.svs"]),
        ("r/b/", ["r/b/a.svs", "r/b/c/a.tif"], ["r/a.svs", "r/bb/a.svs"]),
        ("r/[ab]?.svs", ["r/a1.svs", "r/bé.svs"], ["r/c1.svs", "r/a12.svs"]),
        ("r/[!a-c].svs", ["r/d.svs"], ["r/b.svs"]),
        ("r/a.b+c(1).svs", ["r/a.b+c(1).svs"], ["r/aXb+c(1).svs"]),
    ],
)
def test_patterns_match_as_shells_do(pattern: str, yes: list[str], no: list[str]) -> None:
    assert all(match(pattern).fullmatch(path) for path in yes)
    assert not any(match(pattern).fullmatch(path) for path in no)


def test_a_slide_by_name_is_no_pattern() -> None:
    assert not is_pattern("slides/a b.svs")
    assert is_pattern("slides/")
    assert is_pattern("slides/*.svs")


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_slides(tmp_path_factory.mktemp("stocked"), height=300, width=300)
    for name in ("in/a.tiff", "in/deep/b.tiff", "in/deep/c[1].tiff", "other/d.tiff"):
        write_slide(folder / "slides" / name, tissue_like(300, 300))
    return folder


def test_a_pattern_becomes_a_batch_and_a_folder_is_watched(
    stocked: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with Served(stocked, "--workers", 0) as served, served.client() as client:
        server = ["--model", "channels", "--server", served.url]
        assert main(["submit", "slides/in/**/*.tiff", *server]) == 0
        batch = capsys.readouterr().out.strip()
        jobs = list(client.jobs(batch=batch))
        assert sorted(job["slide_name"] for job in jobs) == ["a.tiff", "b.tiff", "c[1].tiff"]
        assert client.batch(batch)["name"] == "slides/in/**/*.tiff"
        assert main(["submit", "slides/in/deep/c[1].tiff", *server]) == 0
        assert client.job(capsys.readouterr().out.strip())["slide_name"] == "c[1].tiff"
        assert main(["submit", "slides/other/", *server]) == 0
        assert client.batch(capsys.readouterr().out.strip())["jobs"] == 1
        for wrong, said in (("slides/none/*.svs", "0 slides"), ("*/a.svs", "name of a root"), ("no/*.svs", "no root")):
            assert main(["submit", wrong, *server]) == 2
            assert said in capsys.readouterr().err
        posted: list[str] = []
        deadline = time.monotonic() + 60
        comes = threading.Event()

        def goes_on() -> bool:
            if posted and not comes.is_set():
                comes.set()
                (stocked / "slides" / "in" / "late.tiff").write_bytes(b"II*\0 half of a file")  # is on its way
            return time.monotonic() < deadline and len(posted) < 2

        write_slide(stocked / "slides" / "in" / "new.tiff", tissue_like(300, 320))

        def whole() -> None:
            comes.wait(60)
            time.sleep(1)
            write_slide(tmp_path / "late.tiff", tissue_like(320, 300)).replace(stocked / "slides" / "in" / "late.tiff")

        late = threading.Thread(target=whole)
        late.start()
        watch(
            client,
            "slides/in/",
            lambda slide: posted.append(client.submit(slide, model="channels")["slide_name"]),
            seconds=0.2,
            report=print,
            goes_on=goes_on,
        )
        late.join()
        assert posted == ["new.tiff", "late.tiff"]  # those with jobs were not posted again
