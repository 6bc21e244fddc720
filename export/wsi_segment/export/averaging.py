"""The mean of the weights of networks that were trained further from one.

They lie so close together that their mean computes about what the mean of their answers would, at the price of one
network (Wortsman et al. 2022, "Model soups"); with the network that they began with among them it keeps more of what
that one knew (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models"). Graphs are averaged, in which batch norm
is folded into the convolutions, so that no statistics remain to be measured anew.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from wsi_segment.errors import ModelError
from wsi_segment.export.finished_network import read_starting_point
from wsi_segment.export.graph import to_onnx
from wsi_segment.export.variants import without_earlier_logits
from wsi_segment.model.card import Model, ModelCard, write_card
from wsi_segment.model.training.starting_point import StartingPoint


def read_relatives(source: str, others: Sequence[str]) -> list[StartingPoint]:
    """Read a network and those that it is to be averaged with.

    Args:
        source: Name or folder of a model, or folder of a training run; the first of what is returned.
        others: The same, of the rest.

    Raises:
        ModelError: they do not all come from one network, so that equal places in them mean different things; or one
            cannot be read, see :func:`read_starting_point`.
        OutputError: a run has no validated checkpoint yet.
    """
    first, *rest = found = [read_starting_point(one) for one in (source, *others)]
    if len({one.origin.sha256 for one in found}) < len(found):
        raise ModelError(f"{', '.join((source, *others))}: one is named twice; name each once")
    common = first.family
    for name, one in zip(others, rest, strict=True):
        common &= one.family
        if not common:
            raise ModelError(
                f"{name}: not trained further from the network that {source} comes from, so the mean of their weights "
                "would mean nothing; give trainings that began with one model or run, and that one"
            )
    return found


def average(model: Model, networks: Sequence[StartingPoint]) -> Model:
    """Put the mean of the weights of networks into ``model.onnx``, in place.

    Weights are float32, and their mean is taken in float64. Other files are dropped, and figures, since classes change.

    Args:
        model: A folder of the first network.
        networks: Of one family, see :func:`read_relatives`.
    """
    graph, *_ = graphs = [to_onnx(one.network) for one in networks]  # of one exporter, so that names are the same
    stored = [{one.name: one for one in each.graph.initializer} for each in graphs]
    for name, weights in stored[0].items():
        if weights.data_type == TensorProto.FLOAT:
            values = np.stack([numpy_helper.to_array(each[name]) for each in stored])
            mean = np.asarray(values.mean(axis=0, dtype=np.float64), np.float32)
            weights.CopyFrom(numpy_helper.from_array(mean, name))
    onnx.save(graph, model.weights())
    card = _card_of_mean(without_earlier_logits(model), networks[1:])
    write_card(card, model.folder)
    return Model(model.folder, card)


def _card_of_mean(card: ModelCard, others: Sequence[StartingPoint]) -> ModelCard:
    """Say what a mean was made of, what all that was trained on, and who made that."""
    data, licenses, authors = card.training_data, [card.license], [card.attribution]
    for origin in (one.origin for one in others):
        known = origin.training_data in data
        data += f"; averaged with {origin.name}" + ("" if known else f" ({origin.training_data})")
        licenses.append(origin.license)
        if not any(origin.attribution in text for text in authors):
            authors.append(origin.attribution)
    return card.model_copy(
        update={
            "averaged_with": (
                *(card.averaged_with or ()),
                *({"name": one.origin.name, "sha256": one.origin.sha256} for one in others),
            ),
            "training_data": data,
            "license": "; of weights that it is averaged with: ".join(dict.fromkeys(licenses)),
            "attribution": "; ".join(text for text in authors if text),
            "metrics": {},
        }
    )
