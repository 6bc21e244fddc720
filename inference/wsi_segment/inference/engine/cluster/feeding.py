"""Feeding a cluster: one task for each item, a bounded number in flight, whatever happens to workers."""

from __future__ import annotations

import logging
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from wsi_segment.errors import RunError, WsiSegmentError
from wsi_segment.inference.engine.cluster.tasks import end_process, stop_run
from wsi_segment.inference.engine.cluster.tickets import LackingModel
from wsi_segment.inference.progress import Watch
from wsi_segment.model.card import Model

if TYPE_CHECKING:
    from wsi_segment.inference.engine.cluster.connection import Connection

log = logging.getLogger(__name__)

DEATHS = 8
"""A region is given up once this many workers have died while they computed it, or twice as many that had it waiting:
which of their tasks they were at is not always known."""
MOST_HANGS = 3
"""A region is given up once it has hung this many times."""
_LIGHT = 2
"""Times as many items in flight where nothing is predicted: they hold no memory, and the more are sent at once, the
less each costs scheduler and client."""
_LOOK_SECONDS = 0.1
_STOP_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Items:
    """What a feeder knows about the items that it feeds."""

    name: str
    """First part of their keys, and of what workers tell of them; says what one is."""
    place: Callable[[int], tuple[int, ...]] = lambda index: ()
    """Returns the rest of the key of one. A scheduler keeps something for ever for each first part, so all share it."""
    windows: Callable[[int], int] = lambda index: 0
    """Returns how many windows one has."""
    count: Callable[[int], None] = lambda windows: None
    """Called from any thread with the number of further windows predicted; 0 as work on them begins, or goes on once
    there are workers again."""
    is_held: Callable[[], bool] | None = None
    """Says whether the run surely holds its output; None where workers need not be told."""


