"""One slide on a cluster: settled by a task, computed by one task per region."""

from __future__ import annotations

import hashlib
import pickle
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from wsi_segment.errors import InputError, ReplacedSlideError
from wsi_segment.inference.engine.applicability.slide_likeness import Applicability
from wsi_segment.inference.engine.cluster.facts import Choice, settle_for_all
from wsi_segment.inference.engine.cluster.feeding import Feeder, Items
from wsi_segment.inference.engine.cluster.tasks import PLAN, PYRAMID, REGION, compute_region, finish_run, settle_run
from wsi_segment.inference.engine.cluster.tickets import OtherSlide, Ticket
from wsi_segment.inference.engine.cluster.worker_runs import Bundle, Finish
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.inference.engine.provenance import outlines_digest
from wsi_segment.inference.engine.scheduling.scheduler import Order
from wsi_segment.inference.grid.region import Region
from wsi_segment.inference.mask.ledger import FinishedRegion, pack_regions
from wsi_segment.inference.mask.partial import Output
from wsi_segment.inference.mask.region_writer import RegionWriter
from wsi_segment.inference.places.object_file import Parts
from wsi_segment.inference.progress import Progress, Step, Watch
from wsi_segment.inference.slides.fingerprint import slide_fingerprint
from wsi_segment.inference.slides.location import is_remote
from wsi_segment.inference.slides.open import open_slide
from wsi_segment.inference.slides.slide import Slide
from wsi_segment.inference.slides.slide_files import refuse_replaced, slide_files, written

if TYPE_CHECKING:
    from wsi_segment.inference.engine.cluster.connection import Connection
    from wsi_segment.inference.engine.cluster.settling import Settlement


class ClusterRun:
    """A slide that workers have open; see :class:`wsi_segment.inference.engine.scheduling.scheduler.Run`."""

    def __init__(
        self, feeder: Feeder, token: str, order: Order, choice: Choice, settlement: Settlement, here: FilesHere
    ) -> None:
        self._feeder, self._token, self._order, self._choice = feeder, token, order, choice
        self._settlement, self.prepared, self._here = settlement, settlement.prepared, here
        self._slide: Slide | None = None

    @property
    def slide(self) -> Slide:
        """The slide, open in this process, which happens only if it is asked for."""
        if self._slide is None:
            self._slide = open_slide(self._order.path, self._order.options.image)
        return self._slide

    def close(self) -> None:
        """Close what this process opened."""
        if self._slide is not None:
            self._slide.close()

    def compute(
        self,
        output: Output,
        writer: RegionWriter,
        regions: Sequence[Region],
        done: Callable[[FinishedRegion], None],
        count: Callable[[int], None],
    ) -> Applicability | None:
        """See :class:`wsi_segment.inference.engine.scheduling.scheduler.Run`."""
        likeness = self.prepared.likeness
        if not regions:
            return likeness
        ticket = self._leave(output, "plan", Bundle(self._order, self._choice, self._settlement, writer))
        planned = self.prepared.plan.regions
        columns = planned[-1].column + 1
        items = Items(
            REGION,
            place=lambda index: (planned[index].row, planned[index].column),
            windows=lambda index: planned[index].windows,
            count=count,
            is_held=_is_held(output, writer),
        )
        numbers = (region.row * columns + region.column for region in regions)
        self._feeder.run(compute_region, numbers, items, lambda index, finished: done(finished), ticket=ticket)
        return likeness

    def finish(self, output: Output, writer: RegionWriter, provenance: dict[str, Any], step: Step) -> None:
        """See :class:`wsi_segment.inference.engine.scheduling.scheduler.Run`."""
        self._here.refuse_replaced(self._settlement)

        def make(regions: Iterable[FinishedRegion], step: Step) -> Mapping[str, bytes]:
            finish = Finish(
                self._choice,
                writer,
                provenance,
                slide=self._order.path,
                parts=Parts(state=self._settlement.known.parts.state),
                regions=pack_regions(regions),
            )
            ticket, made = self._leave(output, "finished", finish), list[Mapping[str, bytes] | OtherSlide]()
            items = Items(PYRAMID, count=lambda windows: step(0, 0), is_held=_is_held(output, writer))
            self._feeder.run(finish_run, [0], items, lambda index, metadata: made.append(metadata), ticket=ticket)
            if isinstance(made[0], OtherSlide):
                self._here.refuse_at_the_end(self._settlement, made[0])
            return made[0]

        output.finish(provenance, step, make)

    def _leave(self, output: Output, name: str, what: Any) -> Ticket:
        """Leave something for workers beside the output; return what they find it by."""
        content = pickle.dumps(what)
        place = pickle.dumps(output.leave(name, content))
        return Ticket(self._token, place, hashlib.sha256(content).hexdigest())


