"""The models that a worker has: of its own machine, and those that clients sent to it."""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wsi_segment.errors import ModelError
from wsi_segment.files import replacing
from wsi_segment.inference.engine.cluster.facts import Choice, WorkerFacts, device_of, facts_here
from wsi_segment.inference.engine.networks.network import LoadedNetwork, load_network
from wsi_segment.model.card import Model, bundled_models, sha256_of

_MOST_NETWORKS = 2
"""Number of networks that a process keeps loaded."""


class ModelMissingError(ModelError):
    """The file of a model is not on this machine."""


@dataclass(frozen=True, slots=True)
class KeptNetwork:
    """A network of this process."""

    network: LoadedNetwork
    seconds: float
    """Seconds that loading and trying it took."""


_networks: dict[tuple[str, str, str, int], KeptNetwork] = {}
_facts: dict[str, WorkerFacts] = {}
_loading = threading.Lock()
_looking = threading.Lock()
"""Apart from the other one, as Dask asks for facts on the thread that tells the scheduler that the worker is alive."""


def network_for(model: Model, choice: Choice, batch_size: int) -> KeptNetwork:
    """Return the network of a run, loaded once in this process for each card, which tells what enters its graph.

    Raises:
        ModelMissingError: its file is not on this machine.
        InputError: this process cannot compute what was settled.
    """
    from wsi_segment.inference.engine.provenance import card_digest

    facts = facts_of_this_process(choice.device)
    with _loading:
        device = device_of(facts, model.card, choice)
        key = (card_digest(model.card, choice.settled.file), device, choice.settled.precision, batch_size)
        if key not in _networks:
            here = replace(model, folder=_find(model, choice.settled.file))
            started = time.monotonic()
            network = load_network(here, device, choice.settled.precision, batch_size)
            while len(_networks) >= _MOST_NETWORKS:
                del _networks[next(iter(_networks))]
            _networks[key] = KeptNetwork(network, time.monotonic() - started)
        return _networks[key]


def facts_of_this_process(device: Any) -> WorkerFacts:
    """Return what :func:`~wsi_segment.inference.engine.cluster.facts.facts_here` found, looking once."""
    with _looking:
        if device not in _facts:
            _facts[device] = facts_here(device)
        return _facts[device]


def receive_model(card_files: dict[str, str], contents: dict[str, bytes], dask_worker: Any) -> None:
    """Keep files of a model that a client sent, if they are what its card says.

    Args:
        card_files: The card's ``files``: the sha256 of each, by name.
        contents: Bytes by name.
        dask_worker: Dask passes it itself; the files are kept in its own folder.
    """
    for name, content in contents.items():
        if hashlib.sha256(content).hexdigest() != card_files[name]:
            raise ModelError(f"{name}: arrived damaged")
        with replacing(_kept_in(Path(dask_worker.local_directory), card_files[name]) / name, shared=True) as file:
            file.write(content)


def _find(model: Model, file: str) -> Path:
    """Return a folder of this machine with the very file of a model."""
    from distributed import get_worker

    wanted = model.card.files[file]
    kept = _kept_in(Path(get_worker().local_directory), wanted)
    for folder in (model.folder, *bundled_models().values(), kept):
        path = folder / file
        if path.is_file() and sha256_of(path) == wanted:
            return folder
    raise ModelMissingError(f"{model.card.name}: {file} is not on this machine")


def _kept_in(local: Path, sha256: str) -> Path:
    return local / "wsi-segment-models" / sha256
