"""Training recipes: every choice that training makes, as data.

``paper`` is the published recipe (see :mod:`wsi_segment.model.training.resnet` for the source);
``modern`` changes what is known to do better. Any field can be changed from there (:func:`make_recipe`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from typing import Any, Literal, get_args, get_type_hints

from wsi_segment.errors import InputError
from wsi_segment.model.data.patches import PatchSource

ClassPooling = Literal["max", "mean_softmax", "log_sum_exp", "generalised_mean"]
Supervision = Literal["pooled", "filled", "both"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a network is trained. Batches and steps count 128-px patches.

    >>> Recipe(steps=10).optimizer
    'adam'
    """

    head: Literal["paper", "lateral"] = "paper"
    classification_patches: PatchSource = "tiles"
    """Where they come from: tiles of a mask that one class covers (paper), or windows of images that have a label."""
    update: Literal["alternating", "joint"] = "alternating"
    """The two kinds in turn, an optimizer update each, or one mixed batch and one update."""
    supervision: Supervision = "pooled"
    """What classification patches teach: their pooled class vector (paper), a mask filled with their label, or both."""
    pooling: ClassPooling = "max"
    """Logit map to class vector, see :func:`wsi_segment.model.training.losses.class_vector`."""
    pooling_sharpness: float = 4.0
    """The r of log-sum-exp and of the generalised mean: 1 is a mean, infinity the maximum."""
    fill_drop: float = 0.0
    """Share of a filled patch's pixels, those with the largest loss, that does not count."""
    mosaic: float = 0.0
    """Share of the segmentation batch that is made of two classification patches each, with a known border."""
    dice: float = 0.0
    """Weight of the soft Dice loss beside the pixel-wise cross entropy."""
    optimizer: Literal["adam", "adamw"] = "adam"
    learning_rate: float = 1e-4
    """Constant, or the peak of the schedule."""
    weight_decay: float = 0.0
    schedule: Literal["constant", "one_cycle"] = "constant"
    steps: int = 3000
    """A step is one segmentation update and, where there are classification patches, one classification update."""
    segmentation_batch: int = 32
    classification_batch: int = 32
    """A kind without patches leaves its places to the other, so that every setting costs the same."""
    class_weights: Literal["none", "inverse_frequency"] = "none"
    """Weights of the pixel-wise cross entropy, from the pixel counts of the training patches."""
    balance: float = 0.0
    """0 draws patches as they come, 1 draws every class equally often; in between interpolates."""
    jitter: tuple[float, float, float, float] = (0.25, 0.75, 0.25, 0.04)
    """Colour jitter: brightness, contrast, saturation (relative) and hue (of a turn)."""
    stain: float = 0.0
    """Stain jitter: haematoxylin, eosin and the rest each change by up to this share and this optical density."""
    rotate: bool = True
    """Random quarter turns."""
    flip: bool = False
    """Random mirror images; with ``rotate``, the eight symmetries of the square."""
    shift: int = 0
    """Each patch is drawn up to this many pixels from its place in the grid."""
    ema_decay: float = 0.0
    """Exponential moving average of the weights, used for validation and export; it rises to this. 0 is off."""
    validate_every: int = 250
    """Steps between validations; each leaves a checkpoint."""

    def __post_init__(self) -> None:
        positive = (
            "steps",
            "segmentation_batch",
            "classification_batch",
            "validate_every",
            "learning_rate",
            "pooling_sharpness",
        )
        for name in positive:
            if getattr(self, name) <= 0:
                raise InputError(f"recipe: {name} is {getattr(self, name)}; it must be positive")
        for name in ("balance", "ema_decay", "fill_drop", "mosaic"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"recipe: {name} is {getattr(self, name)}; it must lie between 0 and 1")
        if self.mosaic and self.classification_patches == "images":
            raise InputError(
                "recipe: mosaic needs classification_patches=tiles; an image's label does not hold for all of it"
            )
        if self.fill_drop and self.supervision == "pooled":
            raise InputError("recipe: fill_drop needs supervision=filled or both; pooled fills nothing")
        for name, hint in get_type_hints(type(self)).items():
            choices = get_args(hint)
            if all(isinstance(choice, str) for choice in choices) and choices and getattr(self, name) not in choices:
                raise InputError(f"recipe: {name} is {getattr(self, name)!r}; choose one of: {', '.join(choices)}")


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
    """Return the recipe of that name with some fields changed.

    >>> make_recipe("modern", {"steps": 400}).steps
    400

    Raises:
        InputError: no such recipe or field, or a value of another type.
    """
    if name not in RECIPES:
        raise InputError(f"recipe {name!r} is unknown; choose one of: {', '.join(RECIPES)}")
    known = {field.name for field in fields(Recipe)}
    unknown = sorted(set(changes) - known)
    if unknown:
        meant = get_close_matches(unknown[0], known, 1)
        hint = f"did you mean {meant[0]}?" if meant else f"the fields are: {', '.join(sorted(known))}"
        raise InputError(f"recipe: no field {unknown[0]!r}; {hint}")
    for field, value in changes.items():
        before = getattr(RECIPES[name], field)
        allowed = (int, float) if isinstance(before, float) else type(before)
        if not isinstance(value, allowed) or isinstance(value, bool) != isinstance(before, bool):
            raise InputError(f"recipe: {field} is {value!r}; it must be like {before!r}")
    return replace(RECIPES[name], **changes)
