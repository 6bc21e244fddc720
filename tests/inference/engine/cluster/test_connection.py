"""The connection to a scheduler: when it is lost, whom it asks, and what it leaves as it was."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import dask
import pytest

from wsi_segment.errors import ClusterLostError, InputError
from wsi_segment.inference.engine.cluster import connection
from wsi_segment.inference.engine.cluster.connection import Connection
from wsi_segment.inference.engine.cluster.facts import facts_here
from wsi_segment.inference.engine.cluster.tuning import look_at_workers
from wsi_segment.inference.progress import Progress, Watch

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a scheduler without workers."""
    with distributed.LocalCluster(
        n_workers=0, processes=False, protocol="tcp://", dashboard_address="127.0.0.1:0"
    ) as local:
        yield local.scheduler_address


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_connection_that_dask_made_again_counts_as_lost(address: str) -> None:
    """Whoever listens there now may be another scheduler, which was not set up."""
    with Connection(address) as cluster:
        client = cluster.client
        first = client.scheduler_comm
        client.loop.add_callback(first.comm.abort)
        until(lambda: client.scheduler_comm not in (None, first) and client.status == "running")
        with pytest.raises(ClusterLostError, match="the connection is lost"):
            cluster.slots()


def test_who_ends_a_connection_is_told_no_more(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the scheduler tells a client of its own end, which it finds closed, and logs that as critical."""
    ended: list[str] = []
    with Connection(address) as cluster:
        monkeypatch.setattr(cluster.client, "unsubscribe_topic", ended.append)
    assert ended == ["all"]


def test_work_that_dask_does_for_its_own_sake_is_turned_down(caplog: pytest.LogCaptureFixture) -> None:
    """On the scheduler, and on workers that others started; silence that somebody wants ignored is only warned of."""
    with (
        dask.config.set({"distributed.scheduler.worker-ttl": None}),
        distributed.LocalCluster(
            n_workers=1, processes=False, protocol="tcp://", dashboard_address="127.0.0.1:0"
        ) as local,
        Connection(local.scheduler_address),
    ):
        for server in (local.scheduler, *local.workers.values()):
            periods = {name: callback.callback_time for name, callback in server.periodic_callbacks.items()}
            running = {name for name, callback in server.periodic_callbacks.items() if callback.is_running()}
            assert (periods["tick"], periods["monitor"]) == (1000, 5000)
            assert not running & {"profile", "profile-cycle"}
        assert local.scheduler.worker_ttl is None
    assert f"{local.scheduler_address} gives up no worker that falls silent" in caplog.text


def test_silent_workers_are_given_up_soon_and_nothing_is_warned_of(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    def limits(dask_scheduler: Any) -> tuple[float, float]:
        look = dask_scheduler.periodic_callbacks["worker-ttl"]
        return dask_scheduler.worker_ttl, look.callback_time

    with Connection(address) as cluster:
        assert tuple(cluster.client.run_on_scheduler(limits)) == (20.0, 5000.0)
    assert not caplog.records


def test_facts_are_asked_for_again_where_the_only_worker_ends_meanwhile(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = facts_here("cpu")
    answers: list[dict[str, object]] = [{"tcp://a:1": OSError("gone")}, {}, {"tcp://b:1": facts}]
    monkeypatch.setattr(connection, "_WAIT_SECONDS", 0.0)
    with Connection(address) as cluster:
        monkeypatch.setattr(cluster, "call", lambda function: answers.pop(0))
        told: list[Progress] = []
        assert cluster.facts("cpu", Watch(told.append)) == {"tcp://b:1": facts}
    assert [one.stage for one in told] == ["waiting", "waiting"]


def test_patience_lasts_while_paused_workers_compute_what_they_have_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_SLOTS_SECONDS", -1.0)
    cluster = Connection("tcp://127.0.0.1:1", patience=-1.0)  # which is lost at once, so that no time must pass
    paused = ["tcp://a:1", "tcp://b:1"]
    seen: list[tuple[int, dict[str, str], list[str]]] = [(0, {"region": "tcp://a:1"}, []), (0, {}, paused)]
    monkeypatch.setattr(cluster, "call", lambda function: seen.pop(0))
    cluster._empty_since = 1.0
    assert cluster.slots() == 0
    assert cluster._empty_since is None
    assert cluster.slots() == 0
    told: list[Progress] = []
    with pytest.raises(ClusterLostError, match=r"has had no workers that begin anything for .*paused tcp://a:1"):
        cluster.wait_for_workers(Watch(told.append))
    assert told[0].stage == "waiting"
    assert "Dask has paused tcp://a:1 and 1 more, whose memory is nearly full; start workers with" in told[0].reason


@dataclass(frozen=True)
class Known:
    """A worker as a scheduler knows it."""

    address: str
    status: Any
    nthreads: int = 2
    processing: tuple[str, ...] = ()


def test_a_worker_that_dask_has_paused_is_named_though_nothing_waits_there() -> None:
    runs, paused = Known("tcp://a:1", distributed.Status.running), Known("tcp://b:1", distributed.Status.paused)
    scheduler: Any = SimpleNamespace(workers={one.address: one for one in (runs, paused)}, running={runs})
    assert look_at_workers(scheduler) == (2, {}, ["tcp://b:1"])


def test_many_runs_that_ask_at_once_count_the_workers_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two counts in a moment would have all that a worker waits with taken from it, however short its pause."""
    cluster, counts, all_here = Connection("tcp://127.0.0.1:1"), list[int](), threading.Barrier(8)

    def count(function: object) -> tuple[int, dict[str, str], list[str]]:
        counts.append(1)
        time.sleep(0.05)  # so that others ask meanwhile
        return 0, {"region": "tcp://a:1"}, []

    def ask(number: int) -> int:
        all_here.wait(30)
        return cluster.slots()

    monkeypatch.setattr(cluster, "call", count)
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(ask, range(8))) == [0] * 8
    assert (len(counts), cluster.stuck) == (1, {})


