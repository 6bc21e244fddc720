"""The runs that a worker process takes part in: what each needs is opened once, and found again by the run's token."""

from __future__ import annotations

import hashlib
import logging
import pickle
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from wsi_segment.errors import InputError, RunError, SlideError
from wsi_segment.inference.engine.cluster.facts import Choice, refuse_other_versions
from wsi_segment.inference.engine.cluster.lending import OPERATION, Borrower
from wsi_segment.inference.engine.cluster.pulses import Pulse, Pulses, region_limit
from wsi_segment.inference.engine.cluster.tickets import Ticket
from wsi_segment.inference.engine.cluster.tuning import paused_above, turn_down
from wsi_segment.inference.engine.cluster.vouching import Vouched
from wsi_segment.inference.engine.cluster.worker_models import facts_of_this_process, network_for
from wsi_segment.inference.engine.memory import return_freed_memory
from wsi_segment.inference.engine.networks.network import Network
from wsi_segment.inference.engine.prepare import Prepared
from wsi_segment.inference.engine.region_task import RegionTask
from wsi_segment.inference.engine.scheduling.local_threads import LocalRun, as_seen
from wsi_segment.inference.engine.scheduling.scheduler import Order
from wsi_segment.inference.grid.region import Region
from wsi_segment.inference.mask.region_writer import RegionWriter
from wsi_segment.inference.places.object_file import Parts
from wsi_segment.inference.progress import Watch
from wsi_segment.inference.slides.candidate import Known
from wsi_segment.inference.slides.fingerprint import slide_fingerprint
from wsi_segment.inference.slides.location import is_remote
from wsi_segment.inference.slides.open import open_slide
from wsi_segment.inference.slides.slide import Slide
from wsi_segment.inference.slides.slide_files import slide_files, written

if TYPE_CHECKING:
    from wsi_segment.inference.engine.cluster.settling import Settlement

log = logging.getLogger(__name__)

TOPIC = "wsi-segment"
BEAT_SECONDS = 5.0
"""Seconds between two reports of how far a worker's tasks are."""
_IDLE_SECONDS = 120.0
"""Seconds without a request after which a run's slide is closed."""
_MOST_STOPS = 256
"""How many runs that were stopped last are remembered, so that what of them still begins ends at once."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a client leaves for the workers of a run, pickled."""

    order: Order
    choice: Choice
    settlement: Settlement
    writer: RegionWriter


@dataclass(frozen=True, slots=True)
class Finish:
    """What a client leaves for the worker that makes the coarse levels, pickled."""

    choice: Choice
    writer: RegionWriter
    provenance: dict[str, Any]
    slide: Path
    parts: Parts
    """Of a slide that is read over the network."""
    regions: bytes
    """All that are finished, packed."""


@dataclass(slots=True)
class OpenedRun:
    """A slide that is open in this process."""

    slide: Slide
    seen: Slide
    network: Network
    known: Known
    load_seconds: float
    """Seconds that loading and trying the network took."""
    stop: threading.Event
    used: float = field(default_factory=time.monotonic)
    local: LocalRun | None = None
    writer: RegionWriter | None = None


