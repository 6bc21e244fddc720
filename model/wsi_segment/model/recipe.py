"""Training recipes: every choice that training makes, as data.

``paper`` is the published recipe (see :mod:`wsi_segment.model.network` for the source);
``modern`` changes what is known to do better. A recipe file is JSON with the fields to change.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from wsi_segment.model.errors import InputError

ClassPooling = Literal["max", "mean_softmax"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a network is trained. Batches and steps count 128-px patches."""

    head: Literal["paper", "lateral"] = "paper"
    pooling: ClassPooling = "max"
    """Logit map to class vector: global max (paper), or the mean of the softmax."""
    optimizer: Literal["adam", "adamw"] = "adam"
    learning_rate: float = 1e-4
    """Constant, or the peak of the schedule."""
    weight_decay: float = 0.0
    schedule: Literal["constant", "one_cycle"] = "constant"
    steps: int = 3000
    """A step is one segmentation update and, where there are classification patches, one classification update."""
    segmentation_batch: int = 32
    classification_batch: int = 32
    class_weights: Literal["none", "inverse_frequency"] = "none"
    """Weights of the pixel-wise cross entropy, from the pixel counts of the training patches."""
    balance: float = 0.0
    """0 draws patches as they come, 1 draws every class equally often; in between interpolates."""
    jitter: tuple[float, float, float, float] = (0.25, 0.75, 0.25, 0.04)
    """Colour jitter: brightness, contrast, saturation (relative) and hue (of a turn)."""
    rotate: bool = True
    """Random quarter turns."""
    flip: bool = False
    """Random mirror images; with ``rotate``, the eight symmetries of the square."""
    shift: int = 0
    """Each patch is drawn up to this many pixels from its place in the grid."""
    ema_decay: float = 0.0
    """Exponential moving average of the weights, used for validation and export; 0 is off."""
    validate_every: int = 250
    """Steps between validations; each leaves a checkpoint."""

    def __post_init__(self) -> None:
        positive = ("steps", "segmentation_batch", "classification_batch", "validate_every", "learning_rate")
        for name in positive:
            if getattr(self, name) <= 0:
                raise InputError(f"recipe: {name} is {getattr(self, name)}; it must be positive")
        for name in ("balance", "ema_decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"recipe: {name} is {getattr(self, name)}; it must lie between 0 and 1")


RECIPES: dict[str, Recipe] = {
    "paper": Recipe(),
    "modern": Recipe(
        head="lateral",
        pooling="mean_softmax",
        optimizer="adamw",
        learning_rate=2e-3,
        weight_decay=0.01,
        schedule="one_cycle",
        segmentation_batch=32,
        classification_batch=8,
        balance=0.5,
        jitter=(0.15, 0.2, 0.2, 0.03),
        flip=True,
        shift=48,
        ema_decay=0.99,
    ),
}


def make_recipe(name: str, changes: dict[str, Any]) -> Recipe:
    """The recipe of that name with some fields changed.

    Raises:
        InputError: no such recipe or field.
    """
    if name not in RECIPES:
        raise InputError(f"recipe {name!r} is unknown; choose one of: {', '.join(RECIPES)}")
    known = {field.name for field in fields(Recipe)}
    unknown = sorted(set(changes) - known)
    if unknown:
        raise InputError(f"recipe: no field {unknown[0]!r}; the fields are: {', '.join(sorted(known))}")
    return replace(RECIPES[name], **changes)