class Feeder:
    """The tasks of one run."""

    def __init__(self, cluster: Connection, token: str, watch: Watch, model: Model, file: str) -> None:
        """Remember the run.

        Args:
            cluster: Where they are computed.
            token: Of the run; part of their keys.
            watch: Ends them when its ``stop`` is set.
            model: Sent to workers that lack it.
            file: Of the model.
        """
        self._cluster, self._token, self._watch, self._model, self._file = cluster, token, watch, model, file
        self._lock = threading.Lock()
        self._begin(Items(""))

    def _begin(self, items: Items) -> None:
        """Know nothing of the items that are fed next; their numbers may be those of others before."""
        self._items = items
        self._hung: deque[tuple[int, tuple[str, int]]] = deque()
        self._hangs: defaultdict[int, set[tuple[str, int]]] = defaultdict(set)
        self._begun = dict[int, str]()
        self._died: deque[tuple[frozenset[int], frozenset[Any]]] = deque()
        self._deaths: Counter[str] = Counter()
        self._blame: Counter[int] = Counter()
        self._given_up: Counter[int] = Counter()
        self._sent: Counter[int] = Counter()
        self._shown: dict[int, int] = {}
        self._works = False

    def run(
        self,
        task: Callable[..., Any],
        numbers: Iterable[int],
        items: Items,
        done: Callable[[int, Any], None],
        **arguments: Any,
    ) -> None:
        """Run a task for each item, and see that each is done, on whichever worker.

        Args:
            task: Called with the number of an item, on a worker.
            numbers: Of the items, in the order in which they are started; asked for as there is room, as there may be
                100,000.
            items: What is known of them.
            done: Called with number and result of each, on this thread.
            arguments: Further ones of the task.

        Raises:
            Cancelled: the run was stopped.
            ClusterLostError: the scheduler went away.
            RunError: an item killed its workers, or hung, again and again; or what the task raised.
        """
        from distributed import as_completed

        self._begin(items)
        waiting, later, flying = deque[int](), iter(numbers), dict[Any, int]()
        loop = self._cluster.client.loop
        finished = as_completed(with_results=True, raise_errors=False, loop=loop)  # type: ignore[no-untyped-call]
        helpers = ThreadPoolExecutor(2, thread_name_prefix="model")
        try:
            self._cluster.listen(self._token, self._hear, items.is_held)
            while True:
                self._watch.check()
                self._cluster.refuse_lost()
                waiting.extend(islice(later, max(0, _LIGHT * self._cluster.share() - len(waiting))))
                if not waiting and not flying:
                    break
                self._send(task, waiting, flying, finished=finished, arguments=arguments)
                batch = self._next(finished)
                self._count_deaths(flying)
                for future, result in batch:
                    index = flying.pop(future)
                    if self._is_done(future, result, index, waiting=waiting, helpers=helpers):
                        self._show(index, items.windows(index))
                        self._shown.pop(index, None)
                        del self._sent[index], self._blame[index]
                        self._begun.pop(index, None)
                        done(index, result)
                self._end_hung()
                self._take_back(flying)
        except BaseException:  # whatever it was, the workers must learn of it
            self._abandon(list(flying))
            raise
        finally:
            self._cluster.stop_listening(self._token)
            helpers.shutdown(wait=False, cancel_futures=True)

    def _send(
        self,
        task: Callable[..., Any],
        waiting: deque[int],
        flying: dict[Any, int],
        finished: Any,
        arguments: dict[str, Any],
    ) -> None:
        share = self._cluster.share()
        if waiting and not self._items.windows(waiting[0]):  # the fullest come first, so all that follow are as it is
            share *= _LIGHT
        room = share - len(flying)
        works = self._cluster.slots() > 0
        if not works:
            self._cluster.wait_for_workers(self._watch)
        elif not self._works:
            self._items.count(0)
        self._works = works
        if not waiting or (room < max(1, share // 4) and flying):
            return
        batch = [waiting.popleft() for _ in range(min(room, len(waiting)))]
        keys = []
        for index in batch:
            self._sent[index] += 1
            self._begun.pop(index, None)
            again = (self._sent[index],) if self._sent[index] > 1 else ()
            keys.append((f"{self._items.name}-{self._token}", *self._items.place(index), *again))
        futures = self._cluster.map(task, batch, keys, arguments)
        flying.update(zip(futures, batch, strict=True))
        finished.update(futures)

    def _next(self, finished: Any) -> list[tuple[Any, Any]]:
        batch: list[tuple[Any, Any]] = finished.next_batch(block=False)
        if not batch:
            with finished.thread_condition:
                finished.thread_condition.wait(_LOOK_SECONDS)
            batch = finished.next_batch(block=False)
        return batch

    def _is_done(self, future: Any, result: Any, index: int, waiting: deque[int], helpers: ThreadPoolExecutor) -> bool:
        """Return whether an item is done; one to be tried again goes to the front of the queue."""
        from distributed import KilledWorker

        if future.status == "finished" and not isinstance(result, LackingModel):
            return True
        if future.status == "finished":
            helpers.submit(self._send_model, result.worker).result()
            waiting.appendleft(index)
            return False
        if future.status == "error":
            error = result[1]
            if not isinstance(error, KilledWorker):
                raise error.with_traceback(result[2])
            self._given_up[index] += 1
            self._refuse_deadly(index, self._given_up[index] * self._cluster.deaths_each)
            waiting.appendleft(index)
            return False
        self._cluster.refuse_lost()  # cancelled: with its scheduler, by this feeder, or by who restarted the workers
        waiting.appendleft(index)
        return False

    def _count_deaths(self, flying: dict[Any, int]) -> None:
        """Blame the deaths of workers on what they were at, and half as much on what waited there."""
        while self._died:
            begun, keys = self._died.popleft()
            had = [index for future, index in flying.items() if future.key in keys]
            at = begun.intersection(had)
            for index in had:
                self._refuse_deadly(index, self._blame[index] + (2 if index in at or not at else 1))

    def _refuse_deadly(self, index: int, blame: int) -> None:
        """Note how much an item is to blame, and give it up in the end.

        Raises:
            RunError: too many workers have died of it.
        """
        self._blame[index] = max(blame, self._blame[index])
        if self._blame[index] >= 2 * DEATHS:
            raise RunError(
                f"{self._called(index)}: the workers that had it died, each time; see their logs. "
                "What is finished is kept, the same command continues"
            )

    def _called(self, index: int) -> str:
        return " ".join([self._items.name, ",".join(map(str, self._items.place(index)))]).strip()

    def _send_model(self, worker: str) -> None:
        try:
            self._cluster.send_model(self._model, self._file, worker)
        except WsiSegmentError:
            raise
        except Exception:  # the worker has ended since then
            log.debug("the model was not sent to %s", worker, exc_info=True)

    def _hear(self, event: dict[str, Any]) -> None:
        if (died := event.get("died")) is not None:
            self._deaths[died] += 1
            at = frozenset(index for index, worker in list(self._begun.items()) if worker == died)
            for index in at:  # by the time that the death is counted another worker may have begun it
                self._begun.pop(index, None)
            self._died.append((at, frozenset(event["keys"])))
            return
        if event["name"] != self._items.name:  # of a task that is over, whatever it still says
            return
        for index, windows, hangs in event["items"]:
            self._begun[index] = event["worker"]
            self._show(index, windows)
            if hangs:
                self._hung.append((index, (event["worker"], self._deaths[event["worker"]])))

    def _show(self, index: int, windows: int) -> None:
        """Count what is new of an item's windows; what is done twice counts once."""
        with self._lock:
            more = windows - self._shown.get(index, 0)
            if more > 0:
                self._shown[index] = windows
        if more > 0:
            self._items.count(more)

    def _end_hung(self) -> None:
        """End the workers on which something hangs: the scheduler gives their work to others.

        A worker that was started again may have the address of the one that has died, and the region may hang there
        too; so a worker is known by its address and the deaths before.
        """
        while self._hung:
            index, hung = self._hung.popleft()
            worker, deaths = hung
            if deaths < self._deaths[worker] or index not in self._sent:  # it has died, or the item is done by now
                continue
            if hung in self._hangs[index]:  # it says so until it ends
                continue
            self._hangs[index].add(hung)
            if len(self._hangs[index]) >= MOST_HANGS:
                raise RunError(
                    f"{self._called(index)}: hung on {MOST_HANGS} workers, the last was {worker}; look at the slide, "
                    "and at what it and the output lie on. What is finished is kept, the same command continues"
                )
            with suppress(OSError):
                self._cluster.run_on(worker, end_process)

    def _take_back(self, flying: dict[Any, int]) -> None:
        """Cancel what the worker that has it has not begun, and does not begin: it is sent anew, to others."""
        if not (stuck := self._cluster.stuck):
            return
        waits = [
            future
            for future, index in flying.items()
            if future.key in stuck and self._begun.get(index) != stuck[future.key]
        ]
        if waits:
            self._cluster.call(lambda client: client.cancel(waits, force=True))

    def _abandon(self, futures: list[Any]) -> None:
        """Tell workers that the run has ended; a worker that misses it drops the run later by itself."""

        def tell() -> None:
            with suppress(Exception):  # without a scheduler there is no way to tell them
                client = self._cluster.client
                client.cancel(futures, force=True, asynchronous=False)
                client.run(stop_run, self._token, on_error="ignore")

        thread = threading.Thread(target=tell, name="abandon", daemon=True)
        thread.start()
        thread.join(_STOP_SECONDS)
