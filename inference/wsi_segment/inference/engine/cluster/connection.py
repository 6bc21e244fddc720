"""The connection to a Dask scheduler whose workers compute regions."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from wsi_segment.errors import ClusterLostError, InputError, UnfitWorkerError, WsiSegmentError
from wsi_segment.extras import needs_extra
from wsi_segment.inference.engine.cluster.address import Tls, knock, refuse_odd_address, security_of
from wsi_segment.inference.engine.cluster.facts import WorkerFacts, facts_here, refuse_other_versions
from wsi_segment.inference.engine.cluster.tasks import find_facts
from wsi_segment.inference.engine.cluster.tuning import (
    HUSH,
    installed,
    look_at_workers,
    set_up_scheduler,
    turn_down_worker,
    warn_of_settings,
)
from wsi_segment.inference.engine.cluster.vouching import name_time, vouch
from wsi_segment.inference.engine.cluster.worker_models import receive_model
from wsi_segment.inference.engine.scheduling.scheduler import Order, Run
from wsi_segment.inference.progress import Watch
from wsi_segment.model.card import Model

_CONNECT_SECONDS = 10
_SLOTS_SECONDS = 5.0
"""Seconds between two counts of the workers."""
_FACTS_SECONDS = 60.0
"""Seconds for which facts of the workers are kept; one that joins later checks itself whether it can take part."""
_WAIT_SECONDS = 0.5
_CLIENT_SETTINGS = {
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.client.scheduler-info-interval": "60s",
}


class Connection:
    """The workers of a Dask scheduler; a :class:`~wsi_segment.inference.engine.scheduling.scheduler.Scheduler`.

    A context manager. Several runs may share it, in several threads.
    """

    def __init__(self, address: str, tls: Tls | None = None, patience: float | None = None) -> None:
        """Remember where the scheduler is; entering the context connects to it.

        Args:
            address: Such as ``tcp://host:8786``; ``tls://`` for one that encrypts.
            tls: Certificates; None for those of Dask's own configuration, if any.
            patience: Seconds without any worker after which runs end; None to wait for as long as it takes.

        Raises:
            InputError: ``address`` is not an address, or certificates are given and it does not encrypt.
        """
        refuse_odd_address(address, certificates=tls is not None)
        self.address, self._tls, self._patience = address, tls, patience
        self._client: Any = None
        self._stream: Any = None
        self._lock = threading.Lock()
        self._count_lock = threading.Lock()
        self._counted = (0.0, 0)
        self._halted = dict[Any, str]()
        self._paused: list[str] = []
        self.stuck = dict[Any, str]()
        """Workers that begin no task, such as paused ones, by the keys of those they had at both of the last counts."""
        self._empty_since: float | None = None
        self._facts: dict[str, tuple[float, dict[str, WorkerFacts]]] = {}
        self._running = 0
        self._listeners: dict[str, Callable[[dict[str, Any]], None]] = {}
        self._held: dict[str, Callable[[], bool]] = {}
        self._hush = ExitStack()
        self.deaths_each = 4
        """Number of workers that must die of a task before Dask gives it up."""

    def __enter__(self) -> Connection:
        """Connect.

        Raises:
            InputError: Dask's distributed is not installed, the certificates are wrong, or versions differ.
            ClusterLostError: there is no scheduler.
        """
        with needs_extra("cluster", "`scheduler`"):
            import distributed
        import dask

        self._hush.enter_context(HUSH)
        try:
            knock(self.address)
            security = security_of(self.address, self._tls)
            with dask.config.set(_CLIENT_SETTINGS):
                self._client = distributed.Client(  # type: ignore[no-untyped-call]
                    self.address, security=security, timeout=_CONNECT_SECONDS, set_as_default=False, name="wsi-segment"
                )
            self._stream = self._client.scheduler_comm
            self._set_up()
        except WsiSegmentError:
            self.close()
            raise
        except Exception as error:  # Dask's errors have no common type of their own
            self.close()
            if self._tls is not None and re.search("SSL|TLS certificate", str(error)):
                raise ClusterLostError(
                    f"`scheduler` {self.address}: the certificates of this command and the scheduler do not fit "
                    f"({_reason(error)}); give `tls_ca` of the authority that signed both"
                ) from error
            if isinstance(error, (OSError, TimeoutError)):
                raise ClusterLostError(
                    f"`scheduler` {self.address}: no scheduler answers there ({_reason(error)}); start one with "
                    "`dask scheduler`, or correct the address"
                ) from error
            raise InputError(f"`scheduler` {self.address}: {_reason(error)}") from error
        return self

    def __exit__(self, *error: object) -> None:
        """Disconnect."""
        self.close()

    def close(self) -> None:
        """Disconnect; may be called again."""
        client, self._client = self._client, None
        if client is not None:
            with suppress(Exception):  # a scheduler that is gone cannot be told
                client.unsubscribe_topic("all")  # or it tells this client of its own end, and logs that as critical
                client.close(timeout=2)
        self._hush.close()

    @property
    def client(self) -> Any:
        """Dask's client.

        Raises:
            ClusterLostError: the connection is lost.
        """
        self.refuse_lost()
        return self._client

    def refuse_lost(self) -> None:
        """Raise an error if the connection is lost.

        Dask's client connects again of itself, maybe to another scheduler, which lacks all that :meth:`_set_up` did.

        Raises:
            ClusterLostError: it is.
        """
        client = self._client
        if client is None or client.status != "running" or client.scheduler_comm is not self._stream:
            raise ClusterLostError(
                f"`scheduler` {self.address}: the connection is lost; what is finished is kept, run the same command "
                "again when the scheduler is back"
            )

    @contextmanager
    def opened(self, order: Order, watch: Watch) -> Iterator[Run]:
        """See :class:`wsi_segment.inference.engine.scheduling.scheduler.Scheduler`."""
        from wsi_segment.inference.engine.cluster.cluster_run import open_on_cluster

        with self._lock:
            self._running += 1
        try:
            with open_on_cluster(self, order, watch) as run:
                yield run
        finally:
            with self._lock:
                self._running -= 1

    def slots(self) -> int:
        """Return how many tasks the workers can run at once, as of some seconds ago."""
        with self._count_lock:  # or all runs would count anew at once, and a moment's pause would look like a long one
            looked, found = self._counted
            if time.monotonic() - looked > _SLOTS_SECONDS:
                found, halted, self._paused = self.call(lambda client: client.run_on_scheduler(look_at_workers))
                self.stuck = dict(halted.items() & self._halted.items())
                self._counted, self._halted = (time.monotonic(), found), halted
                if found or halted:  # what is paused still computes what it has begun, and all else is taken from it
                    self._empty_since = None
                self._vouch()
            return found

    def wait_for_workers(self, watch: Watch) -> None:
        """Report that a run waits for workers, of which there are none, and lose patience in the end.

        Raises:
            ClusterLostError: there have been none for too long.
        """
        now = time.monotonic()
        self._empty_since = self._empty_since or now
        reason = "for workers"
        if self._paused:
            more = f" and {len(self._paused) - 1} more" if self._paused[1:] else ""
            reason += (
                f": Dask has paused {self._paused[0]}{more}, whose memory is nearly full; start workers with more "
                "memory or fewer threads"
            )
        watch.wait(reason)
        if self._patience is not None and now - self._empty_since > self._patience:
            raise ClusterLostError(
                f"`scheduler` {self.address}: has had no workers that begin anything for {self._patience:g} s "
                f"(waited {reason}); what is finished is kept"
            )

    def share(self) -> int:
        """Return how many tasks a run may have in flight: two for each slot, divided among the runs."""
        return max(1, -(-2 * self.slots() // max(1, self._running)))

    def facts(self, device: str, watch: Watch) -> dict[str, WorkerFacts]:
        """Return what each worker can do, by address; wait where there is none.

        Raises:
            InputError: a worker lacks this package, or has another version of what bears on pixels.
            Cancelled: ``watch.stop`` was set.
        """
        looked, known = self._facts.get(device, (0.0, {}))
        if known and time.monotonic() - looked < _FACTS_SECONDS:
            return known
        ours, good = facts_here("cpu").versions, dict[str, WorkerFacts]()
        while not good:
            watch.check()
            found = self.call(lambda client: client.run(find_facts, device, on_error="return"))
            for address, facts in found.items():
                if isinstance(facts, OSError):
                    continue  # it has ended since then
                if not isinstance(facts, WorkerFacts):
                    if isinstance(facts, ModuleNotFoundError):
                        raise UnfitWorkerError(
                            f"worker {address}: {_reason(facts)}; install wsi-segment on all workers"
                        )
                    raise InputError(f"worker {address}: {_reason(facts)}")
                refuse_other_versions(f"worker {address}", facts.versions, ours)
                good[address] = facts
            if not good:
                self.wait_for_workers(watch)
                watch.stop.wait(_WAIT_SECONDS)
        self._empty_since = None
        self._facts[device] = (time.monotonic(), good)
        return good

    def send_model(self, model: Model, file: str, worker: str) -> None:
        """Send the file of a model to a worker that lacks it."""
        contents = {file: model.weights(file).read_bytes()}
        self.call(lambda client: client.run(receive_model, model.card.files, contents, workers=[worker]))

    def call(self, function: Callable[[Any], Any]) -> Any:
        """Call a function of the client; an error of a connection that is lost is one line.

        Raises:
            ClusterLostError: the connection is lost.
        """
        try:
            return function(self.client)
        except WsiSegmentError:
            raise
        except Exception:  # of any kind, if the connection broke during the call
            self.refuse_lost()
            raise

    def map(self, task: Callable[..., Any], numbers: list[int], keys: list[Any], arguments: dict[str, Any]) -> Any:
        """Have workers call a task with each number; return Dask's futures."""
        return self.call(lambda client: client.map(task, numbers, key=keys, pure=False, **arguments))

    def run_on(self, worker: str, function: Callable[[], None]) -> None:
        """Call a function on one worker; one that is gone does not matter."""
        self.call(lambda client: client.run(function, workers=[worker], on_error="ignore"))

    def listen(
        self, token: str, listener: Callable[[dict[str, Any]], None], is_held: Callable[[], bool] | None = None
    ) -> None:
        """Call a function with what workers tell of a run, on the client's own thread.

        Args:
            token: Of the run.
            listener: Called.
            is_held: Says whether the run surely holds its output, of which workers are told.
        """
        self._listeners[token] = listener
        if is_held is not None:
            self._held[token] = is_held
            self._vouch()

    def stop_listening(self, token: str) -> None:
        """Undo :meth:`listen`."""
        self._listeners.pop(token, None)
        self._held.pop(token, None)

    def _vouch(self) -> None:
        """Tell workers which runs hold their outputs; the scheduler names its time before that is looked at."""
        if self._held:
            named = self.call(lambda client: client.run_on_scheduler(name_time))
            held = [token for token, is_held in list(self._held.items()) if is_held()]
            self.call(lambda client: client.run_on_scheduler(vouch, held, named))

    def _set_up(self) -> None:
        from wsi_segment.inference.engine.cluster.worker_runs import TOPIC

        client = self._client
        try:
            scheduler: Mapping[str, Any] = client.run_on_scheduler(set_up_scheduler)
        except ModuleNotFoundError as error:
            raise UnfitWorkerError(
                f"the scheduler {self.address} cannot import {error.name}; install wsi-segment there too"
            ) from error
        refuse_other_versions(f"the scheduler {self.address}", scheduler["versions"], installed())
        warn_of_settings(self.address, scheduler)
        self.deaths_each = scheduler["allowed_failures"] + 1
        client.subscribe_topic(TOPIC, self._hear)
        client.subscribe_topic("all", self._hear_of_death)
        for nanny in (False, True):
            client.run(turn_down_worker, nanny=nanny, on_error="ignore")

    def _hear(self, event: tuple[float, dict[str, Any]]) -> None:
        if (listener := self._listeners.get(event[1]["token"])) is not None:
            listener(event[1])

    def _hear_of_death(self, event: tuple[float, dict[str, Any]]) -> None:
        """Pass on which tasks a worker had that died; it is what Dask itself tells of all that befalls it."""
        match event[1]:  # others may log there what they like
            case {"action": "remove-worker", "worker": str(worker), **more} if not more.get("expected"):
                for listener in list(self._listeners.values()):
                    listener({"died": worker, "keys": more.get("processing-tasks", ())})


def _reason(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
