"""What a worker process holds of its runs: a slide once, as long as it is used, and nothing of runs that are over."""

from __future__ import annotations

import math
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from synthetic import make_model, tissue_like, write_slide
from wsi_segment.errors import InputError, SlideError
from wsi_segment.inference.engine.cluster import feeding, settling, worker_runs
from wsi_segment.inference.engine.cluster.facts import Choice, facts_here, settle_for_all
from wsi_segment.inference.engine.cluster.pulses import PATIENT_SECONDS, STALL_SECONDS, Pulse, region_limit
from wsi_segment.inference.engine.cluster.tasks import compute_region, finish_run, settle_run
from wsi_segment.inference.engine.cluster.tickets import OtherSlide, Ticket
from wsi_segment.inference.engine.cluster.worker_runs import BEAT_SECONDS, Finish, WorkerRuns
from wsi_segment.inference.engine.memory import Budget
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.scheduling.scheduler import Order
from wsi_segment.inference.places import bucket_client, bucket_folder
from wsi_segment.inference.places.object_file import Parts
from wsi_segment.inference.progress import Watch
from wsi_segment.inference.slides.candidate import Known
from wsi_segment.inference.slides.open import open_slide
from wsi_segment.inference.slides.slide import Slide
from wsi_segment.service.settings import Settings


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Slide]]:
    """Slides that were opened and not closed."""
    there: list[Slide] = []

    def noted(*arguments: Any, **more: Any) -> Slide:
        slide = open_slide(*arguments, **more)
        close = slide.close

        def closing() -> None:
            close()
            there.remove(slide)

        monkeypatch.setattr(slide, "close", closing)
        there.append(slide)
        return slide

    monkeypatch.setattr(worker_runs, "open_slide", noted)
    yield there
    for slide in list(there):
        slide.close()


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> WorkerRuns:
    """Those of a process that is no worker of Dask, nor has a network."""
    runs = WorkerRuns()
    monkeypatch.setattr(runs, "_start", lambda: None)
    monkeypatch.setattr(worker_runs, "network_for", lambda *arguments: SimpleNamespace(network=None, seconds=0.0))
    for module in (settling, worker_runs):
        monkeypatch.setattr(module, "RUNS", runs)
    return runs


@pytest.fixture
def choice(order: Order) -> Choice:
    facts = facts_here("cpu")
    return settle_for_all(order.model.card, "cpu", "auto", {"tcp://me:1": facts})


@pytest.fixture
def order(tmp_path: Path) -> Order:
    return Order(write_slide(tmp_path / "s.tiff", tissue_like(200, 300)), make_model(), SegmentOptions())


def test_a_run_that_is_settled_again_has_one_open_slide(
    runs: WorkerRuns, order: Order, choice: Choice, opened: list[Slide], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "prepare", lambda *arguments, **more: None)
    for _ in range(2):
        settling.settle(Pulse("token", "plan", 0), order, choice)
    assert len(opened) == 1
    runs.close_idle(math.inf)
    assert not opened


