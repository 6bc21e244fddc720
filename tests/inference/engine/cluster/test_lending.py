"""Parts of a slide that one worker has fetched are had from it by the others, as long as it answers."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from buckets import Bucket, emulated
from certificates import write_certificate
from live_cluster import LiveCluster
from synthetic import files_of, tissue_like, write_model, write_slide
from wsi_segment.inference.engine.cluster import lending
from wsi_segment.inference.engine.cluster.connection import Connection
from wsi_segment.inference.engine.cluster.lending import Borrower, Lender
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.inference.slides.location import output_location, slide_location
from wsi_segment.model.card import find_model

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are ended by POSIX signals")
distributed = pytest.importorskip("distributed")

OPTIONS = SegmentOptions(region_size=512, overlap=0.25)
STOPPED = """
import signal
from wsi_segment.inference.engine.cluster import lending
lending._PATIENCE = "1s"
runs = worker_runs.WorkerRuns
find = runs.first_find = getattr(runs, "first_find", runs.find)

def stopped(self, ticket):
    if ticket.token in self._runs and not os.path.exists(FOLDER + "/stopped"):
        with open(FOLDER + "/stopping", "w") as file:
            file.write(str(os.getpid()))
        os.rename(FOLDER + "/stopping", FOLDER + "/stopped")
        os.kill(os.getpid(), signal.SIGSTOP)
    while not os.path.exists(FOLDER + "/stopped"):
        time.sleep(0.05)
    return find(self, ticket)

asked = lending.Borrower.first_asked = getattr(lending.Borrower, "first_asked", lending.Borrower._asked)

def noted(self, starts, lengths):
    parts = asked(self, starts, lengths)
    with open(FOLDER + "/asked", "a") as file:
        file.write(json.dumps(parts == [None] * len(starts)) + "\\n")
    return parts

runs.find, lending.Borrower._asked = stopped, noted
"""
"""A worker that has planned stands still before its first region, and others begin theirs only then."""


NO_PATIENCE = """
from wsi_segment.inference.engine.cluster import pulses
pulses.STALL_SECONDS, pulses._LOADS, worker_runs.BEAT_SECONDS = 0.0, 0, 0.1
"""
"""On a disk, every region would count as hanging at once."""


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with emulated() as running:
        yield running


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, bucket: Bucket) -> Path:
    folder = tmp_path_factory.mktemp("made")
    slide = write_slide(folder / "s.tiff", tissue_like(1500, 2000), levels=2, compression="jpeg")
    segment(slide, write_model(folder / "model"), folder / "local.zarr", OPTIONS)
    bucket.client.upload_file(str(slide), bucket.name, "s.tiff")
    return folder


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def run(cluster: Connection, made: Path, bucket: Bucket, name: str) -> dict[str, bytes]:
    """Segment the slide in the bucket on a cluster; the mask's objects."""
    place = f"s3://{bucket.name}"
    bucket.sent_of.clear()
    slide, out = slide_location(f"{place}/s.tiff"), output_location(f"{place}/{name}")
    segment(slide, find_model(made / "model"), out, OPTIONS, scheduler=cluster)
    return bucket.objects(f"{name}/")


@pytest.mark.parametrize("encrypts", [False, True])
def test_workers_have_of_each_other_what_planning_fetched(
    bucket: Bucket, made: Path, tmp_path: Path, encrypts: bool
) -> None:
    tls = write_certificate(tmp_path) if encrypts else None
    with LiveCluster(tmp_path / "cluster", tls=tls) as live:
        for _ in range(2):
            live.add_worker(live.watched(hold=1, more=NO_PATIENCE), nanny=False)
        with Connection(live.address, tls) as cluster, ThreadPoolExecutor(1) as aside:
            running = aside.submit(run, cluster, made, bucket, f"tls-{encrypts}.zarr")
            try:  # both take part, however late one of them joined
                until(lambda: running.done() or len({note[3] for note in live.notes() if note[0] == "windows"}) == 2)
            finally:
                live.let_go()
            assert running.result() == files_of(made / "local.zarr")
    # and a byte in the end, to see that the object is still the same one
    assert bucket.sent_of["s.tiff"] == (made / "s.tiff").stat().st_size + 1


def test_where_the_worker_that_planned_stands_still_the_bucket_is_asked(
    bucket: Bucket, made: Path, tmp_path: Path
) -> None:
    with LiveCluster(tmp_path / "cluster") as live:
        for _ in range(2):
            live.add_worker(live.watched(more=STOPPED), nanny=False)
        with Connection(live.address) as cluster, ThreadPoolExecutor(1) as aside:
            running = aside.submit(run, cluster, made, bucket, "stopped.zarr")
            asked, stopped = live.folder / "asked", live.folder / "stopped"
            try:
                until(lambda: running.done() or (asked.exists() and live.windows()))
            finally:
                if stopped.exists():  # that it is given up later has a test of its own
                    os.kill(int(stopped.read_text()), signal.SIGKILL)
            assert running.result() == files_of(made / "local.zarr")
        assert asked.read_text().split() == ["true"]  # once, and it had nothing to give
    assert bucket.sent_of["s.tiff"] > (made / "s.tiff").stat().st_size


def test_a_lender_that_does_not_answer_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lending, "_PATIENCE", "1s")
    gone = Lender("tcp://127.0.0.1:1", ((100, 200), (300, 400)))

    def borrow() -> tuple[list[list[bytes | None]], int]:
        worker, asked = distributed.get_worker(), list[str]()
        connect = worker.rpc.connect

        async def counted(address: str, *args: Any, **more: Any) -> Any:
            asked.append(address)
            return await connect(address, *args, **more)

        worker.rpc.connect = counted
        borrower = Borrower(gone, "0badcafe", worker)
        return [borrower([150, 500], [50, 10]), borrower([300], [100])], asked.count(gone.address)

    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
        ) as local,
        distributed.Client(local) as client,
    ):
        assert client.submit(borrow, pure=False).result() == ([[None, None], [None]], 1)


def test_only_a_part_that_lies_in_one_span_is_there() -> None:
    lender = Lender("tcp://host:1", ((100, 200), (300, 400)))
    for part in ((100, 100), (150, 50), (300, 1)):
        assert lender.has(*part)
    for part in ((99, 2), (150, 51), (200, 1), (250, 100), (390, 20)):
        assert not lender.has(*part)
