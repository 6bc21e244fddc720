"""The connection to a cluster as users make it from Python."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from free_ports import free_port
from live_cluster import LiveCluster
from synthetic import files_of, tissue_like, write_model, write_slide
from wsi_segment.errors import Cancelled, InputError, RunError
from wsi_segment.inference import Cluster, Progress, SegmentOptions, segment

pytest.importorskip("distributed")
OPTIONS = SegmentOptions(region_size=512, overlap=0.0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    write_slide(folder / "a.tiff", tissue_like(1100, 900))
    write_slide(folder / "b.tiff", tissue_like(700, 1300, seed=2))
    write_model(folder / "channels")
    for name in "ab":
        segment(folder / f"{name}.tiff", out=folder / f"{name}.zarr", model=folder / "channels", options=OPTIONS)
    return folder


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveCluster]:
    with LiveCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        cluster.add_worker(nanny=False)
        yield cluster


def test_one_connection_serves_several_slides_in_threads_of_their_own(
    live: LiveCluster, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(made)  # workers are elsewhere, and find the slides even so
    errors = list[BaseException]()
    with Cluster(live.address) as cluster:

        def work(name: str) -> None:
            try:
                segment(
                    f"{name}.tiff", out=tmp_path / f"{name}.zarr", model="channels", options=OPTIONS, scheduler=cluster
                )
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(240)
        assert not errors
        for name in "ab":
            assert files_of(tmp_path / f"{name}.zarr") == files_of(made / f"{name}.zarr")
        with pytest.raises(InputError, match="no such"):  # an error of one slide leaves the connection as it is
            segment("gone.tiff", out=tmp_path / "gone.zarr", model="channels", options=OPTIONS, scheduler=cluster)
        segment("a.tiff", out=tmp_path / "again.zarr", model="channels", options=OPTIONS, scheduler=cluster)
    with Cluster(live.address) as again:  # the first has left nothing behind that a second one minds
        segment("b.tiff", out=tmp_path / "later.zarr", model="channels", options=OPTIONS, scheduler=again)
    assert files_of(tmp_path / "later.zarr") == files_of(made / "b.zarr")


def test_an_address_is_connected_for_one_call_which_reports_and_stops_as_any_other(
    live: LiveCluster, made: Path, tmp_path: Path
) -> None:
    given = {"model": made / "channels", "options": OPTIONS, "scheduler": live.address}
    told = list[Progress]()
    summary = segment(made / "a.tiff", out=tmp_path / "a.zarr", report=told.append, **given)  # type: ignore[arg-type]
    assert {one.stage for one in told} >= {"tissue", "segment"}
    assert max(one.done for one in told if one.stage == "segment") == summary.windows
    assert files_of(tmp_path / "a.zarr") == files_of(made / "a.zarr")
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        segment(made / "a.tiff", out=tmp_path / "b.zarr", stop=stop, **given)  # type: ignore[arg-type]
    assert not (tmp_path / "b.zarr").exists()


def test_a_cluster_that_is_not_connected_or_not_there_is_said(live: LiveCluster, made: Path, tmp_path: Path) -> None:
    used = Cluster(live.address)
    with used:
        pass
    for cluster in (Cluster(live.address), used):
        with pytest.raises(InputError, match="is not connected; use the Cluster in a with statement") as raised:
            segment(made / "a.tiff", out=tmp_path / "a.zarr", model=made / "channels", scheduler=cluster)
        assert "\n" not in str(raised.value)
    with (
        pytest.raises(RunError, match="no scheduler answers there") as lost,
        Cluster(f"tcp://127.0.0.1:{free_port()}"),
    ):
        pass
    assert "\n" not in str(lost.value)
