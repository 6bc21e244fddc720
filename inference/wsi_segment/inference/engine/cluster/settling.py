"""Opening and planning a slide on a worker."""

from __future__ import annotations

from dataclasses import dataclass, replace

from wsi_segment.inference.engine.cluster.facts import Choice
from wsi_segment.inference.engine.cluster.lending import Lender
from wsi_segment.inference.engine.cluster.pulses import LivelyStop, Pulse
from wsi_segment.inference.engine.cluster.tasks import lacking
from wsi_segment.inference.engine.cluster.tickets import LackingModel
from wsi_segment.inference.engine.cluster.worker_models import ModelMissingError
from wsi_segment.inference.engine.cluster.worker_runs import RUNS
from wsi_segment.inference.engine.networks.network import LoadedNetwork
from wsi_segment.inference.engine.prepare import Prepared, prepare
from wsi_segment.inference.engine.scheduling.scheduler import Order
from wsi_segment.inference.progress import Watch
from wsi_segment.inference.slides.candidate import Known
from wsi_segment.model.card import Precision

_ANY_MEMORY = 1 << 62
"""Bytes. What is free on one machine has no say in how a slide is divided; each worker looks at its own."""


@dataclass(frozen=True, slots=True)
class _Facts:
    """What a run records of networks on several machines."""

    provider: str
    precision: Precision
    file: str
    versions: dict[str, str]
    batch: int | None


@dataclass(frozen=True, slots=True)
class Settlement:
    """What one worker settles for all."""

    prepared: Prepared
    known: Known
    """See :func:`wsi_segment.inference.slides.open.open_slide`."""
    lender: Lender
    """The worker that settled it, and what it has of the slide; nothing of one that is no object in a bucket."""


def settle(pulse: Pulse, order: Order, choice: Choice) -> Settlement | LackingModel:
    """Settle a run, and leave the slide open for its regions; see :func:`wsi_segment.inference.engine.prepare.prepare`.

    Args:
        pulse: Of the task.
        order: What it is made from.
        choice: What all workers compute with.
    """
    with RUNS.lock_of(pulse.token):
        try:
            opened = RUNS.open(pulse.token, order, choice, known=Known())
        except ModelMissingError:
            return lacking()
    pulse.renew()
    network: LoadedNetwork = opened.network  # type: ignore[assignment]  # of the model, as `open` loads it

    def load() -> _Facts:
        return _Facts(choice.provider, network.precision, network.file, versions=network.versions, batch=network.batch)

    prepared = prepare(
        opened.seen,
        path=order.path,
        model=order.model,
        options=replace(order.options, memory_limit=_ANY_MEMORY, workers=1),
        known=opened.known,
        load=load,
        watch=Watch(stop=LivelyStop(opened.stop, pulse)),
        started=order.started,
    )
    return Settlement(prepared, opened.known, Lender(RUNS.address, opened.known.parts.kept.spans()))
