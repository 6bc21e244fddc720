"""Regions on the threads of this process: Dask's, one task per region."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsi_segment.inference.engine.applicability.slide_likeness import Applicability, FieldSurvey
from wsi_segment.inference.engine.networks.network import LoadedNetwork, Network, load_network
from wsi_segment.inference.engine.predict import RegionPredictor
from wsi_segment.inference.engine.prepare import Prepared, prepare
from wsi_segment.inference.engine.region_task import RegionTask
from wsi_segment.inference.engine.scheduling.scheduler import Order
from wsi_segment.inference.grid.box import Box
from wsi_segment.inference.grid.region import Region
from wsi_segment.inference.mask.ledger import FinishedRegion
from wsi_segment.inference.mask.partial import Output
from wsi_segment.inference.mask.region_writer import RegionWriter
from wsi_segment.inference.progress import OwnStop, Step, Watch
from wsi_segment.inference.slides.candidate import Known
from wsi_segment.inference.slides.open import open_slide
from wsi_segment.inference.slides.pixels import PixelSource
from wsi_segment.inference.slides.readers.icc import ColourManaged
from wsi_segment.inference.slides.readers.scaled import with_scaled_levels
from wsi_segment.inference.slides.slide import Slide
from wsi_segment.inference.slides.slide_files import refuse_replaced
from wsi_segment.model.card import ModelCard


@dataclass(frozen=True, slots=True)
class LocalRun:
    """A slide that is open in this process, and what computes its regions."""

    prepared: Prepared
    slide: Slide
    """As the file has it."""
    seen: Slide
    """With the levels and colours that the network is shown."""
    network: Network
    card: ModelCard
    watch: Watch
    path: Path
    known: Known

    def predictor(
        self, count: Callable[[int], None], after: Callable[[Box], None] = lambda m_box: None
    ) -> RegionPredictor:
        """Return what computes a region; safe to call from several threads.

        Args:
            count: Called with the number of further windows predicted.
            after: Called with each box that was predicted.
        """
        prepared = self.prepared
        return RegionPredictor(
            source=PixelSource(self.seen, prepared.frame),
            lattice=prepared.lattice,
            tissue=prepared.tissue,
            network=self.network,
            card=self.card,
            batch_size=prepared.batch_size,
            band_rows=prepared.plan.budget.band_rows,
            count=count,
            after=after,
            stop=self.watch.stop,
        )

    def compute(
        self,
        output: Output,
        writer: RegionWriter,
        regions: Sequence[Region],
        done: Callable[[FinishedRegion], None],
        count: Callable[[int], None],
    ) -> Applicability | None:
        """See :class:`wsi_segment.inference.engine.scheduling.scheduler.Run`."""
        prepared, survey = self.prepared, None
        if prepared.likeness is None:
            source = PixelSource(self.seen, prepared.frame)
            survey = FieldSurvey(source, prepared.tissue, self.card, mpp=prepared.size.mpp, stop=self.watch.stop)
        predictor = self.predictor(count) if survey is None else self.predictor(count, survey.look_within)
        task, workers = RegionTask(predictor, writer), prepared.plan.budget.workers
        run_tasks(task, regions, workers=workers, done=done, stop=self.watch.stop)
        return prepared.likeness if survey is None else survey.finish()

    def finish(self, output: Output, writer: RegionWriter, provenance: dict[str, Any], step: Step) -> None:
        """See :class:`wsi_segment.inference.engine.scheduling.scheduler.Run`."""
        refuse_replaced(self.path, provenance["slide"]["fingerprint"], self.known.parts, self.known.written)
        output.finish(provenance, step)


class LocalThreads:
    """The scheduler of a run on one machine: as many threads as its budget allows."""

    def __init__(self, network: Network | None = None) -> None:
        """Remember what takes the place of the model's weights, if anything does."""
        self._network = network

    @contextmanager
    def opened(self, order: Order, watch: Watch) -> Iterator[LocalRun]:
        """See :class:`wsi_segment.inference.engine.scheduling.scheduler.Scheduler`."""
        options, given, known = order.options, self._network, Known()
        watch = Watch(watch.report, OwnStop(watch.stop))
        slide = open_slide(order.path, options.image, known, keep_tiles=True)
        try:
            seen = as_seen(slide, apply_icc=options.apply_icc)
            loaded: LoadedNetwork | None = None

            def load() -> LoadedNetwork | None:
                nonlocal loaded
                if given is None:
                    loaded = load_network(order.model, options.device, options.precision, options.batch_size)
                return loaded

            prepared = prepare(
                seen,
                path=order.path,
                model=order.model,
                options=options,
                look=False,
                known=known,
                load=load,
                watch=watch,
                started=order.started,
            )
            network = given or loaded
            assert network is not None
            yield LocalRun(
                prepared,
                slide,
                seen=seen,
                network=network,
                card=order.model.card,
                watch=watch,
                path=order.path,
                known=known,
            )
        finally:
            slide.close()


def as_seen(slide: Slide, *, apply_icc: bool) -> Slide:
    """Return a slide with the levels and colours that the network is shown."""
    scaled = with_scaled_levels(slide)
    return ColourManaged(scaled) if apply_icc else scaled


def run_tasks(
    task: Callable[[Region], FinishedRegion],
    regions: Sequence[Region],
    workers: int,
    done: Callable[[FinishedRegion], None],
    stop: threading.Event,
) -> None:
    """Run a task for each region; the first failure stops the others and is raised.

    Args:
        task: Called on worker threads.
        regions: In the order in which they are started.
        workers: Number of threads.
        done: Called with each result as it comes, on the thread that has it, never on two at once.
        stop: Set here when something failed, so that running tasks end soon.
    """
    if not regions:
        return
    from dask.base import compute  # loaded once pixels are there to be computed, not to look at a slide
    from dask.delayed import delayed
    from dask.threaded import get

    lock = threading.Lock()

    def run(region: Region) -> None:
        finished = task(region)
        with lock:
            done(finished)

    start, count = delayed(run, traverse=False), len(regions)
    # Dask starts independent tasks by their names, the last one first
    calls = [start(region, dask_key_name=f"region-{count - index:08d}") for index, region in enumerate(regions)]
    with ThreadPoolExecutor(workers, thread_name_prefix="region") as pool:
        try:
            # by its name Dask would load dask.distributed first, to look for a cluster
            compute(*calls, scheduler=get, pool=pool, num_workers=workers, optimize_graph=False)  # type: ignore[no-untyped-call]
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
