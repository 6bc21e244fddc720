"""The models that a server runs: the bundled ones and those of its models folder, after a check of each graph."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from wsi_segment.errors import ModelError
from wsi_segment.model.card import CARD_FILE, DEFAULT_MODEL, Model, bundled_models, find_model
from wsi_segment.service.folders.file_looks import FileLooks, HangsError

OP_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
"""Domains of the operators that onnxruntime itself has."""

log = logging.getLogger(__name__)


class UnknownModelError(ModelError):
    """No model of that name is served."""


class TrustedModels:
    """Models by name, as their folders have them now. Clients name them and never send them."""

    def __init__(self, folder: Path | None, looks: FileLooks | None = None) -> None:
        """Read all cards.

        Args:
            folder: Of the model folders, besides the bundled models.
            looks: Looks into it for callers that must not hang; None to look at once.

        Raises:
            ModelError: the folder is missing, a card is damaged, or two models share a name.
        """
        if folder is not None and not folder.is_dir():
            raise ModelError(f"`models` {folder}: no such folder")
        self._folder, self._looks = folder, looks
        self._lock = threading.Lock()
        self._checked: set[tuple[str, str]] = set()
        self._bundled: dict[str, Model] = {name: find_model(path) for name, path in bundled_models().items()}
        self._read: dict[Path, tuple[str, Model | None]] = {}
        self._faults: dict[Path, ModelError] = {}
        self._models: dict[str, Model] = {}
        self._refresh()
        if self._faults:
            raise next(iter(self._faults.values()))

    def check(self) -> None:
        """Check all graphs, see :func:`check_graphs`; without this call each is checked when it is first used."""
        for name in self._models:
            self.get(name)

    @property
    def folders(self) -> tuple[Path, ...]:
        """Folders of the models, which clients are not told."""
        return tuple(model.folder for model in self._models.values())

    @property
    def away(self) -> bool:
        """Whether the folder of the models is missing at present."""
        return self._folder is not None and not self._folder.is_dir()

    def __len__(self) -> int:
        return len(self._models)

    def __iter__(self) -> Iterator[Model]:
        self._refresh()
        return iter(list(self._models.values()))

    def get(self, name: str | None) -> Model:
        """Return the model with a name, or the default for None; one that was exported again as it is now.

        Raises:
            UnknownModelError: no model has it.
            ModelError: the model is damaged, or not to be trusted.
        """
        self._refresh()
        found = self._models.get(DEFAULT_MODEL if name is None else name)
        if found is None:
            raise UnknownModelError(f"model {name!r} is unknown; choose one of: {', '.join(self._models)}")
        identity = (found.card.name, str(sorted(found.card.files.items())))
        if identity not in self._checked:
            check_graphs(found)
            self._checked.add(identity)
        return found

    def _refresh(self) -> None:
        """Read the cards that came or changed; one that is damaged is said once, and its model not served."""
        if self._folder is None:
            self._models = self._bundled
            return
        try:
            seen = _cards(self._folder) if self._looks is None else self._looks.call("models", _cards, self._folder)
        except (OSError, HangsError):
            return  # the folder is away for a moment: what was read last counts
        with self._lock:
            for path, state in seen.items():
                if self._read.get(path, ("",))[0] != state:
                    self._read[path] = (state, self._read_one(path))
            models = dict(self._bundled)
            for path in seen:
                model = self._read[path][1]
                if model is None:
                    continue
                if model.card.name in models:
                    self._blame(path, f"{path}: a model called {model.card.name} already exists; rename one")
                    continue
                models[model.card.name] = model
            self._models = models

    def _read_one(self, path: Path) -> Model | None:
        self._faults.pop(path, None)
        try:
            return find_model(path)
        except ModelError as error:
            self._blame(path, str(error))
            return None

    def _blame(self, path: Path, reason: str) -> None:
        if path not in self._faults:
            self._faults[path] = ModelError(reason)
            log.error("a model is not served: %s", reason)


def _cards(folder: Path) -> dict[Path, str]:
    """Return the model folders in a folder, with what changes when a card does."""
    found = {}
    for path in sorted(folder.iterdir()):
        with suppress(OSError):  # one that is being written or removed
            state = (path / CARD_FILE).stat()
            found[path] = f"{state.st_mtime_ns} {state.st_ctime_ns} {state.st_ino} {state.st_size}"
    return found


def check_graphs(model: Model) -> None:
    """Refuse a model of which a graph could reach beyond its own file, before onnxruntime loads any.

    Raises:
        ModelError: the file is not ONNX, uses operators of other libraries, or keeps weights in other files.
    """
    for file in model.card.files:
        _check_graph(model.weights(file))


def _check_graph(path: Path) -> None:
    import onnx

    try:
        graph = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's errors have no common type of their own
        raise ModelError(f"{path}: not an ONNX file; export the model again") from error
    if not graph.graph.node:
        raise ModelError(f"{path}: not an ONNX file; export the model again")
    domains = {entry.domain for entry in graph.opset_import} | {function.domain for function in graph.functions}
    nodes = [node for part in (graph.graph, *graph.functions) for node in _nodes(part)]
    foreign = sorted((domains | {node.domain for node in nodes}) - OP_DOMAINS)
    if foreign:
        raise ModelError(f"{path}: uses operators of {foreign[0]!r}, which are not served; export the model again")
    tensors = [*_tensors(graph.graph), *(one for node in nodes for one in _node_tensors(node))]
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data for tensor in tensors):
        raise ModelError(f"{path}: keeps weights in other files; export it whole")


def _nodes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _nodes(inner)


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)


def _node_tensors(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        yield from ([attribute.t] if attribute.HasField("t") else [])
        yield from attribute.tensors
        for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            yield from _tensors(inner)
