"""How many items are given to a cluster at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from wsi_segment.errors import ClusterLostError, RunError
from wsi_segment.inference.engine.cluster import feeding
from wsi_segment.inference.engine.cluster.connection import Connection
from wsi_segment.inference.engine.cluster.feeding import Feeder, Items
from wsi_segment.inference.progress import Watch
from wsi_segment.model.card import DEFAULT_MODEL, find_model

distributed = pytest.importorskip("distributed")
SLOTS, COUNT = 4, 200


@pytest.fixture(scope="module")
def cluster() -> Iterator[Connection]:
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=SLOTS, processes=False, protocol="tcp://", dashboard_address="127.0.0.1:0"
        ) as local,
        Connection(local.scheduler_address) as cluster,
    ):
        yield cluster


def feeder_of(cluster: Connection, token: str = "0badcafe") -> Feeder:
    model = find_model(DEFAULT_MODEL)
    return Feeder(cluster, token, Watch(), model=model, file=next(iter(model.card.files)))


def test_items_in_which_nothing_is_predicted_are_sent_many_at_once(
    cluster: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, sent, done = 40, list[list[int]](), set[int]()
    original = cluster.map

    def noted(task: Any, numbers: list[int], keys: list[Any], arguments: dict[str, Any]) -> Any:
        sent.append(numbers)
        in_flight = sum(map(len, sent)) - len(done)
        assert in_flight <= (2 if numbers[0] < full else 4) * SLOTS
        return original(task, numbers, keys, arguments)

    monkeypatch.setattr(cluster, "map", noted)
    items = Items("region", place=lambda index: (0, index), windows=lambda index: 5 if index < full else 0)
    feeder_of(cluster).run(_same, range(COUNT), items, lambda index, result: done.add(result))
    assert done == set(range(COUNT))
    assert all(len(numbers) <= 2 * SLOTS for numbers in sent if numbers[0] < full)
    assert max(len(numbers) for numbers in sent if numbers[0] >= full) > 2 * SLOTS


def test_numbers_are_asked_for_as_there_is_room(cluster: Connection) -> None:
    asked, done = list[int](), list[int]()

    def numbers() -> Iterator[int]:
        for index in range(COUNT):
            asked.append(index)
            assert len(asked) - len(done) <= 8 * SLOTS
            yield index

    items = Items("region", place=lambda index: (1, index))
    feeder_of(cluster).run(_same, numbers(), items, lambda index, result: done.append(index))
    assert sorted(done) == asked == list(range(COUNT))


def test_what_befell_the_plan_is_not_blamed_on_the_first_region(cluster: Connection, tmp_path: Path) -> None:
    """All tasks of a run are numbered from 0; each of these kills its workers once."""
    feeder, done = feeder_of(cluster, "0badbeef"), list[str]()
    for name in ("plan", "region", "pyramid"):
        feeder.run(_dies_once, [0], Items(name), lambda index, result: done.append(result), mark=tmp_path / name)
    assert done == ["plan", "region", "pyramid"]


def test_deaths_are_blamed_on_what_a_worker_was_at(cluster: Connection) -> None:
    """Dask blames all that it had, and gives each up at the fourth; what only waited stands twice as many."""
    feeder, flying = feeder_of(cluster, "0badbead"), {_Future("at"): 0, _Future("waits"): 1, _Future("elsewhere"): 2}
    feeder._begin(Items("region", place=lambda index: (3, index)))

    def die(number: int) -> None:
        worker = f"tcp://dead:{number}"
        feeder._hear({"name": "region", "worker": worker, "items": [(0, 0, False)]})
        feeder._hear({"died": worker, "keys": ["at", "waits", "of another run"]})
        feeder._count_deaths(flying)

    for number in range(feeding.DEATHS - 1):
        die(number)
    with pytest.raises(RunError, match=r"region 3,0: the workers that had it died, each time"):
        die(feeding.DEATHS)
    assert feeder._blame == {0: 2 * feeding.DEATHS, 1: feeding.DEATHS - 1}


def test_all_that_a_worker_had_is_to_blame_where_nobody_knows_what_it_was_at(cluster: Connection) -> None:
    feeder, flying = feeder_of(cluster, "0badfeed"), {_Future("a"): 0, _Future("b"): 1}
    feeder._begin(Items("region"))
    for number in range(feeding.DEATHS - 1):
        feeder._hear({"died": f"tcp://dead:{number}", "keys": ["a"]})
        feeder._count_deaths(flying)
    feeder._hear({"died": "tcp://dead:9", "keys": ["a"]})
    with pytest.raises(RunError, match="died"):
        feeder._count_deaths(flying)


def test_a_death_is_blamed_on_what_the_worker_was_at_whoever_has_begun_it_since(cluster: Connection) -> None:
    feeder, flying = feeder_of(cluster, "0badcede"), {_Future("at"): 0, _Future("waits"): 1}
    feeder._begin(Items("region"))
    for worker in ("tcp://dead:1", "tcp://next:1"):
        feeder._hear({"name": "region", "worker": worker, "items": [(0, 0, False)]})
        if worker == "tcp://dead:1":
            feeder._hear({"died": worker, "keys": ["at", "waits"]})
    feeder._count_deaths(flying)
    assert feeder._blame == {0: 2, 1: 1}


def test_nothing_is_begun_at_a_worker_that_was_started_again_at_its_old_address(cluster: Connection) -> None:
    feeder = feeder_of(cluster, "0badc0de")
    feeder._begin(Items("region"))
    feeder._hear({"name": "region", "worker": "tcp://fixed:1", "items": [(0, 0, False), (1, 0, False)]})
    feeder._hear({"name": "region", "worker": "tcp://other:1", "items": [(1, 0, False)]})
    feeder._hear({"died": "tcp://fixed:1", "keys": ["0"]})
    assert feeder._begun == {1: "tcp://other:1"}


def test_a_region_that_hangs_again_at_the_same_address_is_ended_again(
    cluster: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers with a fixed port: each report that one hangs comes again until it ends, and some once it has."""
    feeder, ended, fixed = feeder_of(cluster, "0badfade"), list[str](), "tcp://fixed:1"
    monkeypatch.setattr(cluster, "run_on", lambda worker, function: ended.append(worker))
    feeder._begin(Items("region"))
    feeder._sent[0] = 1

    def hang() -> None:
        for _ in range(2):
            feeder._hear({"name": "region", "worker": fixed, "items": [(0, 0, True)]})
            feeder._end_hung()

    for time in range(1, feeding.MOST_HANGS):
        hang()
        assert len(ended) == time
        feeder._hear({"name": "region", "worker": fixed, "items": [(0, 0, True)]})
        feeder._hear({"died": fixed, "keys": []})
        feeder._end_hung()
        assert len(ended) == time
    with pytest.raises(RunError, match=f"hung on {feeding.MOST_HANGS} workers, the last was {fixed}"):
        hang()