def test_a_slide_stays_open_however_long_it_is_planned(
    runs: WorkerRuns, order: Order, choice: Choice, opened: list[Slide], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def plan(*arguments: Any, **more: Any) -> None:
        runs.close_idle(math.inf)
        seen.append(len(opened))

    monkeypatch.setattr(settling, "prepare", plan)
    settle_run(0, "token", pickle.dumps((order, choice)))
    assert seen == [1]
    runs.close_idle(math.inf)
    assert not opened


def test_runs_that_are_over_leave_nothing_behind(
    runs: WorkerRuns, order: Order, choice: Choice, opened: list[Slide]
) -> None:
    held = runs.stop_of("held")
    used = runs.open("used", order, choice, known=Known())
    for number in range(5000):
        runs.stop_of(f"run {number}").set()
        with runs.lock_of(f"run {number}"):
            assert runs.lock_of(f"run {number}") is runs.lock_of(f"run {number}")
    assert len(runs._stops) < 500
    assert not runs._locks
    assert runs.stop_of("run 4999").is_set()  # so that what still begins of it ends at once
    runs.stop_of("held").set()
    runs.stop_of("used").set()
    assert held.is_set()
    assert used.stop.is_set()


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
@pytest.mark.parametrize(("name", "absent"), [("gone.tiff", True), ("s.tiff/s.tiff", True), ("loop.tiff", False)])
def test_only_a_slide_that_is_not_there_must_be_seen_under_its_path(
    runs: WorkerRuns, order: Order, choice: Choice, tmp_path: Path, name: str, absent: bool
) -> None:
    (tmp_path / "loop.tiff").symlink_to("loop.tiff")
    with pytest.raises(SlideError, match=rf"^worker .*{name}: .*") as raised:  # of this slide, not of the worker
        runs.open("token", replace(order, path=tmp_path / name), choice, known=Known())
    assert ("all workers must see the slide under this very path" in str(raised.value)) == absent
    assert ("cannot be read: " in str(raised.value)) != absent


class _Waits:
    """Takes the place of a function that never comes back, as on a share that does not answer, until it is let go."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self, *arguments: Any, **more: Any) -> Any:
        self.begun.set()
        self.go.wait(60)
        raise SlideError("let go")


@pytest.mark.parametrize(
    ("name", "stuck", "call"),
    [
        ("plan", "open_slide", lambda order, choice: settle_run(0, "token", pickle.dumps((order, choice)))),
        ("plan", "prepare", lambda order, choice: settle_run(0, "token", pickle.dumps((order, choice)))),
        ("region", "read_left", lambda order, choice: compute_region(0, Ticket("token", b"", ""))),
        ("pyramid", "read_left", lambda order, choice: finish_run(0, Ticket("token", b"", ""))),
    ],
)
def test_whatever_a_task_waits_for_without_end_is_told_as_a_hang(
    runs: WorkerRuns,
    order: Order,
    choice: Choice,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    stuck: str,
    call: Callable[[Order, Choice], Any],
) -> None:
    told: list[dict[str, Any]] = []
    runs._worker = SimpleNamespace(address="tcp://me:1", log_event=lambda topic, event: told.append(event))
    waits = _Waits()
    monkeypatch.setattr(settling if stuck == "prepare" else worker_runs, stuck, waits)

    def run() -> None:
        with pytest.raises(SlideError, match="let go"):
            call(order, choice)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert waits.begun.wait(60)
        for now in (0.0, 0.0, math.inf):  # though the run that it is at cannot be closed, nor looked at
            runs.tell(now)
            runs.close_idle(now)
        begun = {"token": "token", "worker": "tcp://me:1", "name": name, "items": [(0, 0, False)]}
        assert told == [begun, begun | {"items": [(0, 0, True)]}]
    finally:
        waits.go.set()
        thread.join()
    runs.tell(math.inf)
    runs.close_idle(math.inf)
    assert len(told) == 2


def test_planning_that_asks_whether_to_end_is_alive(
    runs: WorkerRuns, order: Order, choice: Choice, opened: list[Slide], monkeypatch: pytest.MonkeyPatch
) -> None:
    pulse = Pulse("token", "plan", 0)

    def plan(*arguments: Any, watch: Watch, **more: Any) -> None:
        pulse.changed = -math.inf
        watch.check()

    monkeypatch.setattr(settling, "prepare", plan)
    settling.settle(pulse, order, choice)
    assert pulse.changed > 0


def test_requests_that_a_bucket_is_asked_again_and_again_are_no_hang() -> None:
    longest = bucket_folder._TRY_WITHIN + (bucket_client._RETRY_FOR + bucket_client._TIMEOUT).total_seconds()
    assert longest + BEAT_SECONDS < PATIENT_SECONDS
    assert region_limit(0.5, remote=False) == STALL_SECONDS
    assert region_limit(0.5, remote=True) == PATIENT_SECONDS
    assert region_limit(30.0, remote=False) == region_limit(30.0, remote=True) == 600
    taken = 60 * Settings.model_fields["stall_minutes"].default  # from its process by a service
    assert taken > feeding.MOST_HANGS * (PATIENT_SECONDS + 2 * BEAT_SECONDS)


def test_reports_go_on_after_one_that_failed(runs: WorkerRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    looks, told, closings = list[float](), list[Any](), list[float]()

    def close_idle(now: float) -> None:
        closings.append(now)
        raise (OSError("cannot be closed") if len(closings) < 3 else SystemExit)

    def log_event(topic: str, event: Any) -> None:
        told.append(event)
        raise OSError("closing")

    def news(now: float) -> dict[tuple[str, str], list[Any]]:
        looks.append(now)
        return {("token", "region"): []}

    runs._worker = SimpleNamespace(address="tcp://me:1", log_event=log_event)
    monkeypatch.setattr(worker_runs, "BEAT_SECONDS", 0.0)
    monkeypatch.setattr(runs._pulses, "news", news)
    monkeypatch.setattr(runs, "close_idle", close_idle)
    with pytest.raises(SystemExit):
        runs._beat()
    assert len(looks) == len(told) == len(closings) == 3


def test_a_region_neither_fails_by_a_report_nor_closes_slides_of_other_runs(
    runs: WorkerRuns, order: Order, choice: Choice, opened: list[Slide], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(topic: str, event: Any) -> None:
        raise OSError("closing")

    runs._worker = SimpleNamespace(address="tcp://me:1", log_event=fail)
    runs.open("idle", order, choice, known=Known()).used = -math.inf
    plan = SimpleNamespace(regions=[SimpleNamespace(windows=4, key="0,0")])
    found = SimpleNamespace(local=SimpleNamespace(prepared=SimpleNamespace(plan=plan)))
    monkeypatch.setattr(runs, "find", lambda ticket: found)
    monkeypatch.setattr(runs, "task", lambda opened, pulse: lambda region: "computed")
    assert compute_region(0, Ticket("token", b"", "")) == "computed"  # type: ignore[comparison-overlap]
    assert len(opened) == 1


def test_a_run_that_is_gone_by_the_time_it_would_be_closed_is_no_error(
    runs: WorkerRuns, order: Order, choice: Choice, opened: list[Slide], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.open("token", order, choice, known=Known())
    lock_of = runs.lock_of

    def meanwhile(token: str) -> threading.Lock:
        runs._runs.pop(token)
        return lock_of(token)

    monkeypatch.setattr(runs, "lock_of", meanwhile)
    runs.close_idle(math.inf)
    assert len(opened) == 1


def test_a_worker_that_joined_later_with_other_versions_neither_plans_nor_finishes(
    runs: WorkerRuns, order: Order, choice: Choice, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = replace(choice, versions={**choice.versions, "zarr": "1.0"})
    left = Finish(others, None, {}, slide=order.path, parts=Parts(), regions=b"")  # type: ignore[arg-type]
    monkeypatch.setattr(worker_runs, "read_left", lambda ticket: left)
    for call in (
        lambda: settle_run(0, "token", pickle.dumps((order, others))),
        lambda: finish_run(0, Ticket("token", b"", "")),
    ):
        with pytest.raises(InputError, match=r"worker .* has zarr .*, this run has 1\.0"):
            call()


def test_a_worker_with_another_copy_of_the_slide_tells_of_it_rather_than_finishing(
    runs: WorkerRuns, order: Order, choice: Choice, monkeypatch: pytest.MonkeyPatch
) -> None:
    provenance = {"slide": {"fingerprint": "of what was planned"}}
    left = Finish(choice, None, provenance, slide=order.path, parts=Parts(), regions=b"")  # type: ignore[arg-type]
    monkeypatch.setattr(worker_runs, "read_left", lambda ticket: left)
    told = finish_run(0, Ticket("token", b"", ""))
    assert isinstance(told, OtherSlide)
    assert f"{order.path}: was replaced or written to" in told.reason


@pytest.mark.parametrize(
    ("share", "pause", "refused"), [(0.95, 0.8, True), (0.75, 0.8, False), (0.75, 0.7, True), (0.95, False, False)]
)
def test_a_worker_refuses_what_dask_would_pause_it_for(
    runs: WorkerRuns, share: float, pause: float, refused: bool
) -> None:
    """A paused worker begins nothing, and frees nothing while it computes nothing."""
    memory = SimpleNamespace(memory_limit=1 << 30, memory_pause_fraction=pause)
    state = SimpleNamespace(nthreads=1)
    runs._worker = SimpleNamespace(memory_manager=memory, state=state, address="tcp://me:1")
    budget = Budget(region_size=512, band_rows=1, workers=1, bytes_per_worker=0, shared_bytes=int(share * (1 << 30)))
    prepared: Any = SimpleNamespace(plan=SimpleNamespace(budget=budget))
    with pytest.raises(InputError, match=f"Dask pauses it at {int(pause * 1024)} MiB") if refused else nullcontext():
        runs._refuse_memory(prepared)


def test_only_a_worker_that_sees_the_slide_says_that_it_is_the_same(
    runs: WorkerRuns, order: Order, choice: Choice, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    for name, reason in (("s.tiff", "must see the slide under this very path"), ("empty", "without DICOM files")):
        left = Finish(choice, None, {}, slide=tmp_path / name, parts=Parts(), regions=b"")  # type: ignore[arg-type]
        monkeypatch.setattr(worker_runs, "read_left", lambda ticket, left=left: left)
        order.path.unlink(missing_ok=True)
        with pytest.raises(SlideError, match=rf"worker .*: .*{name}: .*{reason}"):
            finish_run(0, Ticket("token", b"", ""))
