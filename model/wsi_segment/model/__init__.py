"""Training, datasets and model cards from Python.

    >>> from wsi_segment.model import find_model, make_recipe
    >>> find_model("colorectal-biopsy").card.mpp
    1.0
    >>> make_recipe("modern", {"steps": 400}).steps
    400

Names are loaded when they are first used: importing this module loads no library, and PyTorch (``pip install
wsi-segment[train]``) is needed for :func:`train` alone. A manifest whose images are whole slides is read by
:func:`wsi_segment.inference.evaluation.slide_dataset.read_training_data`, which needs the readers of slides.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsi_segment.model.card import Model, ModelCard, SegmentClass, find_model, read_card, write_card
    from wsi_segment.model.data.dataset import Dataset, Item
    from wsi_segment.model.data.loaders.manifest import read_dataset
    from wsi_segment.model.training.label_shares import LabelSetting
    from wsi_segment.model.training.recipe import Recipe, make_recipe
    from wsi_segment.model.training.train import TrainingProgress, train

__all__ = [
    "Dataset",
    "Item",
    "LabelSetting",
    "Model",
    "ModelCard",
    "Recipe",
    "SegmentClass",
    "TrainingProgress",
    "find_model",
    "make_recipe",
    "read_card",
    "read_dataset",
    "train",
    "write_card",
]

_HOMES = {
    "Dataset": "data.dataset",
    "Item": "data.dataset",
    "LabelSetting": "training.label_shares",
    "Model": "card",
    "ModelCard": "card",
    "Recipe": "training.recipe",
    "SegmentClass": "card",
    "TrainingProgress": "training.train",
    "find_model": "card",
    "make_recipe": "training.recipe",
    "read_card": "card",
    "read_dataset": "data.loaders.manifest",
    "train": "training.train",
    "write_card": "card",
}
"""Module below this one in which each public name is defined."""


def __getattr__(name: str) -> object:
    """Load a public name when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names too that no one has used yet."""
    return sorted({*globals(), *__all__})