class FilesHere:
    """The files of an order as this process sees them; other machines may have older copies under their names.

    Where it does not see them, workers alone compare what they see.
    """

    def __init__(self, order: Order) -> None:
        """Look at the slide before anybody opens it."""
        self._order, self._written = order, tuple[tuple[int, int], ...]()
        with suppress(OSError, InputError):
            self._written = () if is_remote(order.path) else written(slide_files(order.path))

    def refuse_others(self, settlement: Settlement) -> None:
        """Refuse a plan that was made from other files.

        Raises:
            InputError: it was; the first of them and the worker are named.
        """
        record = settlement.prepared.provenance
        looks = [(self._order.path, _fingerprint, record["slide"]["fingerprint"])]
        for name, path in _outlines(self._order.options).items():
            looks.append((path, partial(outlines_digest, field=name), record["parameters"][name]))
        for path, digest, planned in looks:
            found = planned
            with suppress(OSError, InputError):  # what is not seen here
                found = planned if is_remote(path) else digest(path)
            if found != planned:
                raise _other(settlement.lender.address, path)

    def refuse_replaced(self, settlement: Settlement) -> None:
        """Refuse a slide that is another one by now; see that function."""
        if self._written:
            fingerprint = settlement.prepared.provenance["slide"]["fingerprint"]
            refuse_replaced(self._order.path, fingerprint, Parts(), self._written)

    def refuse_at_the_end(self, settlement: Settlement, other: OtherSlide) -> NoReturn:
        """Refuse the slide that a worker sees which was to finish the mask.

        Raises:
            InputError: this process still sees the one that was planned; nothing is wrong with what is finished.
            ReplacedSlideError: it may have been replaced for all.
        """
        self.refuse_replaced(settlement)
        if self._written:
            raise _other(other.worker, self._order.path)
        raise ReplacedSlideError(other.reason)


def _other(worker: str, path: Path) -> InputError:
    return InputError(
        f"worker {worker}: {path} is another file there than here; give all machines the same file under this name"
    )


@contextmanager
def open_on_cluster(cluster: Connection, order: Order, watch: Watch) -> Iterator[ClusterRun]:
    """See :meth:`wsi_segment.inference.engine.cluster.connection.Connection.opened`."""
    options = order.options
    for field in ("workers", "memory_limit"):
        if getattr(options, field):
            raise InputError(
                f"`{field}` is of this machine alone, and with `scheduler` others compute: leave it out; "
                "workers of a cluster have theirs from the `dask worker` that starts them"
            )
    token, order = secrets.token_hex(4), _for_others(order)
    facts = cluster.facts(options.device, watch)
    choice = settle_for_all(order.model.card, options.device, options.precision, facts)
    feeder = Feeder(cluster, token, watch, model=order.model, file=choice.settled.file)
    settled: list[Settlement] = []
    here = FilesHere(order)  # only now, as the slide may still be copied while the run waits for workers
    feeder.run(
        settle_run,
        [0],
        Items(PLAN, count=lambda windows: watch.report(Progress("tissue", 0, 0))),
        lambda index, settlement: settled.append(settlement),
        token=token,
        pickled=pickle.dumps((order, choice)),
    )
    here.refuse_others(settled[0])
    run = ClusterRun(feeder, token, order, choice=choice, settlement=settled[0], here=here)
    try:
        yield run
    finally:
        run.close()


def _is_held(output: Output, writer: RegionWriter) -> Callable[[], bool] | None:
    """Return what says whether the output is held, where workers would else ask a bucket for it."""
    return None if writer.store.on_disk else output.is_held


def _for_others(order: Order) -> Order:
    """Return an order whose paths mean the same in another process."""
    options = order.options
    outlines: dict[str, Any] = {name: _anywhere(path) for name, path in _outlines(options).items()}
    model = replace(order.model, folder=order.model.folder.absolute())
    return replace(order, path=_anywhere(order.path), model=model, options=replace(options, **outlines))


def _outlines(options: SegmentOptions) -> dict[str, Path]:
    """Return the files of outlines by the names of their options."""
    named = {"region": options.region, "tissue": options.tissue}
    return {name: path for name, path in named.items() if path is not None and not isinstance(path, str)}


def _fingerprint(path: Path) -> str:
    return slide_fingerprint(slide_files(path))


def _anywhere(path: Path) -> Path:
    return path if is_remote(path) else path.absolute()