def test_what_dask_gives_up_is_sent_again_until_too_many_workers_have_died(cluster: Connection) -> None:
    feeder, sent = feeder_of(cluster, "0badbabe"), list[int]()
    _deadly.clear()
    with pytest.raises(RunError, match="plan: the workers that had it died"):
        feeder.run(_dies, [0], Items("plan"), lambda index, result: sent.append(index))
    assert len(_deadly) * cluster.deaths_each == 2 * feeding.DEATHS
    assert not sent


def test_a_hang_of_a_task_that_is_over_ends_no_worker(cluster: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    feeder, ended, done = feeder_of(cluster, "0badf00d"), list[str](), list[int]()
    monkeypatch.setattr(cluster, "run_on", lambda worker, function: ended.append(worker))

    def next_one(index: int, result: int) -> None:
        done.append(index)
        for name, number in (("plan", 1), ("region", 0)):  # of another name, and one that is done
            feeder._hear({"name": name, "worker": "tcp://late:1", "items": [(number, 0, True)]})

    feeder.run(_same, [0, 1], Items("region", place=lambda index: (0, index)), next_one)
    assert sorted(done) == [0, 1]
    assert not ended


def test_a_run_whose_output_cannot_be_vouched_for_leaves_no_listener(
    cluster: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise ClusterLostError("lost")

    monkeypatch.setattr(cluster, "_vouch", fail)
    with pytest.raises(ClusterLostError, match="lost"):
        feeder_of(cluster, "0badf1ed").run(
            _same, [0], Items("region", is_held=lambda: True), lambda index, result: None
        )
    assert not cluster._listeners
    assert not cluster._held


def test_work_is_told_to_go_on_once_there_are_workers_again(
    cluster: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is at hand: of planning and coarse levels nothing else would be told before they end."""
    slots, told = [0, 0, SLOTS, SLOTS, 0], list[str]()  # in turns; share() asks for them too
    monkeypatch.setattr(cluster, "slots", lambda: slots.pop(0) if slots else SLOTS)
    monkeypatch.setattr(cluster, "wait_for_workers", lambda watch: told.append("waiting"))
    monkeypatch.setattr(cluster, "share", lambda: 1)
    items = Items("plan", place=lambda index: (0, index), count=lambda windows: told.append("works"))
    feeder_of(cluster, "0badcafd").run(_same, range(80), items, lambda index, result: None)
    assert told == ["waiting", "waiting", "works", "waiting", "works"]


def test_what_was_begun_elsewhere_is_taken_from_a_worker_that_begins_nothing(
    cluster: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    feeder, taken = feeder_of(cluster, "0badcaff"), list[list[Any]]()
    client = SimpleNamespace(cancel=lambda futures, force: taken.append([one.key for one in futures]))
    monkeypatch.setattr(cluster, "call", lambda function: function(client))
    monkeypatch.setattr(cluster, "stuck", {"here": "tcp://a:1", "elsewhere": "tcp://a:1", "nowhere": "tcp://a:1"})
    for index, worker in enumerate(("tcp://a:1", "tcp://dead:1")):
        feeder._hear({"name": "", "worker": worker, "items": [(index, 0, False)]})
    keys = ("here", "elsewhere", "nowhere", "not stuck")
    feeder._take_back({_Future(key): index for index, key in enumerate(keys)})
    assert taken == [["elsewhere", "nowhere"]]


@dataclass(frozen=True)
class _Future:
    key: str


def _same(index: int) -> int:
    return index


_deadly = list[int]()


def _dies(index: int) -> None:
    _deadly.append(index)
    raise distributed.KilledWorker("plan", SimpleNamespace(address="tcp://dead:1"), 4)


def _dies_once(index: int, mark: Path) -> str:
    if not mark.exists():
        mark.touch()
        raise distributed.KilledWorker(mark.name, SimpleNamespace(address="tcp://dead:1"), 1)
    return mark.name
