"""The two losses: a cross entropy a pixel, and a cross entropy a patch on the pooled logit map."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from wsi_segment.model.recipe import ClassPooling


def segmentation_loss(logits: Tensor, ids: Tensor, weights: Tensor | None) -> Tensor:
    """Pixel-wise cross entropy.

    Args:
        logits: (B, C, h, w) at full size.
        ids: Class ids (B, h, w), int64, from 1; 0 is unlabelled and does not count.
        weights: A weight a class (C,), or None.
    """
    return functional.cross_entropy(logits, ids - 1, weight=weights, ignore_index=-1)


def classification_loss(logits: Tensor, labels: Tensor, pooling: ClassPooling) -> Tensor:
    """Cross entropy of a patch's class vector, pooled from its logit map.

    ``max`` is the paper's: softmax over the global maxima of the logits. ``mean_softmax`` takes
    -log of the mean over pixels of the softmax, which gives every pixel a gradient.

    Args:
        logits: (B, C, h, w) at the output stride.
        labels: Class ids (B,), int64, from 1.
        pooling: How the map becomes a vector.
    """
    if pooling == "max":
        return functional.cross_entropy(logits.amax(dim=(2, 3)), labels - 1)
    log_softmax = logits.log_softmax(dim=1).flatten(2)
    log_mean = log_softmax.logsumexp(dim=2) - torch.log(torch.tensor(float(log_softmax.shape[2])))
    return functional.nll_loss(log_mean, labels - 1)
