"""What counts as work of a job, by a clock that the test sets."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from job_bench import Bench
from wsi_segment.inference.progress import Progress
from wsi_segment.service.workers import lease_keeper
from wsi_segment.service.workers.lease_keeper import LeaseKeeper, Limits


def test_waiting_for_workers_is_no_work_however_long_it_lasts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hours, refusals = 0.0, list[str]()
    monkeypatch.setattr(lease_keeper, "time", SimpleNamespace(monotonic=lambda: 3600 * hours))
    monkeypatch.setattr(lease_keeper, "LOOK_SECONDS", 0.0)
    bench = Bench(tmp_path / "served")
    bench.post()
    job = bench.queue.claim()
    assert job is not None
    keeper = LeaseKeeper(bench.queue, job, threading.Event(), Limits(hours=1.0))
    look, steps = bench.queue.look, [("waiting", 2.0), ("segment", 0.9), ("waiting", 2.0), ("segment", 0.2)]

    def look_and_go_on(*arguments: Any) -> Any:
        nonlocal hours
        refusals.append(keeper.refusal)
        if steps:
            stage, more = steps.pop(0)
            keeper.report(Progress(stage, 0, 1))  # type: ignore[arg-type]
            hours += more
        else:
            keeper._over.set()
        return look(*arguments)

    monkeypatch.setattr(bench.queue, "look", look_and_go_on)
    keeper._keep_watch()
    assert refusals[:4] == [""] * 4
    assert "longer than the 1 hours that it may take; see `job_hours`" in refusals[4]
    bench.database.close()
