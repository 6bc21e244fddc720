"""How many slides of a table a command works on at once on a cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wsi_segment.errors import ClusterLostError, RunError, UnfitWorkerError, WsiSegmentError
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.progress import Progress
from wsi_segment.service.cli import table
from wsi_segment.service.cli.orders import ExtraOutputs, Order
from wsi_segment.service.cli.printing import Display


class Growing:
    """A cluster that has no workers at first."""

    def __init__(self, slots: Callable[[], int]) -> None:
        self.slots = slots


def segmented(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    count: int,
    slots: Callable[[], int],
    segment: Callable[[], str],
) -> tuple[list[Any], int]:
    """Have a table of slides segmented, each by a function."""
    orders = [Order(Path(f"{i}.tiff"), folder / f"{i}.zarr", None, SegmentOptions()) for i in range(count)]
    monkeypatch.setattr(table, "segment_one", lambda order, *others, **more: segment())
    monkeypatch.setattr(table, "_LOOK_SECONDS", 0.01)
    display = Display(quiet=True, spell=lambda text: text)
    return table.segment_table(orders, ExtraOutputs(None, None, 0.0, None), display, Growing(slots))  # type: ignore[arg-type]


def test_workers_that_come_later_have_more_slides_in_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    five = threading.Barrier(5)

    def segment() -> str:
        five.wait(30)
        return "summary"

    def slots() -> int:
        return 20 if five.n_waiting >= 2 else 0

    assert segmented(tmp_path, monkeypatch, count=5, slots=slots, segment=segment) == (["summary"] * 5, 0)


def test_no_more_slides_are_in_hand_than_slots_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, in_hand, most = threading.Lock(), 0, 0

    def segment() -> str:
        nonlocal in_hand, most
        with lock:
            in_hand += 1
            most = max(most, in_hand)
        threading.Event().wait(0.005)
        with lock:
            in_hand -= 1
        return "summary"

    assert segmented(tmp_path, monkeypatch, count=20, slots=lambda: 12, segment=segment)[1] == 0
    assert most <= 3


@pytest.mark.parametrize("ending", [ClusterLostError("lost"), UnfitWorkerError("worker has numpy 1.0")])
def test_a_slide_that_fails_is_counted_and_a_cluster_that_fits_no_slide_ends_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: WsiSegmentError
) -> None:
    errors = iter([RunError("broken"), *[ending] * 20])

    def segment() -> str:
        raise next(errors)

    with pytest.raises(type(ending), match=str(ending)):
        segmented(tmp_path, monkeypatch, count=20, slots=lambda: 0, segment=segment)
    assert len(list(errors)) >= 16


def test_what_is_waited_for_is_said_at_once_and_then_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    with Display(quiet=False, spell=str).running("a.svs") as report:
        for reason in ("for workers", "for workers", "for 30 s"):
            report(Progress("waiting", 0, 0, reason=reason))
        report(Progress("segment", 5, 10))
    assert capsys.readouterr().err.splitlines() == ["a.svs: waiting for workers", "a.svs: waiting for 30 s"]
