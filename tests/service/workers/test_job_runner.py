"""What becomes of a job that a worker takes up: whole, half done by another version, or on a full disk."""

from __future__ import annotations

import errno
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from job_bench import Bench
from synthetic import class_map
from wsi_segment.errors import Cancelled
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.inference.mask.preview import write_preview
from wsi_segment.inference.progress import Progress
from wsi_segment.service.workers import job_runner as work_module
from wsi_segment.service.workers.outline_index import LINES_FILE, find_objects, stream_objects, write_objects


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(work_module, "FULL_DISK_SECONDS", 0.01)
    return Bench(tmp_path / "served")


def leave_half_done(bench: Bench, out: Path, options: SegmentOptions) -> None:
    """What a run leaves that was stopped in the middle."""
    stop = threading.Event()

    def report(progress: Progress) -> None:
        if progress.stage == "segment":
            stop.set()

    with pytest.raises(Cancelled):
        segment(
            bench.slide.location, model=bench.models.get("channels"), out=out, options=options, report=report, stop=stop
        )
    assert out.with_name(f"{out.name}.partial").is_dir()


def test_a_job_that_another_version_had_begun_is_done_anew(bench: Bench) -> None:
    job_id = bench.post()
    out = bench.data / "results" / job_id / "mask.zarr"
    leave_half_done(
        bench, out, SegmentOptions(workers=1, device="cpu", overlap=0.5)
    )  # whatever differs, it is another provenance
    job = bench.do()
    assert (job.status, job.message) == ("successful", "")
    assert class_map(out).any()
    assert not out.with_name("mask.zarr.partial").exists()


def test_a_finished_store_is_never_made_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = bench.post()

    def broken(folder: Path, store: Path, step: Callable[[], None]) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(work_module, "write_objects", broken)
        assert bench.do().status == "accepted"
    root = bench.data / "results" / job_id / "mask.zarr" / "zarr.json"
    made = root.stat()  # without the time of access, which readers change
    assert bench.do().status == "successful"
    now = root.stat()
    assert (now.st_ino, now.st_mtime_ns, now.st_size) == (made.st_ino, made.st_mtime_ns, made.st_size)


def test_a_cancel_that_comes_while_the_last_file_is_written_holds_and_a_retry_computes_nothing_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = bench.post()

    def cancel_and_write(*arguments: Any, **more: Any) -> None:
        assert bench.jobs.cancel(job_id)
        write_preview(*arguments, **more)

    with monkeypatch.context() as late:
        late.setattr(work_module, "write_preview", cancel_and_write)
        job = bench.do()
    assert (job.status, job.message) == ("dismissed", "cancelled")
    assert bench.jobs.retry(job_id)
    monkeypatch.setattr(work_module, "segment", None)
    assert bench.do().status == "successful"


def full_disk() -> OSError:
    return OSError(errno.ENOSPC, "No space left on device")


def spent_quota() -> OSError:
    return OSError(errno.EDQUOT, "Disk quota exceeded")


def full_table() -> sqlite3.Error:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error


@pytest.mark.parametrize(
    ("where", "made"),
    [
        ("pathlib.Path.mkdir", full_disk),
        ("wsi_segment.inference.engine.segment._compute", full_disk),
        ("wsi_segment.inference.engine.segment._compute", spent_quota),
        ("wsi_segment.service.workers.job_runner.write_objects", full_disk),
        ("wsi_segment.service.workers.job_runner.write_preview", spent_quota),
        ("wsi_segment.service.jobs.queue.Queue.end", full_table),
    ],
)
def test_a_job_waits_while_the_disk_is_full_and_is_done_when_there_is_room(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, where: str, made: Callable[[], Exception]
) -> None:
    bench.post()

    def fail(*arguments: object, **more: object) -> None:
        raise made()

    for _ in range(3):  # as often as a job may crash
        with monkeypatch.context() as full:
            full.setattr(where, fail)
            job = bench.do()
        assert (job.status, job.crashes) == ("accepted", 0)
        assert "goes on when there is room" in job.message
    assert bench.do().status == "successful"


def test_outlines_that_are_written_again_do_not_disturb_who_reads_them(bench: Bench, tmp_path: Path) -> None:
    job_id = bench.post()
    assert bench.do().status == "successful"
    store, folder = bench.data / "results" / job_id / "mask.zarr", tmp_path / "outlines"
    write_objects(folder, store)
    rows = find_objects(folder)
    whole = b"".join(stream_objects(folder, rows))
    sizes: list[int] = []
    write_objects(folder, store, lambda: sizes.append((folder / LINES_FILE).stat().st_size))
    assert set(sizes) == {(folder / LINES_FILE).stat().st_size}  # while it was written again
    assert b"".join(stream_objects(folder, rows)) == whole
    assert [path.name for path in folder.glob("*.partial")] == []
