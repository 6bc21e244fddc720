"""Training, datasets and model cards from Python.

    >>> from wsi_segment.model import find_model, make_recipe
    >>> find_model("colorectal-biopsy").card.mpp
    1.13
    >>> make_recipe("modern", {"steps": 400}).steps
    400

Names are loaded when they are first used: importing this module loads no library, and PyTorch (the extra
``train``) is needed for :func:`train` alone. A manifest whose images are whole slides is read by
:func:`wsi_segment.inference.evaluation.slide_dataset.read_training_data`, which needs the readers of slides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsi_segment.lazy_names import lazy_names

if TYPE_CHECKING:
    from wsi_segment.model.card import Model, ModelCard, SegmentClass, find_model, read_card, write_card
    from wsi_segment.model.data.dataset import Dataset, Item
    from wsi_segment.model.data.loaders.manifest import read_dataset
    from wsi_segment.model.training.label_shares import LabelSetting
    from wsi_segment.model.training.progress import TrainingProgress
    from wsi_segment.model.training.recipe import Recipe, make_recipe
    from wsi_segment.model.training.train import train

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
    "Dataset": "model.data.dataset",
    "Item": "model.data.dataset",
    "LabelSetting": "model.training.label_shares",
    "Model": "model.card",
    "ModelCard": "model.card",
    "Recipe": "model.training.recipe",
    "SegmentClass": "model.card",
    "TrainingProgress": "model.training.progress",
    "find_model": "model.card",
    "make_recipe": "model.training.recipe",
    "read_card": "model.card",
    "read_dataset": "model.data.loaders.manifest",
    "train": "model.training.train",
    "write_card": "model.card",
}
"""Where each name is defined, below ``wsi_segment``."""

if not TYPE_CHECKING:  # a type checker that saw it would accept every name
    __getattr__, __dir__ = lazy_names(__name__, _HOMES, __all__)
