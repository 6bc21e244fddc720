"""The tasks of a run. A scheduler imports this module, so the engine is loaded where a task is run, not before."""

from __future__ import annotations

import os
import pickle
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wsi_segment.errors import ReplacedSlideError, RunError, WsiSegmentError
from wsi_segment.inference.engine.cluster.tickets import LackingModel, OtherSlide, Ticket

if TYPE_CHECKING:
    from wsi_segment.inference.engine.cluster.facts import WorkerFacts
    from wsi_segment.inference.engine.cluster.settling import Settlement
    from wsi_segment.inference.mask.ledger import FinishedRegion

PLAN, REGION, PYRAMID = "plan", "region", "pyramid"
"""What the tasks of a run are called, in their keys and in what is told of them."""


def find_facts(device: Any) -> WorkerFacts:
    """Return what bears on how this process computes."""
    from wsi_segment.inference.engine.cluster.worker_models import facts_of_this_process

    return facts_of_this_process(device)


def settle_run(index: int, token: str, pickled: bytes) -> Settlement | LackingModel:
    """Open a slide, find its tissue and plan its regions.

    Args:
        index: Of the task; 0.
        token: Of the run.
        pickled: Order and choice; a scheduler does not look into bytes.
    """
    from wsi_segment.inference.engine.cluster.settling import settle
    from wsi_segment.inference.engine.cluster.worker_runs import RUNS

    with RUNS.pulse(token, PLAN, index) as pulse:
        return settle(pulse, *pickle.loads(pickled))


def compute_region(index: int, ticket: Ticket) -> FinishedRegion | LackingModel:
    """Compute and write a region, and record that it is finished.

    Args:
        index: Of the region in the plan.
        ticket: Of the run.
    """
    from wsi_segment.inference.engine.cluster.worker_models import ModelMissingError
    from wsi_segment.inference.engine.cluster.worker_runs import RUNS

    with RUNS.pulse(ticket.token, REGION, index) as pulse:
        try:
            opened = RUNS.find(ticket)
        except ModelMissingError:
            return lacking()
        assert opened.local is not None
        region = opened.local.prepared.plan.regions[index]
        if region.windows:
            RUNS.tell(time.monotonic())  # so that it is known what this process was at, if it dies
        try:
            finished: FinishedRegion = RUNS.task(opened, pulse)(region)
        except (WsiSegmentError, OSError, MemoryError):
            raise
        except Exception as error:  # a boundary: what cannot be pickled would never reach the client
            text = " ".join(str(error).split())[:300]
            raise RunError(f"region {region.key}: {type(error).__name__} on worker {RUNS.address}: {text}") from None
        return finished


def finish_run(index: int, ticket: Ticket) -> Mapping[str, bytes] | OtherSlide:
    """Make the coarse levels of a mask, and return its metadata by key.

    Args:
        index: Of the task; 0.
        ticket: Of what the client left.

    Raises:
        InputError: this process cannot take part.
    """
    from distributed import get_worker

    from wsi_segment.inference.engine.cluster.pulses import LivelyStop
    from wsi_segment.inference.engine.cluster.vouching import Vouched
    from wsi_segment.inference.engine.cluster.worker_runs import RUNS, Finish, read_left
    from wsi_segment.inference.mask.ledger import unpack_regions
    from wsi_segment.inference.progress import Watch
    from wsi_segment.inference.slides.slide_files import refuse_replaced

    with RUNS.pulse(ticket.token, PYRAMID, index) as pulse:
        watch = Watch(stop=LivelyStop(RUNS.stop_of(ticket.token), pulse))
        left: Finish = read_left(ticket)
        RUNS.refuse_other_versions(left.choice)
        RUNS.refuse_unseen(left.slide)
        try:
            refuse_replaced(left.slide, left.provenance["slide"]["fingerprint"], left.parts)
        except ReplacedSlideError as error:  # by now, or this machine has had another one all the time
            return OtherSlide(RUNS.address, str(error))
        regions, store = unpack_regions(left.regions), left.writer.store
        store = store.held_as(Vouched(ticket.token, get_worker()))
        try:
            for region in regions:
                store.keep(region)
            return store.finish(regions, left.provenance, watch.step("pyramid"))
        finally:
            store.close()


def stop_run(token: str) -> None:
    """End what this process does for a run."""
    from wsi_segment.inference.engine.cluster.worker_runs import RUNS

    RUNS.stop_of(token).set()


def end_process() -> None:
    """End this process at once: nothing else ends a thread that hangs. A nanny starts another."""
    threading.Timer(0.2, os._exit, (70,)).start()


def lacking() -> LackingModel:
    """Say that this machine lacks the model."""
    from distributed import get_worker

    return LackingModel(get_worker().address)
