"""What the workers of a cluster can do, and the precision that is settled for all of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import reduce

from wsi_segment.errors import InputError, UnfitWorkerError
from wsi_segment.inference.engine.cluster.tuning import installed
from wsi_segment.inference.engine.networks.instructions import multiplies_bytes
from wsi_segment.inference.engine.networks.network import Device, PrecisionChoice
from wsi_segment.inference.engine.networks.precision import Settled, settle_for_processor
from wsi_segment.model.card import ModelCard

PROVIDERS: dict[Device, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "openvino": "OpenVINO CPU",
}


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """The facts that decide how a process computes."""

    versions: Mapping[str, str]
    cuda: bool
    """Whether a GPU and onnxruntime's provider for it are there."""
    multiplies_bytes: bool | None
    """See :func:`~wsi_segment.inference.engine.networks.instructions.multiplies_bytes`."""
    openvino: frozenset[str] = frozenset()
    """OpenVINO's ``OPTIMIZATION_CAPABILITIES`` of the CPU, where it was asked for."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What all workers of a run compute with."""

    device: Device
    """Device as it was requested."""
    settled: Settled
    """Precision and file."""
    providers: tuple[str, ...]
    """Names of what runs the network on the workers, each once, in alphabetical order."""
    versions: Mapping[str, str]
    """Those that all workers must have; of the client too, as far as it has the libraries."""

    @property
    def provider(self) -> str:
        """Name in the provenance."""
        return ", ".join(self.providers)


def facts_here(device: Device) -> WorkerFacts:
    """Return the facts of this process.

    Raises:
        InputError: OpenVINO is asked for and not installed.
    """
    from wsi_segment.inference.engine.networks.onnx_network import choose_provider
    from wsi_segment.inference.engine.provenance import versions

    capable: frozenset[str] = frozenset()
    more: dict[str, str] = {}
    if device == "openvino":
        from wsi_segment.inference.engine.networks.openvino_network import capabilities

        capable, more["openvino"] = capabilities()
    cuda = device in ("auto", "cuda") and choose_provider("auto") == PROVIDERS["cuda"]
    return WorkerFacts(installed() | versions() | more, cuda, multiplies_bytes(), capable)


def settle_for_all(
    card: ModelCard, device: Device, precision: PrecisionChoice, workers: Mapping[str, WorkerFacts]
) -> Choice:
    """Choose the precision that all workers compute in, and the devices on which they do.

    ``auto`` is what :func:`~wsi_segment.inference.engine.networks.precision.settle_for_processor` chooses where all
    workers are alike; where some have a GPU and others none, that of ``model.onnx``.

    Args:
        card: The model's.
        device: Where the network runs; ``auto`` takes a GPU where one is there and computes in the precision.
        precision: As it was asked for.
        workers: By address; at least one.

    Raises:
        InputError: a worker cannot compute in the precision, or has no such device; it is named.
    """
    versions = next(iter(workers.values())).versions
    if device == "openvino":
        from wsi_segment.inference.engine.networks.openvino_network import settle_for_openvino

        capable = reduce(frozenset.intersection, [facts.openvino for facts in workers.values()])
        return Choice(device, settle_for_openvino(precision, card, set(capable)), (PROVIDERS[device],), versions)
    on_gpu = {facts.cuda for facts in workers.values()} if device != "cpu" else {False}
    if precision != "auto":
        chosen = precision
    elif len(on_gpu) == 2:
        chosen = card.precision
    else:
        able = all(facts.multiplies_bytes for facts in workers.values())
        chosen = settle_for_processor("auto", card, gpu=on_gpu == {True}, byte_products=able or None).precision
    used = {}
    for address, facts in workers.items():
        try:
            used[address] = _device_of(facts, card, device, chosen)
        except InputError as error:
            raise InputError(f"worker {address}: {error}") from error
    settled = next(settled for _, settled in used.values())
    return Choice(device, settled, tuple(sorted({PROVIDERS[one] for one, _ in used.values()})), versions)


def device_of(facts: WorkerFacts, card: ModelCard, choice: Choice) -> Device:
    """Return the device on which a worker computes what was settled.

    Raises:
        InputError: it cannot, or only on a device that no worker had when the run started.
    """
    if choice.device == "openvino":
        return "openvino"
    return _device_of(facts, card, asked=choice.device, precision=choice.settled.precision, providers=choice.providers)[
        0
    ]


def _device_of(
    facts: WorkerFacts,
    card: ModelCard,
    asked: Device,
    precision: PrecisionChoice,
    providers: Collection[str] = tuple(PROVIDERS.values()),
) -> tuple[Device, Settled]:
    if asked == "cuda" and not facts.cuda:
        raise InputError("`device` cuda: no GPU, or no onnxruntime that uses it, was found; use auto or cpu")
    candidates: tuple[Device, ...] = ("cuda", "cpu") if asked == "auto" and facts.cuda else ("cpu",)
    if asked == "cuda":
        candidates = ("cuda",)
    problem = InputError(f"`device` {asked}: the run's other workers compute with {', '.join(providers)}")
    for device in candidates:
        if PROVIDERS[device] in providers:
            try:
                gpu = device == "cuda"
                return device, settle_for_processor(precision, card, gpu=gpu, byte_products=facts.multiplies_bytes)
            except InputError as error:
                problem = error
    raise problem


def refuse_other_versions(who: str, theirs: Mapping[str, str], ours: Mapping[str, str]) -> None:
    """Refuse a process that would compute with another version of anything that the provenance names.

    Raises:
        UnfitWorkerError: one differs; it is named.
    """
    for name in sorted(theirs.keys() & ours.keys(), key=lambda name: (name != "wsi-segment", name)):
        if theirs[name] != ours[name]:
            raise UnfitWorkerError(
                f"{who} has {name} {theirs[name]}, this run has {ours[name]}; install one version everywhere"
            )
