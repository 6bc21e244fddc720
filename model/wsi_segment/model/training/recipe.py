"""Training recipes: every choice that training makes, as data.

``paper`` is the published recipe (see :mod:`wsi_segment.model.training.resnet` for the source), by its text and by the
authors' code where the two differ; ``modern`` changes what is known to do better, ``fine-tune`` is for networks that
are finished. Any field can be changed from there (:func:`make_recipe`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from typing import Any, Literal, get_args, get_type_hints

from wsi_segment.errors import InputError
from wsi_segment.model.card import WINDOW
from wsi_segment.model.data.patches import PatchSource

ClassPooling = Literal["max", "mean_softmax", "log_sum_exp", "generalised_mean"]
Supervision = Literal["pooled", "filled", "both"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a network is trained. Batches and steps count 128-px patches.

    >>> Recipe(steps=10).optimizer
    'adam'
    """

    head: Literal["paper", "lateral", "unet"] = "paper"
    """Head that turns the encoder's features into logits, see :mod:`wsi_segment.model.training.resnet`."""
    head_upsampling: Literal["nearest", "bilinear"] = "nearest"
    """Upsampling in the ``paper`` head; ``bilinear`` (with aligned corners) is the published one."""
    patch: int = 128
    """Side of the training patches, pixels; validation and the tile rule stay at 128."""
    classification_patches: PatchSource = "tiles"
    """Source of these: tiles of a mask that one class covers (paper), or windows of images that have a label."""
    update: Literal["alternating", "joint", "mixed"] = "alternating"
    """How the two kinds of patches share the updates.

    - ``alternating``: in turn, an update each.
    - ``joint``: a batch of each, the sum of their losses, one update.
    - ``mixed``: patches of both kinds as they come in shuffled passes, one loss over all of their pixels and one over
      all of their class vectors, a segmentation patch's being that of its most frequent class; one update.
    """
    supervision: Supervision = "pooled"
    """Target of classification patches: their pooled class vector (paper), a mask filled with their label, or both."""
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
    """Optimiser of the weights."""
    learning_rate: float = 1e-4
    """Learning rate: constant, or the peak of the schedule."""
    weight_decay: float = 0.0
    """Weight decay of the optimiser."""
    schedule: Literal["constant", "one_cycle"] = "constant"
    """Schedule of the learning rate."""
    steps: int = 3000
    """A step is one segmentation update and, where there are classification patches, one classification update."""
    epochs: int = 0
    """Passes over the training patches, from which ``steps`` follows; 0 leaves ``steps`` as it is."""
    segmentation_batch: int = 32
    """Patches with masks per step."""
    classification_batch: int = 32
    """A kind without patches leaves its places to the other, so that every setting costs the same."""
    class_weights: Literal["none", "inverse_frequency", "both_losses"] = "none"
    """Inverse frequency: in the pixel-wise cross entropy of segmentation patches, from their pixel counts, or in both
    losses, filled masks included, and from the counts of classification patches in the classification loss."""
    balance: float = 0.0
    """0 draws patches as they come, 1 draws every class equally often; in between interpolates."""
    jitter: tuple[float, float, float, float] = (0.25, 0.75, 0.25, 0.04)
    """Colour jitter: brightness, contrast, saturation (relative) and hue (of a turn)."""
    stain: float = 0.0
    """Stain jitter: haematoxylin, eosin and the rest each change by up to this share and this optical density."""
    density: tuple[float, float] = (1.0, 1.0)
    """Optical density is multiplied by a factor from this range, for slides that are stained weakly or strongly."""
    stain_ratio: tuple[float, float] = (1.0, 1.0)
    """Haematoxylin and eosin are each multiplied by a factor of its own from this range (Tellez et al. 2018)."""
    cast: float = 0.0
    """Colour cast: red, green and blue are each multiplied by up to this share more or less."""
    blur: float = 0.0
    """Half of the patches are blurred by a Gaussian of up to this sigma, pixels, as out of focus."""
    jpeg: int = 100
    """Half of the patches are compressed as JPEG of at least this quality; 100 compresses none."""
    scale: tuple[float, float] = (1.0, 1.0)
    """Patches are enlarged by a factor from this range, for pixel sizes that are not quite those stated."""
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
            "patch",
        )
        for name in positive:
            if getattr(self, name) <= 0:
                raise InputError(f"recipe: {name} is {getattr(self, name)}; it must be positive")
        for name in ("balance", "ema_decay", "fill_drop", "mosaic", "cast"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"recipe: {name} is {getattr(self, name)}; it must lie between 0 and 1")
        for name in ("density", "stain_ratio", "scale"):
            if len(getattr(self, name)) != 2 or not 0 < getattr(self, name)[0] <= getattr(self, name)[1]:
                raise InputError(f"recipe: {name} is {getattr(self, name)}; it must be two factors, the smaller first")
        if self.patch % 16:
            raise InputError(f"recipe: patch is {self.patch}; it must be a multiple of 16")
        if not 1 <= self.jpeg <= 100 or self.blur < 0 or self.epochs < 0:
            raise InputError("recipe: jpeg must lie between 1 and 100; blur and epochs must not be negative")
        if self.update == "mixed" and (self.balance or self.mosaic or self.fill_drop or self.dice):
            raise InputError(
                "recipe: update=mixed takes patches as they come; leave balance, mosaic, fill_drop and dice at 0"
            )
        if self.fill_drop and self.class_weights == "both_losses":
            raise InputError(
                "recipe: fill_drop leaves out pixels by their loss; class_weights=both_losses would bias it"
            )
        if self.mosaic and self.patch != WINDOW:
            raise InputError(f"recipe: mosaic needs patch={WINDOW}, the side of the tiles that it joins")
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


_MODERN = Recipe(
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
)

RECIPES: dict[str, Recipe] = {
    # As published, text and code; what cannot be set here: it starts from ImageNet weights (`encoder_weights`), and its
    # best epoch is chosen on `val` here and not on the data that it is measured on.
    "paper": Recipe(
        head_upsampling="bilinear",
        classification_patches="tiles",  # each covered to 90 % by one class
        update="mixed",  # one batch of 200 of both kinds, the losses added
        segmentation_batch=100,
        classification_batch=100,
        supervision="both",  # a label fills its patch's mask and names its pooled vector
        pooling="max",
        class_weights="both_losses",
        epochs=90,
    ),
    # What versions up to 0.1.0 called `paper`: the paper's text without its code.
    "paper-0.1": Recipe(),
    "modern": _MODERN,
    # For a finished network, whose head it keeps: a lower rate, few steps, and slides of other laboratories in mind.
    "fine-tune": replace(
        _MODERN,
        classification_patches="images",
        dice=0.5,
        learning_rate=4e-4,
        steps=300,
        validate_every=100,
        segmentation_batch=24,
        density=(0.3, 1.25),
        stain_ratio=(0.7, 1.3),
        cast=0.1,
        blur=1.5,
        jpeg=40,
        scale=(0.7, 1.4),
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
    if "steps" in changes:
        changes = {"epochs": 0} | changes
    return replace(RECIPES[name], **changes)