def test_a_task_is_stuck_only_where_the_same_worker_has_it_at_two_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_SLOTS_SECONDS", -1.0)
    cluster, stuck = Connection("tcp://127.0.0.1:1"), list[dict[str, str]]()
    seen = [{"region": "tcp://a:1"}, {"region": "tcp://b:1"}, {"region": "tcp://b:1"}]
    monkeypatch.setattr(cluster, "call", lambda function: (0, seen.pop(0), []))
    while seen:
        cluster.slots()
        stuck.append(cluster.stuck)
    assert stuck == [{}, {}, {"region": "tcp://b:1"}]


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (ModuleNotFoundError("No module named 'wsi_segment'"), "; install wsi-segment on all workers"),
        (InputError("`device` openvino: is not installed"), ""),
    ],
)
def test_only_a_worker_without_the_package_is_to_have_it_installed(
    address: str, monkeypatch: pytest.MonkeyPatch, error: Exception, remedy: str
) -> None:
    with Connection(address) as cluster:
        monkeypatch.setattr(cluster, "call", lambda function: {"tcp://a:1": error})
        with pytest.raises(InputError) as raised:
            cluster.facts("cpu", Watch())
    assert str(raised.value) == f"worker tcp://a:1: {error}{remedy}"


def test_whatever_else_is_logged_where_dask_tells_of_deaths_is_passed_over() -> None:
    cluster, heard = Connection("tcp://127.0.0.1:1"), list[dict[str, Any]]()
    cluster.listen("token", heard.append)
    died = {"action": "remove-worker", "worker": "tcp://a:1"}
    others: list[Any] = ["text", None, ["remove-worker"], {}, {"action": "remove-worker"}, died | {"expected": True}]
    for event in (*others, died, died | {"expected": False, "processing-tasks": ["key"]}):
        cluster._hear_of_death((0.0, event))
    assert heard == [{"died": "tcp://a:1", "keys": ()}, {"died": "tcp://a:1", "keys": ["key"]}]


def test_two_connections_leave_loggers_as_they_were_in_whatever_order_they_end(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    names = ("distributed", "distributed.client", "distributed.core", "tornado", "tornado.application", "asyncio")
    before = {name: (logging.getLogger(name).level, list(logging.getLogger(name).filters)) for name in names}
    first, second = Connection(address), Connection(address)
    first.__enter__()
    second.__enter__()
    first.close()
    assert not logging.getLogger("distributed.core").isEnabledFor(logging.CRITICAL)
    logging.getLogger("tornado.application").error("of another part of this process")
    logging.getLogger("asyncio").error("Task exception was never retrieved: distributed/client.py")
    second.close()
    assert [record.getMessage() for record in caplog.records] == ["of another part of this process"]
    after = {name: (logging.getLogger(name).level, list(logging.getLogger(name).filters)) for name in names}
    assert after == before
