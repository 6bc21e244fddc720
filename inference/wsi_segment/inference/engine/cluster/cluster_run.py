"""One slide on a cluster: settled by a task, computed by one task per region."""

from __future__ import annotations

import hashlib
import pickle
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsi_segment.errors import InputError
from wsi_segment.inference.engine.applicability.slide_likeness import Applicability
from wsi_segment.inference.engine.cluster.facts import Choice, settle_for_all
from wsi_segment.inference.engine.cluster.feeding import Feeder, Items
from wsi_segment.inference.engine.cluster.tasks import compute_region, finish_run, settle_run
from wsi_segment.inference.engine.cluster.tickets import Ticket
from wsi_segment.inference.engine.cluster.worker_runs import Bundle
from wsi_segment.inference.engine.scheduling.scheduler import Order
from wsi_segment.inference.grid.region import Region
from wsi_segment.inference.mask.ledger import FinishedRegion, pack_regions
from wsi_segment.inference.mask.mask import Mask
from wsi_segment.inference.mask.partial import Output
from wsi_segment.inference.mask.region_writer import RegionWriter
from wsi_segment.inference.places.object_file import Parts
from wsi_segment.inference.progress import Step, Watch
from wsi_segment.inference.slides.location import is_remote
from wsi_segment.inference.slides.open import open_slide
from wsi_segment.inference.slides.slide import Slide

if TYPE_CHECKING:
    from wsi_segment.inference.engine.cluster.connection import Cluster
    from wsi_segment.inference.engine.cluster.settling import Settlement


class ClusterRun:
    """A slide that workers have open; see :class:`wsi_segment.inference.engine.scheduling.scheduler.Run`."""

    def __init__(self, feeder: Feeder, token: str, order: Order, choice: Choice, settlement: Settlement) -> None:
        self._feeder, self._token, self._order, self._choice = feeder, token, order, choice
        self._settlement, self.prepared = settlement, settlement.prepared
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
            "region",
            place=lambda index: (planned[index].row, planned[index].column),
            windows=lambda index: planned[index].windows,
            count=count,
        )
        numbers = (region.row * columns + region.column for region in regions)
        self._feeder.run(compute_region, numbers, items, lambda index, finished: done(finished), ticket=ticket)
        return likeness

    def finish(self, output: Output, writer: RegionWriter, provenance: dict[str, Any], step: Step) -> Mask:
        """See :class:`wsi_segment.inference.engine.scheduling.scheduler.Run`."""

        def make(regions: Iterable[FinishedRegion], step: Step) -> Mapping[str, bytes]:
            step(0, 0)
            slide = self._order.path, Parts(tag=self._settlement.known.parts.tag)
            finished = writer, provenance, slide, pack_regions(regions)
            ticket, made = self._leave(output, "finished", finished), dict[str, bytes]()
            self._feeder.run(
                finish_run, [0], Items("pyramid"), lambda index, metadata: made.update(metadata), ticket=ticket
            )
            return made

        return output.finish(provenance, step, make)

    def _leave(self, output: Output, name: str, what: Any) -> Ticket:
        """Leave something for workers beside the output; return what they find it by."""
        content = pickle.dumps(what)
        place = pickle.dumps(output.leave(name, content))
        return Ticket(self._token, place, hashlib.sha256(content).hexdigest())


@contextmanager
def open_on_cluster(cluster: Cluster, order: Order, watch: Watch) -> Iterator[ClusterRun]:
    """See :meth:`wsi_segment.inference.engine.cluster.connection.Cluster.opened`."""
    options = order.options
    for field, value in (("workers", options.workers), ("memory_limit", options.memory_limit)):
        if value:
            raise InputError(f"`{field}` {value}: is of this machine alone, and with `scheduler` others compute")
    token, order = secrets.token_hex(4), _for_others(order)
    facts = cluster.facts(options.device, watch)
    choice = settle_for_all(order.model.card, options.device, options.precision, facts)
    feeder = Feeder(cluster, token, watch, model=order.model, file=choice.settled.file)
    settled: list[Settlement] = []
    feeder.run(
        settle_run,
        [0],
        Items("plan"),
        lambda index, settlement: settled.append(settlement),
        token=token,
        pickled=pickle.dumps((order, choice)),
    )
    run = ClusterRun(feeder, token, order, choice=choice, settlement=settled[0])
    try:
        yield run
    finally:
        run.close()


def _for_others(order: Order) -> Order:
    """Return an order whose paths mean the same in another process."""
    options = order.options
    outlines: dict[str, Any] = {
        name: _anywhere(path)
        for name, path in (("tissue", options.tissue), ("region", options.region))
        if path is not None and not isinstance(path, str)
    }
    model = replace(order.model, folder=order.model.folder.absolute())
    return replace(order, path=_anywhere(order.path), model=model, options=replace(options, **outlines))


def _anywhere(path: Path) -> Path:
    return path if is_remote(path) else path.absolute()
