"""What a batch teaches a network: the losses of a recipe, put together."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from wsi_segment.errors import DatasetError
from wsi_segment.model.data.dataset import Dataset
from wsi_segment.model.data.patches import PatchKind, PatchPool
from wsi_segment.model.training.losses import class_vector, classification_loss, filled_loss, segmentation_loss
from wsi_segment.model.training.recipe import Recipe
from wsi_segment.model.training.resnet import SegmentationNetwork
from wsi_segment.model.training.sampling import Batch


class Objective:
    """The losses of a recipe, on a device."""

    def __init__(
        self, recipe: Recipe, *, pixel_weights: Tensor | None, label_weights: Tensor | None, taught: Tensor | None
    ) -> None:
        """Remember what losses need.

        Args:
            recipe: Which losses count.
            pixel_weights: One per class (C,), of the pixel-wise cross entropy; None for equal ones.
            label_weights: One per class (C,), of the classification loss; None for equal ones.
            taught: (C,) bool, see :func:`classification_loss`.
        """
        self._recipe, self._taught = recipe, taught
        self._pixel_weights, self._label_weights = pixel_weights, label_weights

    def of_kind(self, batch: Batch, logits: Tensor, network: SegmentationNetwork) -> Tensor:
        """Return the loss of a batch of one kind.

        Args:
            batch: What was shown.
            logits: (B, C, h, w) at the output stride.
            network: Brings logits to full size.
        """
        recipe = self._recipe
        if batch.kind is PatchKind.SEGMENTATION:
            return segmentation_loss(network.full_size(logits), batch.ids, self._pixel_weights, recipe.dice)
        loss = logits.new_zeros(())
        if recipe.supervision != "filled":
            loss = loss + classification_loss(
                logits,
                batch.labels,
                recipe.pooling,
                sharpness=recipe.pooling_sharpness,
                taught=self._taught,
                weights=self._label_weights,
            )
        if recipe.supervision != "pooled":
            weights = self._pixel_weights if recipe.class_weights == "both_losses" else None
            loss = loss + filled_loss(network.full_size(logits), batch.labels, recipe.fill_drop, weights)
        return loss

    def of_mixed(
        self, batches: list[Batch], logits: list[Tensor], network: SegmentationNetwork, *, labelled: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Return one loss over all pixels of a mixed batch, and one over all of its class vectors.

        Args:
            batches: One of each kind that was drawn.
            logits: Of each, (B, C, h, w) at the output stride.
            network: Brings logits to full size.
            labelled: Whether the training has classification patches at all; without, vectors teach nothing.
        """
        recipe, ids, labels = self._recipe, [], []
        for batch in batches:
            of_masks = batch.kind is PatchKind.SEGMENTATION
            filled = batch.labels[:, None, None].expand_as(batch.ids) * (recipe.supervision != "pooled")
            ids.append(batch.ids if of_masks else filled)
            labels.append(_most_frequent(batch.ids, logits[0].shape[1]) if of_masks else batch.labels)
        every = torch.cat(logits)
        pixel_wise = segmentation_loss(network.full_size(every), torch.cat(ids), self._pixel_weights)
        if recipe.supervision == "filled" or not labelled:
            return pixel_wise, None
        vector, label = class_vector(every, recipe.pooling, recipe.pooling_sharpness), torch.cat(labels)
        if self._taught is not None:
            vector = vector.masked_fill(~self._taught, float("-inf"))
            label = torch.where(self._taught[label - 1], label, 0)
        loss = functional.cross_entropy(vector, label - 1, weight=self._label_weights, ignore_index=-1, reduction="sum")
        weights = torch.ones_like(vector[0]) if self._label_weights is None else self._label_weights
        count = (weights[(label - 1).clamp(min=0)] * (label > 0)).sum()
        return pixel_wise, loss / torch.where(count > 0, count, 1)


def taught_classes(dataset: Dataset, pool: PatchPool, recipe: Recipe, device: torch.device) -> Tensor | None:
    """Return which classes (C,) labels of images can tell apart; None where a label holds for a whole tile."""
    if recipe.classification_patches == "tiles" or not pool.classification:
        return None
    taught = torch.zeros(len(dataset.classes), dtype=torch.bool)
    taught[[patch.classes[0] - 1 for patch in pool.classification]] = True
    if int(taught.sum()) < 2 and recipe.supervision != "filled":
        name = dataset.classes[int(taught.nonzero()[0])].name
        raise DatasetError(
            f"{dataset.name}: all labels of images are {name!r}, which teaches nothing; label images of another class "
            "too, or none"
        )
    return taught.to(device)


def _most_frequent(ids: Tensor, classes: int) -> Tensor:
    """Return the class (B,) that most labelled pixels of each mask (B, h, w) have; 0 where none is labelled."""
    counts = functional.one_hot(ids, classes + 1).sum(dim=(1, 2))[:, 1:]
    return torch.where(counts.sum(dim=1) > 0, counts.argmax(dim=1) + 1, 0)
