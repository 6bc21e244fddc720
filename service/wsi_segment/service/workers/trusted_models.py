"""The models that a server runs: the bundled ones and those of its models folder, after a check of each graph."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wsi_segment.errors import ModelError
from wsi_segment.model.card import CARD_FILE, DEFAULT_MODEL, Model, bundled_models, find_model

OP_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
"""Domains of the operators that onnxruntime itself has."""


class UnknownModelError(ModelError):
    """No model of that name is served."""


class TrustedModels:
    """Models by name. Clients name them and never send them."""

    def __init__(self, folder: Path | None) -> None:
        """Read all cards.

        Raises:
            ModelError: the folder is missing, a card is damaged, or two models share a name.
        """
        if folder is not None and not folder.is_dir():
            raise ModelError(f"`models` {folder}: no such folder")
        self._checked: set[str] = set()
        self._models: dict[str, Model] = {name: find_model(path) for name, path in bundled_models().items()}
        for path in sorted(folder.iterdir()) if folder is not None else ():
            if (path / CARD_FILE).is_file():
                model = find_model(path)
                if model.card.name in self._models:
                    raise ModelError(f"{path}: a model called {model.card.name} already exists; rename one")
                self._models[model.card.name] = model

    def check(self) -> None:
        """Check all graphs, see :func:`check_graphs`; without this call each is checked when it is first used."""
        for name in self._models:
            self.get(name)

    @property
    def folders(self) -> tuple[Path, ...]:
        """Folders of the models, which clients are not told."""
        return tuple(model.folder for model in self._models.values())

    def __len__(self) -> int:
        return len(self._models)

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models.values())

    def get(self, name: str | None) -> Model:
        """Return the model with a name, or the default for None.

        Raises:
            UnknownModelError: no model has it.
            ModelError: the model is damaged, or not to be trusted.
        """
        found = self._models.get(DEFAULT_MODEL if name is None else name)
        if found is None:
            raise UnknownModelError(f"model {name!r} is unknown; choose one of: {', '.join(self._models)}")
        if found.card.name not in self._checked:
            check_graphs(found)
            self._checked.add(found.card.name)
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
