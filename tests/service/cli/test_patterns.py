"""Slides by folder and pattern, and a folder that is watched."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
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
        (folder / "slides" / name).parent.mkdir(parents=True, exist_ok=True)
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
        for wrong, why in (("slides/none/*.svs", "0 slides"), ("*/a.svs", "name of a root"), ("no/*.svs", "no root")):
            assert main(["submit", wrong, *server]) == 2
            assert why in capsys.readouterr().err
        posted: list[str] = []
        reported: list[str] = []
        deadline = time.monotonic() + 300
        folder = stocked / "slides" / "in"
        late, other = (write_slide(tmp_path / f"{seed}.tiff", tissue_like(320, 300, seed=seed)) for seed in (1, 2))
        without_size = write_slide(folder / "bare.tiff", tissue_like(300, 300), mpp=None)

        def goes_on() -> bool:
            """What happens in the folder between two looks."""
            if posted == ["new.tiff"] and not (folder / "late.tiff").exists():
                (folder / "late.tiff").write_bytes(late.read_bytes()[:300_000])  # is on its way
            elif posted == ["new.tiff"]:
                late.replace(folder / "late.tiff") if late.exists() else None
            elif posted == ["new.tiff", "late.tiff"] and other.exists():
                other.replace(folder / "new.tiff")
            return time.monotonic() < deadline and len(posted) < 3

        write_slide(folder / "new.tiff", tissue_like(300, 320))
        watch(
            client,
            "slides/in/",
            lambda slide: posted.append(client.submit(slide, model="channels")["slide_name"]),
            seconds=0.2,
            report=reported.append,
            goes_on=goes_on,
        )
        assert posted == ["new.tiff", "late.tiff", "new.tiff"]  # those with jobs were not posted again
        assert len(reported) == 1  # what is refused is said once, and ends nothing
        assert "pixel size" in reported[0]
        without_size.unlink()


def test_a_watched_folder_is_followed_until_ctrl_c(stocked: Path, tmp_path: Path) -> None:
    with Served(stocked, "--workers", 0) as served:
        write_slide(stocked / "slides" / "other" / "e.tiff", tissue_like(300, 340))
        command = [sys.executable, "-m", "wsi_segment.service", "submit", "slides/other/", "--watch", "--every", "0.2"]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        with subprocess.Popen(
            [*command, "--model", "channels", "--server", served.url], stdout=-1, stderr=-1, env=environment, text=True
        ) as watching:
            assert watching.stdout is not None
            job = watching.stdout.readline().strip()
            watching.send_signal(signal.SIGINT)
            try:
                left, error = watching.communicate(timeout=120)
            finally:
                watching.kill()
        assert watching.returncode == 130
        posted = [job, *left.split()]  # the second may have been posted before the signal came
        named = re.search(r"interrupted; (\w+) goes on at the server", error)
        assert named is not None, error
        with served.client() as client:
            for one in {*posted, named[1]}:
                assert client.job(one)["slide_name"] in ("d.tiff", "e.tiff")
