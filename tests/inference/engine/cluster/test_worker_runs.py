"""What a worker process holds of its runs: a slide once, as long as it is used, and nothing of runs that are over."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from synthetic import make_model, tissue_like, write_slide
from wsi_segment.errors import SlideError
from wsi_segment.inference.engine.cluster import settling, worker_runs
from wsi_segment.inference.engine.cluster.worker_runs import WorkerRuns
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.scheduling.scheduler import Order
from wsi_segment.inference.slides.candidate import Known
from wsi_segment.inference.slides.open import open_slide
from wsi_segment.inference.slides.slide import Slide


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Slide]]:
    """Slides that were opened and not closed."""
    there: list[Slide] = []

    def noted(*arguments: Any) -> Slide:
        slide = open_slide(*arguments)
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
    monkeypatch.setattr(settling, "RUNS", runs)
    return runs


@pytest.fixture
def order(tmp_path: Path) -> Order:
    return Order(write_slide(tmp_path / "s.tiff", tissue_like(200, 300)), make_model(), SegmentOptions())


def test_a_run_that_is_settled_again_has_one_open_slide(
    runs: WorkerRuns, order: Order, opened: list[Slide], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "prepare", lambda *arguments, **more: None)
    for _ in range(2):
        settling.settle("token", order, None)  # type: ignore[arg-type]
    assert len(opened) == 1
    runs.close_idle(math.inf)
    assert not opened


def test_a_slide_stays_open_however_long_it_is_planned(
    runs: WorkerRuns, order: Order, opened: list[Slide], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def plan(*arguments: Any, **more: Any) -> None:
        runs.close_idle(math.inf)
        seen.append(len(opened))

    monkeypatch.setattr(settling, "prepare", plan)
    settling.settle("token", order, None)  # type: ignore[arg-type]
    assert seen == [1]
    runs.close_idle(math.inf)
    assert not opened


def test_runs_that_are_over_leave_nothing_behind(runs: WorkerRuns, order: Order, opened: list[Slide]) -> None:
    held = runs.stop_of("held")
    used = runs.open("used", order, None, known=Known())  # type: ignore[arg-type]
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
    runs: WorkerRuns, order: Order, tmp_path: Path, name: str, absent: bool
) -> None:
    (tmp_path / "loop.tiff").symlink_to("loop.tiff")
    with pytest.raises(SlideError, match=rf"^worker .*{name}: .*") as raised:
        runs.open("token", replace(order, path=tmp_path / name), None, known=Known())  # type: ignore[arg-type]
    assert ("all workers must see the slide under this very path" in str(raised.value)) == absent
    assert ("cannot be read: " in str(raised.value)) != absent
