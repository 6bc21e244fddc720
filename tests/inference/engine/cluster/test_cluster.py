"""Regions on a real Dask cluster: the same store as on this machine, file by file, whatever happens to workers."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from buckets import emulated
from certificates import write_certificate
from free_ports import free_port
from live_cluster import LiveCluster, kill_tree
from synthetic import files_of, tissue_like, write_model, write_slide
from wsi_segment.errors import Cancelled, ClusterLostError, InputError, OutputError, RunError, SlideError
from wsi_segment.inference.engine.cluster.connection import Connection
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.provenance import versions
from wsi_segment.inference.engine.segment import segment
from wsi_segment.inference.progress import Progress
from wsi_segment.model.card import Model, find_model, write_card
from wsi_segment.model.likeness import describe, fit_profile
from wsi_segment.service.cli.main import main

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are killed by POSIX signals")
pytest.importorskip("distributed")

KILLS = int(os.environ.get("WSI_SEGMENT_KILLS", "10"))
OPTIONS = SegmentOptions(region_size=512, overlap=0.25)
OLD_RUN = """
import sys
from wsi_segment.inference import SegmentOptions, segment
options = SegmentOptions(region_size=512, overlap=0.25)
segment(sys.argv[1], out=sys.argv[2], model=sys.argv[3], options=options, quiet=True, scheduler=sys.argv[4])
"""
PAUSE = 0.03
"""Seconds that a slow worker waits after each batch."""
HOLD = 48
"""Windows after which a worker stands still: it has finished a region then, which has 36, and is at another one."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    write_slide(folder / "s.tiff", tissue_like(1500, 2000), levels=2)
    model = write_model(folder / "model")
    noise = np.random.default_rng(0).integers(60, 200, (10, 64, 64, 3), np.uint8)
    known = [features for features in map(describe, noise) if features is not None]
    profile = fit_profile(known, known, "noise").model_dump(mode="json")
    write_card(model.card.model_copy(update={"applicability": profile}), model.folder)
    return folder


@pytest.fixture(scope="module")
def model(made: Path) -> Model:
    return find_model(made / "model")


@pytest.fixture(scope="module")
def local(made: Path, model: Model) -> dict[str, bytes]:
    summary = segment(made / "s.tiff", model, made / "local.zarr", OPTIONS)
    assert [doubt.code for doubt in summary.warnings] == ["unlike-training-data"]
    return files_of(made / "local.zarr")


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveCluster]:
    with LiveCluster(tmp_path / "cluster") as cluster:
        yield cluster


class InTheBackground:
    """A run in a thread, to which things can be done."""

    def __init__(
        self, live: LiveCluster, made: Path, model: Model, out: Path, *, stands: bool = False, **choices: object
    ) -> None:
        """Start it; where it stands, it waits for ``go`` once something is computed, and leaves its workers free."""
        self.out, self.error, self.told = out, None, list[Progress]()
        self.stop, self.stood, self.go = threading.Event(), threading.Event(), threading.Event()
        self._stands = stands
        self.summary: object = None
        self._work = (live, made, model)
        self._options = SegmentOptions(**{"region_size": 512, "overlap": 0.25} | choices)  # type: ignore[arg-type]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    error: BaseException | None

    def _run(self) -> None:
        live, made, model = self._work
        try:
            with Connection(live.address) as cluster:
                self.summary = segment(
                    made / "s.tiff",
                    model,
                    self.out,
                    self._options,
                    report=self._report,
                    stop=self.stop,
                    scheduler=cluster,
                )
        except BaseException as error:
            self.error = error

    def _report(self, told: Progress) -> None:
        self.told.append(told)
        own = threading.current_thread() is self._thread  # Dask's thread tells of progress too, and must go on
        if self._stands and own and (told.done or told.stage == "pyramid"):
            self.stood.set()
            self.go.wait(400)

    def done(self) -> int:
        """Windows of which the run knows."""
        return max((one.done for one in self.told if one.stage == "segment"), default=0)

    def until(self, condition: Callable[[], object]) -> None:
        """Wait for something while the run goes on."""
        until(lambda: condition() or not self._thread.is_alive())
        if self.error is not None:
            raise self.error

    def end(self, seconds: float = 400.0) -> None:
        self._thread.join(seconds)
        assert not self._thread.is_alive()
        if self.error is not None:
            raise self.error


