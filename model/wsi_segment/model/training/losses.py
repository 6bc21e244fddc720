"""The losses of both kinds of patches: pixel-wise on masks, and on the pooled class vector of a patch."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from wsi_segment.model.training.recipe import ClassPooling


def segmentation_loss(logits: Tensor, ids: Tensor, weights: Tensor | None, dice: float = 0.0) -> Tensor:
    """Compute the pixel-wise cross entropy, and add soft Dice if it has a weight.

    Args:
        logits: (B, C, h, w) at full size.
        ids: Class ids (B, h, w), int64, from 1; 0 is unlabelled and does not count.
        weights: One per class (C,) for the cross entropy, or None.
        dice: Weight of :func:`soft_dice_loss`.
    """
    labelled = ids > 0
    count = labelled.sum() if weights is None else (weights[(ids - 1).clamp(min=0)] * labelled).sum()
    loss = functional.cross_entropy(logits, ids - 1, weight=weights, ignore_index=-1, reduction="sum")
    loss = loss / torch.where(count > 0, count, 1)  # a mean over no pixel would be NaN, and the weights after it
    return loss + dice * soft_dice_loss(logits, ids) if dice else loss


def soft_dice_loss(logits: Tensor, ids: Tensor) -> Tensor:
    """Compute 1 - Dice of the softmax (Milletari et al. 2016), per class over the whole batch.

    It is the mean over the classes in the truth.

    Args:
        logits: (B, C, h, w) at full size.
        ids: Class ids (B, h, w), int64, from 1; 0 is unlabelled and does not count.
    """
    labelled = (ids > 0).unsqueeze(1)
    truth = functional.one_hot((ids - 1).clamp(min=0), logits.shape[1]).permute(0, 3, 1, 2) * labelled
    probabilities = logits.softmax(dim=1) * labelled
    shared = (probabilities * truth).sum(dim=(0, 2, 3))
    present = truth.sum(dim=(0, 2, 3)) > 0
    dice = 2 * shared / (probabilities + truth).sum(dim=(0, 2, 3)).clamp(min=1e-6)
    return ((1 - dice) * present).sum() / present.sum().clamp(min=1)


def filled_loss(logits: Tensor, labels: Tensor, drop: float = 0.0, weights: Tensor | None = None) -> Tensor:
    """Compute the pixel-wise cross entropy against a mask filled with the patch's label.

    Args:
        logits: (B, C, h, w) at full size.
        labels: Class ids (B,), int64, from 1.
        drop: Share of each patch's pixels, those with the largest loss, that is left out: where a label
            does not hold for all of a patch, they are the likeliest to be something else.
        weights: One per class (C,) for the cross entropy, or None.
    """
    filled = (labels - 1)[:, None, None].expand(-1, *logits.shape[2:])
    if weights is not None and not drop:
        return segmentation_loss(logits, filled + 1, weights)
    losses = functional.cross_entropy(logits, filled, reduction="none").flatten(1)
    kept = max(1, round((1 - drop) * losses.shape[1]))
    return losses.topk(kept, dim=1, largest=False).values.mean() if drop else losses.mean()


def class_vector(logits: Tensor, pooling: ClassPooling, sharpness: float) -> Tensor:
    """Compute class scores (B, C) of whole patches, whose softmax are the class probabilities.

    - ``max``: global maximum of the logits (Ciga and Martel 2021).
    - ``log_sum_exp``: 1/r log mean exp(r x), between mean and maximum (Pinheiro and Collobert 2015).
    - ``mean_softmax``: log of the mean over pixels of the softmax: every pixel has a gradient.
    - ``generalised_mean``: log of (mean p^r)^(1/r) of the softmax (GeM, Radenović et al. 2019).

    Args:
        logits: (B, C, h, w) at the output stride.
        pooling: How the map becomes a vector.
        sharpness: The r above.
    """
    if pooling == "max":
        return logits.amax(dim=(2, 3))
    r = 1.0 if pooling == "mean_softmax" else sharpness
    x = (logits if pooling == "log_sum_exp" else logits.log_softmax(dim=1)).flatten(2)
    return (torch.logsumexp(r * x, dim=2) - math.log(x.shape[2])) / r


def classification_loss(
    logits: Tensor,
    labels: Tensor,
    pooling: ClassPooling,
    *,
    sharpness: float = 4.0,
    taught: Tensor | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Compute the cross entropy of a patch's class vector.

    Args:
        logits: (B, C, h, w) at the output stride.
        labels: Class ids (B,), int64, from 1.
        pooling: How the map becomes a vector.
        sharpness: See :func:`class_vector`.
        taught: (C,) bool, the classes that labels of images speak of; None for tiles, which are all of one class. A
            class that no image is labelled with, such as stroma among diagnoses, is left out of the vector:
            labels say nothing on where it is.
        weights: One per class (C,) for the cross entropy, or None.
    """
    vector = class_vector(logits, pooling, sharpness)
    if taught is not None:
        vector = vector.masked_fill(~taught, float("-inf"))
    return functional.cross_entropy(vector, labels - 1, weight=weights)
