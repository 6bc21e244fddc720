"""Roots that go away and come back, and files that never answer."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from job_bench import Bench
from synthetic import tissue_like, write_slide
from wsi_segment.inference.engine.segment import segment
from wsi_segment.service.folders.file_looks import FileLooks, HangsError
from wsi_segment.service.folders.root_watch import MARKER_FILE, RootAwayError, RootWatch
from wsi_segment.service.folders.slide_roots import parse_roots
from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.job_table import Jobs, NewJob
from wsi_segment.service.jobs.queue import Queue
from wsi_segment.service.workers import job_runner
from wsi_segment.service.workers.slide_catalogue import Catalogue, UnknownSlideError

JOBS = 500


@contextmanager
def mounted(folder: Path) -> Iterator[None]:
    """A real mount, in which what is written is gone afterwards; skipped where nothing may be mounted."""
    folder.mkdir(exist_ok=True)
    if (
        sys.platform != "linux"
        or subprocess.run(["mount", "-t", "tmpfs", "none", folder], capture_output=True, check=False).returncode
    ):
        pytest.skip("mounting needs root on Linux")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=False)


class Share:
    """A database, and a root with one slide."""

    def __init__(self, folder: Path) -> None:
        self.slides = folder / "slides"
        self.slides.mkdir(exist_ok=True)
        (self.slides / "a.tiff").write_bytes(b"x")
        self.database = Database(folder / "data")
        self.database.migrate()
        roots = parse_roots([f"slides={self.slides}"])
        self.catalogue = Catalogue(self.database, roots, b"secret")
        self.slide = self.catalogue.by_path("slides/a.tiff")
        self.catalogue.remember([self.slide])
        self.watch = RootWatch(self.database, roots)
        assert self.watch.away() == {}

    def post(self, count: int) -> None:
        Jobs(self.database).accept([NewJob(self.slide.id, {})] * count, "many")


def test_five_hundred_jobs_wait_for_a_share_that_is_not_mounted_and_are_run_when_it_is_back(tmp_path: Path) -> None:
    with mounted(tmp_path / "slides"):
        share = Share(tmp_path)
        share.post(JOBS)
    queue = Queue(share.database, "host/1/a")
    assert "root slides is another folder" in share.watch.away(now=True)["slides"]
    assert queue.claim(share.watch.here()) is None
    assert Jobs(share.database).counts() == {"accepted": JOBS}
    with mounted(tmp_path / "slides"):
        (tmp_path / "slides" / "a.tiff").write_bytes(b"x")
        assert share.watch.away(now=True) == {}
        for _ in range(JOBS):
            job = queue.claim(share.watch.here())
            assert job is not None
            queue.end(job, "successful")
    assert Jobs(share.database).counts() == {"successful": JOBS}


def test_a_folder_that_was_moved_is_away_and_an_empty_one_in_its_place_too(tmp_path: Path) -> None:
    share = Share(tmp_path)
    share.slides.rename(tmp_path / "moved")
    assert "cannot be read" in share.watch.away(now=True)["slides"]
    share.slides.mkdir()
    assert "another folder" in share.watch.away(now=True)["slides"]
    share.slides.rmdir()
    (tmp_path / "moved").rename(share.slides)
    assert share.watch.away(now=True) == {}


def test_a_second_server_with_another_folder_of_that_name_takes_no_job(tmp_path: Path) -> None:
    share = Share(tmp_path)
    share.post(3)
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    (wrong / "b.tiff").write_bytes(b"x")
    other = RootWatch(share.database, parse_roots([f"slides={wrong}"]))
    assert "slides" in other.away()
    assert Queue(share.database, "host/2/b").claim(other.here()) is None
    nothing = RootWatch(share.database, ())
    assert Queue(share.database, "host/2/b").claim(nothing.here()) is None  # nor one without that root
    assert Queue(share.database, "host/1/a").claim(share.watch.here()) is not None


def test_a_marker_tells_a_root_whatever_else_is_in_it(tmp_path: Path) -> None:
    share = Share(tmp_path)
    (share.slides / MARKER_FILE).write_text("pathology 2024\n")
    assert share.watch.away(now=True) == {}
    (share.slides / MARKER_FILE).write_text("another\n")
    with pytest.raises(RootAwayError, match="root slides is another folder"):
        share.watch.refuse_away("slides")
    (share.slides / MARKER_FILE).unlink()
    assert "slides" in share.watch.away(now=True)


def test_a_job_whose_root_went_away_while_it_was_claimed_waits_and_is_not_charged(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "served")
    bench.post()
    assert bench.runner._roots.away() == {}
    slides = bench.folder / "slides"
    for _ in range(4):  # more often than a job may crash
        slides.rename(bench.folder / "moved")
        job = bench.do()
        assert (job.status, job.crashes) == ("accepted", 0)
        assert "root slides" in job.message
        (bench.folder / "moved").rename(slides)
    assert bench.do().status == "successful"


def test_a_root_that_is_back_before_anybody_looks_costs_no_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path / "served")
    slides, moved, away = bench.folder / "slides", bench.folder / "moved", [True]

    def while_it_is_away(*given: Any, **named: Any) -> Any:
        if not away:
            return segment(*given, **named)
        away.clear()
        slides.rename(moved)
        try:
            return segment(*given, **named)
        finally:
            moved.rename(slides)

    monkeypatch.setattr(job_runner, "segment", while_it_is_away)
    bench.post()
    job = bench.do()
    assert (job.status, job.message) == ("accepted", "the slide: no such file; it is there again")
    assert bench.do().status == "successful"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes are POSIX")
def test_pipes_are_no_slides_wherever_they_lie(tmp_path: Path) -> None:
    share = Share(tmp_path)
    os.mkfifo(share.slides / "p.svs")
    (share.slides / "m.mrxs").write_bytes(b"x")
    (share.slides / "m").mkdir()
    os.mkfifo(share.slides / "m" / "Slidedat.ini")
    (share.slides / "dicom").mkdir()
    os.mkfifo(share.slides / "dicom" / "1.dcm")
    (share.slides / "h.vms").write_text("[Virtual Microscope Specimen]\n")
    found: list[str] = []
    looking = threading.Thread(target=lambda: found.extend(one.path for one in share.catalogue.below(
        share.catalogue.roots[0])), daemon=True)  # fmt: skip
    looking.start()
    looking.join(20)
    assert not looking.is_alive()
    assert found == ["a.tiff"]
    for path in ("slides/p.svs", "slides/m.mrxs", "slides/dicom", "slides/dicom/1.dcm", "slides/h.vms"):
        with pytest.raises(UnknownSlideError):
            share.catalogue.by_path(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes are POSIX")
def test_a_look_that_hangs_ends_for_its_caller_and_holds_up_nobody_else(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    looks = FileLooks(2.0)
    with pytest.raises(HangsError):
        looks.call("share", pipe.read_bytes)  # which waits for somebody to write
    started = time.monotonic()
    for _ in range(100):
        with pytest.raises(HangsError):
            looks.call("share", tmp_path.stat)
    assert time.monotonic() - started < 60  # a hundred waits of 2 s each are 200
    assert looks.call("another", tmp_path.is_dir)
    pipe.write_bytes(b"at last")
    deadline = time.monotonic() + 60
    answer = None
    while answer is None and time.monotonic() < deadline:
        try:
            answer = looks.call("share", tmp_path.is_dir)
        except HangsError:
            time.sleep(0.05)
    assert answer


def test_a_look_raises_what_its_function_raises(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FileLooks().call("share", (tmp_path / "none").stat)


def test_a_slide_that_another_of_its_size_and_time_replaced_has_another_stamp(tmp_path: Path) -> None:
    share = Share(tmp_path)
    file = share.slides / "s.tiff"
    write_slide(file, tissue_like(64, 64))
    before, stamp = file.stat(), share.catalogue.by_path("slides/s.tiff").stamp
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    (tmp_path / "new").write_bytes(content)
    os.utime(tmp_path / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
    (tmp_path / "new").replace(file)
    assert share.catalogue.by_path("slides/s.tiff").stamp != stamp