def until(condition: Callable[[], object], seconds: float = 240.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def most_windows(made: Path, local: dict[str, bytes]) -> tuple[int, int]:
    """Windows of the slide, and the most that a region has."""
    summary = json.loads((made / "local.summary.json").read_text())
    return int(summary["windows"]), 36


def test_store_is_that_of_this_machine_file_by_file(
    live: LiveCluster, made: Path, model: Model, local: dict[str, bytes], tmp_path: Path
) -> None:
    for _ in range(3):
        live.add_worker()
    told: list[Progress] = []
    with Connection(live.address) as cluster:
        summary = segment(made / "s.tiff", model, tmp_path / "m.zarr", OPTIONS, report=told.append, scheduler=cluster)
        assert files_of(tmp_path / "m.zarr") == local
        assert not (tmp_path / "m.zarr.partial").exists()
        assert [one.stage for one in told][-1] in ("segment", "pyramid")
        assert max(one.done for one in told if one.stage == "segment") == summary.windows
        choices = SegmentOptions(region_size=512, overlap=0.0, probabilities=True, ome_zarr="0.4", tissue="none")
        segment(made / "s.tiff", model, tmp_path / "here.zarr", choices)
        segment(made / "s.tiff", model, tmp_path / "there.zarr", choices, scheduler=cluster)
        assert files_of(tmp_path / "here.zarr") == files_of(tmp_path / "there.zarr")


def test_a_worker_killed_in_the_middle_and_one_that_joins_late(
    live: LiveCluster, made: Path, model: Model, local: dict[str, bytes], tmp_path: Path
) -> None:
    slow = live.watched(pause=PAUSE)
    for _ in range(3):
        live.add_worker(slow)
    run = InTheBackground(live, made, model, tmp_path / "m.zarr")
    run.until(lambda: run.done() > 100)
    live.computing()[0].kill()
    live.add_worker(slow)
    run.end()
    assert files_of(tmp_path / "m.zarr") == local
    windows, most = most_windows(made, local)
    assert live.windows() <= windows + 2 * most


@pytest.mark.parametrize("nanny", [True, False])
def test_all_workers_gone_and_back(
    live: LiveCluster, made: Path, model: Model, local: dict[str, bytes], tmp_path: Path, nanny: bool
) -> None:
    slow = live.watched(pause=PAUSE)
    for _ in range(3):
        live.add_worker(slow, nanny=nanny)
    run = InTheBackground(live, made, model, tmp_path / "m.zarr")
    run.until(lambda: run.done() > 100)
    live.kill_workers()
    run.until(lambda: run.told[-1].stage == "waiting")
    for _ in range(2):
        live.add_worker(nanny=nanny)
    run.end()
    assert files_of(tmp_path / "m.zarr") == local
    windows, most = most_windows(made, local)
    assert live.windows() <= windows + 3 * most


def test_a_worker_that_is_stopped_is_given_up(
    live: LiveCluster, made: Path, model: Model, local: dict[str, bytes], tmp_path: Path
) -> None:
    slow = live.watched(pause=PAUSE)
    for _ in range(3):
        live.add_worker(slow, nanny=False)
    run = InTheBackground(live, made, model, tmp_path / "m.zarr")
    run.until(lambda: run.done() > 100)
    stopped = live.computing()[0]
    stopped.send_signal(signal.SIGSTOP)
    run.end()
    assert files_of(tmp_path / "m.zarr") == local
    stopped.send_signal(signal.SIGCONT)  # what it was at is harmless
    time.sleep(2)
    assert files_of(tmp_path / "m.zarr") == local
    windows, most = most_windows(made, local)
    assert live.windows() <= windows + 2 * most


def test_what_waits_on_a_paused_worker_is_given_to_another(
    live: LiveCluster,
    made: Path,
    model: Model,
    local: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Dask pauses a worker whose memory is nearly full: it begins nothing then, and what it has been given stays."""
    monkeypatch.setattr("wsi_segment.inference.engine.cluster.connection._SLOTS_SECONDS", 0.5)

    def let_fill(client: Any, share: float, workers: list[str] | None = None) -> None:
        def fill(dask_worker: Any) -> None:
            dask_worker.memory_manager.memory_pause_fraction = share

        client.run(fill, workers=workers)

    for _ in range(2):
        live.add_worker(live.watched(hold=1))
    with Connection(live.address) as cluster:
        until(lambda: cluster.slots() == 2)
        run = InTheBackground(live, made, model, tmp_path / "m.zarr")
        run.until(lambda: live.windows() >= 2)
        let_fill(cluster.client, 1e-6, [next(iter(cluster.client.scheduler_info()["workers"]))])
        until(lambda: cluster.slots() == 1)
        live.let_go()
        run.end()
        assert files_of(tmp_path / "m.zarr") == local
        let_fill(cluster.client, 1e-6)
        until(lambda: cluster.slots() == 0)
        run = InTheBackground(live, made, model, tmp_path / "later.zarr")
        run.until(lambda: any(told.stage == "waiting" for told in run.told))
        let_fill(cluster.client, 0.99)
        run.end()
    assert files_of(tmp_path / "later.zarr") == local


def test_what_a_stopped_worker_of_an_old_run_writes_is_not_in_the_new_one(
    live: LiveCluster, made: Path, model: Model, tmp_path: Path
) -> None:
    other = SegmentOptions(region_size=512, overlap=0.5)
    segment(made / "s.tiff", model, tmp_path / "undisturbed.zarr", other)
    undisturbed = files_of(tmp_path / "undisturbed.zarr")
    slow = live.watched(pause=PAUSE)
    for _ in range(3):
        live.add_worker(slow, nanny=False)
    given = [made / "s.tiff", tmp_path / "m.zarr", made / "model", live.address]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", OLD_RUN, *map(str, given)], env=environment)
    until(lambda: live.windows() > 100)
    stopped = live.computing()[0]
    stopped.send_signal(signal.SIGSTOP)
    process.kill()  # nobody tells the worker that its run has ended
    process.wait()
    run = InTheBackground(live, made, model, tmp_path / "m.zarr", overlap=0.5, overwrite=True)
    run.until(lambda: run.done() > 50)
    stopped.send_signal(signal.SIGCONT)
    run.end()
    assert files_of(tmp_path / "m.zarr") == undisturbed
    time.sleep(3)
    assert files_of(tmp_path / "m.zarr") == undisturbed
    assert not (tmp_path / "m.zarr.partial").exists()


def test_a_region_that_hangs_is_computed_by_another_worker(
    live: LiveCluster, made: Path, model: Model, local: dict[str, bytes], tmp_path: Path
) -> None:
    sooner = "from wsi_segment.inference.engine.cluster import pulses\npulses.STALL_SECONDS = 15.0"
    watched = live.watched(hang=True, more=sooner)  # for an hour, which no run waits for
    for _ in range(3):
        live.add_worker(watched)
    run = InTheBackground(live, made, model, tmp_path / "m.zarr")
    run.until((live.folder / "hung").exists)
    run.end()
    assert files_of(tmp_path / "m.zarr") == local
    windows, most = most_windows(made, local)
    assert live.windows() <= windows + most


def test_a_region_that_kills_every_worker_is_named(live: LiveCluster, made: Path, model: Model, tmp_path: Path) -> None:
    deadly = live.watched(die="512,1024")
    for _ in range(2):
        live.add_worker(deadly)
    run = InTheBackground(live, made, model, tmp_path / "m.zarr")
    with pytest.raises(RunError, match="region 1,2: the workers that had it died"):
        run.end()
    assert (tmp_path / "m.zarr.partial").is_dir()


def test_scheduler_killed_is_one_line_and_the_same_command_goes_on(
    live: LiveCluster, made: Path, model: Model, local: dict[str, bytes], tmp_path: Path
) -> None:
    for _ in range(2):
        live.add_worker(live.watched(hold=HOLD), nanny=False)  # so that it does not end before its scheduler does
    command = [sys.executable, "-P", "-m", "wsi_segment.service", made / "s.tiff", "--model", made / "model"]
    command += ["--overlap", "0.25", "--out", tmp_path / "m.zarr", "--quiet", "--scheduler", live.address]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True, env=environment)
    until(lambda: live.windows() >= 2 * HOLD)
    assert live.scheduler is not None
    kill_tree(live.scheduler)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 1
    assert said.count("\n") == 1
    assert f"--scheduler {live.address}: the connection is lost" in said
    live.kill_workers()
    live.start_scheduler()
    for _ in range(2):
        live.add_worker(live.watched(name="again"), nanny=False)
    subprocess.run(list(map(str, command)), check=True, env=environment)
    assert (tmp_path / "m.summary.json").exists()
    kept = json.loads((tmp_path / "m.summary.json").read_text())["regions_kept"]
    assert kept > 0
    assert files_of(tmp_path / "m.zarr") == local
    windows, most = most_windows(made, local)
    assert live.windows() <= windows + 2 * 2 * most


def test_killed_at_random(live: LiveCluster, made: Path, model: Model, local: dict[str, bytes], tmp_path: Path) -> None:
    slow, rng, killed = live.watched(pause=PAUSE), random.Random(5), 0
    for _ in range(3):
        live.add_worker(slow)
    windows, most = most_windows(made, local)
    runs = 0
    while killed < KILLS:
        before, killed_before = live.windows(), killed
        seen = before
        run = InTheBackground(live, made, model, tmp_path / "m.zarr", overwrite=True)
        runs += 1
        while run._thread.is_alive():
            time.sleep(rng.uniform(0.3, 2.0))
            computing = live.computing()
            # on a slow machine workers would be killed again and again before they get to anything
            if live.windows() > seen and computing and killed < KILLS and run._thread.is_alive():
                seen = live.windows()
                rng.choice(computing).kill()
                killed += 1
        run.end()
        assert files_of(tmp_path / "m.zarr") == local
        assert live.windows() - before <= windows + 2 * most * (killed - killed_before)
    print(f"{killed} kills in {runs} runs: {live.windows()} windows predicted, {runs * windows} needed")


def test_killed_at_random_with_slide_and_mask_in_a_bucket(made: Path, local: dict[str, bytes], tmp_path: Path) -> None:
    rng, killed = random.Random(7), 0
    with emulated() as bucket, LiveCluster(tmp_path / "cluster") as live:
        bucket.client.upload_file(str(made / "s.tiff"), bucket.name, "s.tiff")
        for _ in range(3):
            live.add_worker(live.watched(pause=PAUSE, hold=HOLD))
        given = [f"s3://{bucket.name}/s.tiff", f"s3://{bucket.name}/m.zarr", str(made / "model"), live.address]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        for most in (1, 3):  # the first command is killed with its worker, and the same one goes on
            command = subprocess.Popen([sys.executable, "-c", OLD_RUN, *given], env=environment)
            seen, ended = live.windows(), 0
            until(lambda: live.windows() > seen + 40 or command.poll() is not None)  # noqa: B023
            while command.poll() is None and ended < most:
                if computing := live.computing():
                    rng.choice(computing).kill()
                    ended += 1
                if most > 1:
                    time.sleep(rng.uniform(0.3, 1.0))
            if most == 1:
                assert command.poll() is None  # since workers stand still
                command.kill()
                live.let_go()
            command.wait(240)
            killed += ended
        assert command.returncode == 0
        windows, most = most_windows(made, local)
        assert live.windows() <= windows + 3 * most + 2 * most * killed  # three in flight as the command is killed
        assert bucket.objects("m.zarr/") == local
        assert not bucket.names("m.zarr.partial/")
    assert killed


def test_a_run_that_is_stopped_ends_soon_on_all_workers(
    live: LiveCluster, made: Path, model: Model, local: dict[str, bytes], tmp_path: Path
) -> None:
    for _ in range(2):
        live.add_worker(live.watched(pause=0.2, hold=HOLD), nanny=False)
    run = InTheBackground(live, made, model, tmp_path / "m.zarr")
    run.until(lambda: live.windows() >= HOLD)
    run.stop.set()
    with pytest.raises(Cancelled):
        run.end(120)  # telling the workers takes 5 at most
    live.let_go()
    seen: list[int] = []

    def still() -> bool:
        seen.append(live.windows())
        time.sleep(0.5)
        return len(seen) > 4 and len(set(seen[-5:])) == 1

    until(still, 120)
    assert seen[-1] < most_windows(made, local)[0]


def test_a_model_that_workers_lack_is_sent_to_them(
    live: LiveCluster, made: Path, model: Model, local: dict[str, bytes], tmp_path: Path
) -> None:
    lacking = """
from dataclasses import replace
from pathlib import Path
from wsi_segment.inference.engine.cluster import worker_models
find = worker_models.original = getattr(worker_models, "original", worker_models._find)
worker_models._find = lambda model, file: find(replace(model, folder=Path("/nowhere")), file)
"""
    for _ in range(2):
        live.add_worker(live.watched(more=lacking), nanny=False)
    with Connection(live.address) as cluster:
        segment(made / "s.tiff", model, tmp_path / "m.zarr", OPTIONS, scheduler=cluster)
    assert files_of(tmp_path / "m.zarr") == local


@pytest.mark.skipif(sys.platform != "linux", reason="a process sees its own folder under one name there")
def test_a_worker_with_another_file_under_the_name_of_the_slide_is_refused(
    live: LiveCluster, made: Path, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where one machine holds an older copy: its regions would be those of another slide; all, if it is alone."""
    older, newer = tmp_path / "older", tmp_path / "newer"
    for folder, flip, side in ((older, -1, 700), (newer, 1, 900)):
        folder.mkdir()
        write_slide(folder / "s.tiff", tissue_like(1500, 2000)[:, ::flip], levels=2)
        ring = [[0, 0], [side, 0], [side, side], [0, side], [0, 0]]
        (folder / "r.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    monkeypatch.chdir(newer)
    slide, outlines = Path("/proc/self/cwd/s.tiff"), Path("/proc/self/cwd/r.geojson")
    live.add_worker(nanny=False, cwd=older)
    with Connection(live.address) as cluster:
        for path, options in ((slide, OPTIONS), (made / "s.tiff", replace(OPTIONS, region=outlines))):
            name = (options.region or path).name
            with pytest.raises(
                InputError, match=rf"worker tcp://\S+: /proc/self/cwd/{name} is another file there than here"
            ):
                segment(path, model, tmp_path / "m.zarr", options, scheduler=cluster)
        live.add_worker(nanny=False, cwd=newer)
        while cluster.slots() < 2:
            time.sleep(0.1)
        with pytest.raises(InputError, match=r"worker tcp://\S+: /proc/self/cwd/s.tiff is another file there"):
            segment(slide, model, tmp_path / "m.zarr", OPTIONS, scheduler=cluster)
    assert not (tmp_path / "m.zarr").exists()


def test_a_slide_that_is_replaced_while_workers_read_it_gives_no_mask(
    live: LiveCluster, model: Model, tmp_path: Path
) -> None:
    for name, flip in (("s.tiff", 1), ("other.tiff", -1)):  # laid out alike, so that nothing fails to decode
        write_slide(tmp_path / name, tissue_like(1500, 2000)[:, ::flip], levels=2, compression=None)
    live.add_worker(nanny=False)
    other = (tmp_path / "other.tiff").read_bytes()
    for start, content in ((0, other), (100_000, other[:1])):  # the second leaves size and samples as they are
        run = InTheBackground(live, tmp_path, model, tmp_path / "m.zarr", stands=True)
        run.until(run.stood.is_set)
        with (tmp_path / "s.tiff").open("r+b") as file:  # which is never shorter, so that nothing fails to be read
            file.seek(start)
            file.write(content)
        run.go.set()
        with pytest.raises(SlideError, match=r"s\.tiff: was replaced or written to while it was read"):
            run.end()
        assert not (tmp_path / "m.zarr").exists()
    with Connection(live.address) as cluster:  # nothing of before is kept, so there is nothing to overwrite
        segment(tmp_path / "s.tiff", model, tmp_path / "m.zarr", OPTIONS, scheduler=cluster)
    assert (tmp_path / "m.zarr").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="a process sees its own folder under one name there")
@pytest.mark.parametrize("others", [0, 1])
def test_a_worker_without_the_slide_is_named_with_what_to_do(
    live: LiveCluster, made: Path, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    """Whether it is the one that plans the slide, as it must be where no other has it, or computes a region of it."""
    live.add_worker(nanny=False)
    for _ in range(others):  # which stands still within its first region, so that there is one for the other
        live.add_worker(live.watched(hold=1), nanny=False, cwd=made)
    monkeypatch.chdir(made)
    with Connection(live.address) as cluster:
        while cluster.slots() < 1 + others:
            time.sleep(0.1)
        line = r"worker tcp://\S+: /proc/self/cwd/s.tiff: .* there; all workers must see the slide under this very path"
        with pytest.raises(SlideError, match=line):
            segment(Path("/proc/self/cwd/s.tiff"), model, tmp_path / "m.zarr", OPTIONS, scheduler=cluster)
    assert not (tmp_path / "m.zarr").exists()


def test_workers_with_other_versions_are_refused(live: LiveCluster, made: Path, model: Model, tmp_path: Path) -> None:
    other = """
from wsi_segment.inference.engine import provenance
versions = provenance.original = getattr(provenance, "original", provenance.versions)
provenance.versions = lambda: versions() | {"NAME": "1.0"}
"""
    for name in ("zarr", "onnxruntime"):
        live.add_worker(live.watched(more=other.replace("NAME", name), name=f"other_{name}"), nanny=False)
        ours = re.escape(versions()[name])
        line = rf"worker tcp://\S+ has {name} 1\.0, this run has {ours}; install one version everywhere"
        with Connection(live.address) as cluster, pytest.raises(InputError, match=line):
            segment(made / "s.tiff", model, tmp_path / "m.zarr", OPTIONS, scheduler=cluster)
        live.kill_workers()


def test_one_writer_at_a_time_while_a_cluster_writes(
    live: LiveCluster, made: Path, model: Model, local: dict[str, bytes], tmp_path: Path
) -> None:
    for _ in range(2):
        live.add_worker(nanny=False)
    run = InTheBackground(live, made, model, tmp_path / "m.zarr", stands=True)
    run.until(run.stood.is_set)
    other = SegmentOptions(region_size=512, overlap=0.5, overwrite=True)
    with Connection(live.address) as cluster:
        for scheduler in (cluster, None):
            with pytest.raises(OutputError, match="another run is writing it"):
                segment(made / "s.tiff", model, tmp_path / "m.zarr", other, scheduler=scheduler)
    run.go.set()
    run.end()
    assert files_of(tmp_path / "m.zarr") == local


def test_an_encrypted_cluster_is_reached_with_its_certificates_alone(
    made: Path, model: Model, local: dict[str, bytes], tmp_path: Path
) -> None:
    tls = write_certificate(tmp_path)
    with LiveCluster(tmp_path / "cluster", tls=tls) as live:
        for _ in range(2):
            live.add_worker(nanny=False)
        with Connection(live.address, tls) as cluster:
            segment(made / "s.tiff", model, tmp_path / "m.zarr", OPTIONS, scheduler=cluster)
            for field, options in (
                ("workers", replace(OPTIONS, workers=3)),
                ("memory_limit", replace(OPTIONS, memory_limit=1 << 31)),
            ):
                with pytest.raises(InputError, match=f"`{field}` is of this machine alone.* leave it out"):
                    segment(made / "s.tiff", model, tmp_path / "n.zarr", options, scheduler=cluster)
        assert files_of(tmp_path / "m.zarr") == local
        (tmp_path / "other").mkdir()
        other = write_certificate(tmp_path / "other")
        for wrong in (other, replace(other, ca=tls.ca)):
            with pytest.raises(ClusterLostError, match="the certificates of this command and the scheduler do not fit"):
                Connection(live.address, wrong).__enter__()
        with pytest.raises(InputError, match="not a certificate in PEM and its key"):
            Connection(live.address, replace(tls, key=other.key)).__enter__()
        with pytest.raises(InputError, match=r"`tls_ca` .*key\.pem: holds no certificate in PEM"):
            Connection(live.address, replace(tls, ca=tls.key)).__enter__()
        with pytest.raises(InputError, match="encrypts; give `tls_ca`, `tls_cert` and `tls_key`"):
            Connection(live.address).__enter__()
    with pytest.raises(InputError, match="certificates are for an address that starts with tls://"):
        Connection("tcp://127.0.0.1:1", tls)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "127.0.0.1:8786",
        "http://127.0.0.1:8786",
        "inproc://1",
        "tcp:///tmp/socket",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:0",
        "tcp://127.0.0.1:99999",
        "tcp://127.0.0.1:8786/",
        "TCP://127.0.0.1:8786",
        "tcp://me:secret@127.0.0.1:8786",
        "ucx://127.0.0.1:8786",
        "unix:///tmp/socket",
    ],
)
def test_what_is_no_address_is_one_line_at_once(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsi_segment.service.logs.set_up_logs", lambda form: None)  # it would outlive this test
    with pytest.raises(InputError, match="give an address such as tcp://host:8786"):
        Connection(address)
    assert main(["serve", "--scheduler", address, "--port", str(free_port()), "--data", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_nobody_at_the_address_is_one_line() -> None:
    with pytest.raises(ClusterLostError, match="no scheduler answers there"):
        Connection(f"tcp://127.0.0.1:{free_port()}").__enter__()


def test_what_is_no_scheduler_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsi_segment.inference.engine.cluster.address._GREETING_SECONDS", 1)
    silent = socket.create_server(("127.0.0.1", 0))  # a web server waits for a request, too
    with silent, pytest.raises(InputError, match="what listens there is not a Dask scheduler"):
        Connection(f"tcp://127.0.0.1:{silent.getsockname()[1]}").__enter__()


def test_what_is_of_this_machine_alone_is_refused(live: LiveCluster, made: Path, model: Model, tmp_path: Path) -> None:
    with Connection(live.address) as cluster, pytest.raises(InputError, match="`workers` is of this machine alone"):
        segment(made / "s.tiff", model, tmp_path / "m.zarr", SegmentOptions(workers=2), scheduler=cluster)


def test_tests_end_what_they_started(tmp_path: Path) -> None:
    with LiveCluster(tmp_path / "cluster") as live:
        started = [live.add_worker().pid]
        assert live.scheduler is not None
        started.append(live.scheduler.pid)
        time.sleep(1)
        started += [one.pid for one in psutil.Process(started[0]).children(recursive=True)]
    left = [one for one in psutil.process_iter(["pid", "status"]) if one.info["pid"] in started]
    assert not [one for one in left if one.info["status"] != "zombie"]
