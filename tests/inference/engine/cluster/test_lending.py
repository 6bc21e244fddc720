"""Parts of a slide that one worker has fetched are had from it by the others, as long as it answers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from buckets import Bucket, emulated
from live_cluster import LiveCluster
from synthetic import files_of, tissue_like, write_model, write_slide
from wsi_segment.inference.engine.cluster import lending
from wsi_segment.inference.engine.cluster.connection import Cluster
from wsi_segment.inference.engine.cluster.lending import Borrower, Lender
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.inference.slides.location import output_location, slide_location

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are ended by POSIX signals")
distributed = pytest.importorskip("distributed")

OPTIONS = SegmentOptions(region_size=512, overlap=0.25)


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with emulated() as running:
        yield running


def test_workers_have_of_each_other_what_planning_fetched(bucket: Bucket, tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "s.tiff", tissue_like(1500, 2000), levels=2, compression="jpeg")
    model = write_model(tmp_path / "model")
    segment(slide, model, tmp_path / "local.zarr", OPTIONS)
    bucket.client.upload_file(str(slide), bucket.name, "s.tiff")
    place = f"s3://{bucket.name}"
    with LiveCluster(tmp_path / "cluster") as live:
        for _ in range(2):
            live.add_worker(live.watched(pause=0.03), nanny=False)
        with Cluster(live.address) as cluster:
            segment(
                slide_location(f"{place}/s.tiff"),
                model,
                output_location(f"{place}/m.zarr"),
                OPTIONS,
                scheduler=cluster,
            )
        took_part = {note[3] for note in live.notes() if note[0] == "windows"}
    assert len(took_part) == 2
    assert bucket.objects("m.zarr/") == files_of(tmp_path / "local.zarr")
    assert bucket.sent_of["s.tiff"] == slide.stat().st_size


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
