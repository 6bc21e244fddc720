"""Workers that learn from the scheduler who writes: soundly, and so that a bucket is not asked for it by each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from buckets import emulated
from live_cluster import LiveCluster
from synthetic import files_of, tissue_like, write_model, write_slide
from wsi_segment.inference.engine.cluster import connection, vouching
from wsi_segment.inference.engine.cluster.connection import Connection
from wsi_segment.inference.engine.cluster.vouching import Vouched, age, vouch
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.inference.places.bucket_shards import TRUSTED_SECONDS
from wsi_segment.inference.slides.location import slide_location

distributed = pytest.importorskip("distributed")
TOKEN = "0badcafe"


class Clock:
    """A time that stands still unless it is told not to."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    own = Clock()
    monkeypatch.setattr(vouching, "now", own)
    yield own
    vouching._vouched.clear()


def held(monkeypatch: pytest.MonkeyPatch, asked: list[float | None]) -> Vouched:
    """What a worker asks, which is answered by these in turns."""
    vouched = Vouched(TOKEN, None)
    monkeypatch.setattr(vouched, "_asked", lambda: asked.pop(0))
    return vouched


def test_what_was_vouched_for_counts_from_before_the_client_looked(clock: Clock) -> None:
    scheduler: Any = SimpleNamespace(handlers={})
    named = clock.time
    clock.time += 7.0  # the client looks, and its message takes its time
    vouch([TOKEN], named, dask_scheduler=scheduler)
    vouch([TOKEN], named - 3.0, dask_scheduler=scheduler)  # of another thread, which had asked before
    assert scheduler.handlers == {vouching.OPERATION: age}
    assert age(TOKEN) == 7.0
    assert age("another") is None
    clock.time += 100.0
    vouch(["another"], clock.time, dask_scheduler=scheduler)
    assert age(TOKEN) is None


def test_a_time_of_another_scheduler_is_never_one_that_is_still_to_come(clock: Clock) -> None:
    scheduler: Any = SimpleNamespace(handlers={})
    vouch([TOKEN], clock.time + 0.5, dask_scheduler=scheduler)
    clock.time += 1.0
    assert age(TOKEN) is None
    vouch([TOKEN], clock.time, dask_scheduler=scheduler)
    clock.time -= 0.5
    assert age(TOKEN) is None


def test_a_worker_relies_on_an_answer_as_long_as_on_the_bucket_itself(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float | None] = [4.0, 4.0]
    vouched = held(monkeypatch, asked)
    assert vouched()
    clock.time += TRUSTED_SECONDS - 4.5
    assert vouched()
    assert len(asked) == 1
    clock.time += 1.0
    assert vouched()
    assert not asked


@pytest.mark.parametrize("answer", [None, TRUSTED_SECONDS, 1000.0])
def test_what_nobody_has_vouched_for_lately_is_not_relied_on(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, answer: float | None
) -> None:
    assert not held(monkeypatch, [answer])()


def test_a_scheduler_that_does_not_answer_is_not_asked_by_each_shard(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float | None] = [None, 0.0]
    vouched = held(monkeypatch, asked)
    assert not vouched()
    clock.time += 0.5
    assert not vouched()
    assert asked == [0.0]
    clock.time += 0.5
    assert vouched()


def test_time_in_which_a_worker_waited_for_its_answer_counts(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    vouched = Vouched(TOKEN, None)

    def stopped() -> float:
        clock.time += TRUSTED_SECONDS  # before the scheduler was asked, or after it answered
        return 0.0

    monkeypatch.setattr(vouched, "_asked", stopped)
    assert not vouched()


def test_a_client_vouches_only_for_what_it_holds_then(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, calls = Connection("tcp://127.0.0.1:1"), list[tuple[Any, ...]]()

    def call(function: Any) -> float:
        function(SimpleNamespace(run_on_scheduler=lambda *given: calls.append(given)))
        return 5.0

    holds = {TOKEN: True, "lost": False}
    monkeypatch.setattr(cluster, "call", call)
    for token, it_holds in holds.items():
        cluster.listen(token, lambda event: None, lambda it_holds=it_holds: it_holds)  # type: ignore[misc]
    assert calls[-2:] == [(vouching.name_time,), (vouch, [TOKEN], 5.0)]
    for token in holds:
        cluster.stop_listening(token)
    calls.clear()
    cluster._vouch()
    assert not calls


def test_more_workers_ask_the_bucket_no_more_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which run is under way, though each of them puts shards for longer than it relies on an answer."""
    monkeypatch.setattr(connection, "_SLOTS_SECONDS", 0.2)
    write_slide(tmp_path / "s.tiff", tissue_like(1500, 2000), levels=2)
    model, options = write_model(tmp_path / "model"), SegmentOptions(region_size=512, overlap=0.25)
    segment(tmp_path / "s.tiff", model, tmp_path / "here.zarr", options)
    soon = "from wsi_segment.inference.places import bucket_shards\nbucket_shards.TRUSTED_SECONDS = 1.0"
    asked = list[int]()
    with emulated() as bucket:
        bucket.client.upload_file(str(tmp_path / "s.tiff"), bucket.name, "s.tiff")
        for workers in (1, 3):
            with LiveCluster(tmp_path / f"{workers}") as live, Connection(live.address) as cluster:
                for _ in range(workers):
                    live.add_worker(live.watched(pause=0.05 * workers, more=soon), nanny=False)
                while cluster.slots() < workers:
                    pass
                bucket.requests.clear()
                place = f"s3://{bucket.name}/{workers}.zarr"
                out, slide = slide_location(place), slide_location(f"s3://{bucket.name}/s.tiff")
                segment(slide, model, out, options, scheduler=cluster)
                assert bucket.objects(f"{workers}.zarr/") == files_of(tmp_path / "here.zarr")
                assert len({note[3] for note in live.notes()}) == workers
                asked.append(bucket.made("GET", r"\.partial/run$"))
    assert max(asked) <= 7  # the command itself asks six times