class WorkerRuns:
    """All runs of this process, and a thread that tells of them."""

    def __init__(self) -> None:
        self._runs: dict[str, OpenedRun] = {}
        self._pulses = Pulses()
        self._stops: WeakValueDictionary[str, threading.Event] = WeakValueDictionary()
        self._last_stops: deque[threading.Event] = deque(maxlen=_MOST_STOPS)
        self._locks: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._worker: Any = None

    def lock_of(self, token: str) -> threading.Lock:
        """Return what makes the threads of a process open a run once."""
        with self._lock:
            return self._locks.setdefault(token, threading.Lock())

    def stop_of(self, token: str) -> threading.Event:
        """Return the event that ends a run in this process, which is known as long as it is used, or asked for."""
        with self._lock:
            stop = self._stops.setdefault(token, threading.Event())
            self._last_stops.append(stop)
            return stop

    @contextmanager
    def pulse(self, token: str, name: str, index: int) -> Iterator[Pulse]:
        """Yield the pulse of a task, which must begin with it: whatever it waits for may hang."""
        self._start()
        with self._pulses.of(token, name, index) as pulse:
            try:
                yield pulse
            finally:
                if (opened := self._runs.get(token)) is not None:
                    opened.used = time.monotonic()

    def open(self, token: str, order: Order, choice: Choice, known: Known) -> OpenedRun:
        """Open a slide and load its network, once; see :func:`network_for` and :func:`open_slide`."""
        with self._lock:
            if (there := self._runs.get(token)) is not None:
                return there
        self.refuse_other_versions(choice)
        return_freed_memory()
        kept = network_for(order.model, choice, order.options.batch_size)
        slide = self._open_slide(order, known)
        seen = as_seen(slide, apply_icc=order.options.apply_icc)
        stop = self.stop_of(token)
        opened = OpenedRun(slide, seen, kept.network, known=known, load_seconds=kept.seconds, stop=stop)
        with self._lock:
            self._runs[token] = opened
        return opened

    def find(self, ticket: Ticket) -> OpenedRun:
        """Return a run of this process with everything that its regions need, made where it is not there yet.

        Raises:
            RunError: the plan was not found, or is not the one that was left.
            InputError: this process cannot take part.
        """
        with self.lock_of(ticket.token):
            opened = self._runs.get(ticket.token)
            if opened is None or opened.local is None:
                bundle: Bundle = read_left(ticket)
                settlement, order = bundle.settlement, bundle.order
                prepared = settlement.prepared
                self._refuse_memory(prepared)
                if opened is None:
                    known = settlement.known
                    known.parts.borrow = Borrower(settlement.lender, ticket.token, self._worker)
                    self._refuse_other_slide(order, prepared)
                    opened = self.open(ticket.token, order, bundle.choice, known=known)
                watch = Watch(stop=opened.stop)
                opened.local = LocalRun(
                    prepared,
                    opened.slide,
                    opened.seen,
                    network=opened.network,
                    card=order.model.card,
                    watch=watch,
                    path=order.path,
                    known=opened.known,
                )
                opened.writer = bundle.writer.held_as(Vouched(ticket.token, self._worker))
            opened.used = time.monotonic()
            return opened

    def lend(self, comm: object, token: str, starts: Sequence[int], lengths: Sequence[int]) -> list[bytes | None]:
        """Return parts of a run's slide to another worker, as far as this process has them; Dask calls it."""
        opened = self._runs.get(token)
        if opened is None:
            return [None] * len(starts)
        opened.used = time.monotonic()
        return opened.known.parts.kept.find(starts, lengths)

    def task(self, opened: OpenedRun, pulse: Pulse) -> Callable[[Region], Any]:
        """Return what computes and writes a region, whose pulse counts windows from then on."""
        assert opened.local is not None
        assert opened.writer is not None
        remote = is_remote(opened.local.path) or not opened.writer.store.on_disk
        pulse.renew(region_limit(opened.load_seconds, remote=remote))
        return RegionTask(opened.local.predictor(pulse.count), opened.writer, alive=pulse.renew)

    def refuse_other_versions(self, choice: Choice) -> None:
        """Refuse a run if this process has other versions: it may have joined after all were asked for theirs.

        Raises:
            InputError: one differs; it is named.
        """
        refuse_other_versions(f"worker {self.address}", facts_of_this_process(choice.device).versions, choice.versions)

    def refuse_unseen(self, path: Path) -> None:
        """Refuse to say of a slide that it is still the same where this process cannot see it.

        Raises:
            SlideError: it cannot.
        """
        try:
            if not is_remote(path):
                written(slide_files(path))
        except OSError as error:
            raise self._unseen(f"{path}: cannot be read: {error.strerror}", error) from error
        except SlideError as error:  # such as a folder that is empty there
            raise SlideError(f"worker {self.address}: {error}") from error

    @property
    def address(self) -> str:
        """Of this worker."""
        return "" if self._worker is None else str(self._worker.address)

    def _refuse_memory(self, prepared: Prepared) -> None:
        budget = prepared.plan.budget
        limit = 0 if self._worker is None else paused_above(self._worker)
        threads = self._worker.state.nthreads if self._worker is not None else 1
        wanted = budget.peak_bytes + (threads - budget.workers) * budget.bytes_per_worker
        if limit and wanted > limit:
            raise InputError(
                f"worker {self.address}: a region on each thread ({threads}) takes about {wanted >> 20} MiB in all, "
                f"and Dask pauses it at {limit >> 20} MiB; start workers with fewer threads or more memory, or lower "
                "`batch_size`"
            )

    def _open_slide(self, order: Order, known: Known) -> Slide:
        try:
            return open_slide(order.path, order.options.image, known, keep_tiles=True)
        except SlideError as error:
            if is_remote(order.path) or not isinstance(error.__cause__, OSError):
                raise
            raise self._unseen(str(error), error.__cause__) from error

    def _unseen(self, reason: str, cause: OSError) -> SlideError:
        """Return the error of a slide that other machines may be able to read, and this one is not."""
        line = f"worker {self.address}: {reason}"
        if isinstance(cause, FileNotFoundError | NotADirectoryError):  # of this slide alone, others may be seen
            line += " there; all workers must see the slide under this very path"
        return SlideError(line)

    def _refuse_other_slide(self, order: Order, prepared: Prepared) -> None:
        """Refuse a file that only has the name of the slide that was planned, such as an older copy on this machine."""
        if is_remote(order.path):
            return  # one object for all
        try:
            found = slide_fingerprint(slide_files(order.path))
        except OSError as error:
            raise self._unseen(f"{order.path}: cannot be read: {error.strerror}", error) from error
        if found != prepared.provenance["slide"]["fingerprint"]:
            raise InputError(
                f"worker {self.address}: {order.path} is another file there than where the slide was planned; give all "
                "workers the same slide under this name"
            )

    def _start(self) -> None:
        from distributed import get_worker

        with self._lock:
            if self._thread is None:
                self._worker = get_worker()
                turn_down(self._worker)
                self._worker.handlers[OPERATION] = self.lend
                self._thread = threading.Thread(target=self._beat, name="wsi-segment-pulse", daemon=True)
                self._thread.start()

    def _beat(self) -> None:
        while True:
            time.sleep(BEAT_SECONDS)
            self.tell(time.monotonic())
            try:
                self.close_idle(time.monotonic())
            except Exception as error:  # of one slide: the others are closed the next time
                log.warning("a slide could not be closed: %s: %s", type(error).__name__, error)

    def tell(self, now: float) -> None:
        """Tell clients how far their tasks are and which of them hang; it never fails, as a task may call it."""
        try:
            for (token, name), news in self._pulses.news(now).items():
                told = {"token": token, "worker": self.address, "name": name, "items": news}
                self._worker.log_event(TOPIC, told)
        except Exception as error:  # of a worker that closes: the next may work
            log.warning("runs heard nothing of their tasks: %s: %s", type(error).__name__, error)

    def close_idle(self, now: float) -> None:
        """Close the slides of runs that nothing was asked of for long."""
        for token in list(self._runs):  # which tasks change meanwhile
            lock = self.lock_of(token)
            if not lock.acquire(blocking=False):  # whoever has it may hang, and reports go on
                continue
            try:
                opened = self._runs.get(token)
                if opened is None or self._pulses.has(token) or now - opened.used <= _IDLE_SECONDS:
                    continue
                with self._lock:
                    del self._runs[token]
            finally:
                lock.release()
            opened.slide.close()


def read_left(ticket: Ticket) -> Any:
    """Return what a client left for the workers of a run.

    Raises:
        RunError: it is not there, or something else is.
    """
    left = pickle.loads(ticket.place)
    content = left.read()
    if content is None or hashlib.sha256(content).hexdigest() != ticket.sha256:
        raise RunError(
            f"{left}: a worker did not find what the run left there; workers must reach the output under the very name "
            "that was given, in a folder or bucket that all share"
        )
    return pickle.loads(content)


RUNS = WorkerRuns()
"""Those of this process."""
