"""Which patches a training step sees.

A step's batch depends on the seed and the step's number alone, so a training that was cut off
goes on with exactly the batches that it would have had.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wsi_segment.model.dataset import Dataset, Split
from wsi_segment.model.patches import Patch, PatchKind, PatchReader, extract_patches
from wsi_segment.model.recipe import Recipe

Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class PatchPool:
    """The patches of one split, by kind."""

    segmentation: tuple[Patch, ...]
    classification: tuple[Patch, ...]

    def of(self, kind: PatchKind) -> tuple[Patch, ...]:
        """The patches of one kind."""
        return self.segmentation if kind is PatchKind.SEGMENTATION else self.classification


def make_pool(dataset: Dataset, split: Split) -> PatchPool:
    """All patches of a split."""
    patches = list(extract_patches(dataset, dataset.split(split)))
    return PatchPool(
        segmentation=tuple(patch for patch in patches if patch.kind is PatchKind.SEGMENTATION),
        classification=tuple(patch for patch in patches if patch.kind is PatchKind.CLASSIFICATION),
    )


class Sampler:
    """Draws batches from a pool, by seed and step."""

    def __init__(self, pool: PatchPool, reader: PatchReader, recipe: Recipe, seed: int) -> None:
        self._pool, self._reader, self._recipe, self._seed = pool, reader, recipe, seed
        self._weights = {kind: draw_weights(pool.of(kind), recipe.balance) for kind in PatchKind if pool.of(kind)}

    def batch(self, kind: PatchKind, step: int) -> tuple[Tensor, Tensor, Tensor] | None:
        """Pixels (B, 3, 128, 128) float32 in 0..255, ids (B, 128, 128) int64, labels (B,) int64.

        Labels are those of classification patches. None where the pool has no patch of that kind.
        """
        patches = self._pool.of(kind)
        if not patches:
            return None
        segmentation = kind is PatchKind.SEGMENTATION
        size = self._recipe.segmentation_batch if segmentation else self._recipe.classification_batch
        rng = np.random.default_rng([self._seed, step, int(segmentation)])
        chosen = [patches[i] for i in rng.choice(len(patches), size=size, p=self._weights[kind])]
        # a classification label holds for its own tile only, so just segmentation patches may move
        reach = self._recipe.shift if segmentation else 0
        shifts = rng.integers(-reach, reach + 1, size=(size, 2))
        return to_batch(self._reader, chosen, shifts)


def to_batch(reader: PatchReader, patches: Sequence[Patch], shifts: Any = None) -> tuple[Tensor, Tensor, Tensor]:
    """Read patches into tensors, see :meth:`Sampler.batch`."""
    offsets = np.zeros((len(patches), 2), int) if shifts is None else shifts
    read = [reader.read(patch, int(dy), int(dx)) for patch, (dy, dx) in zip(patches, offsets, strict=True)]
    pixels = torch.from_numpy(np.stack([image for image, _ in read])).permute(0, 3, 1, 2).to(torch.float32)
    ids = torch.from_numpy(np.stack([mask for _, mask in read])).to(torch.int64)
    return pixels, ids, torch.tensor([patch.classes[0] for patch in patches])


def draw_weights(patches: Sequence[Patch], balance: float) -> Floats:
    """Probability of each patch to be drawn, so that n patches of a class weigh n ** (1 - balance) in all.

    A patch of two classes counts for the rarer one.
    """
    holding = Counter(class_id for patch in patches for class_id in patch.classes)
    stands_for = [min(patch.classes, key=lambda class_id: holding[class_id]) for patch in patches]
    count = Counter(stands_for)
    weights: Floats = np.array([count[class_id] ** -balance for class_id in stands_for], dtype=np.float64)
    weights /= weights.sum()
    return weights


def inverse_frequency(pool: PatchPool, reader: PatchReader, classes: int) -> Tensor:
    """Class weights (C,) from the pixels of the segmentation patches, mean 1 over the classes present."""
    counts = np.zeros(classes + 1, np.int64)
    for patch in pool.segmentation:
        counts += np.bincount(reader.read(patch)[1].ravel(), minlength=classes + 1)
    present = counts[1:] > 0
    weights = np.where(present, 1 / np.maximum(counts[1:], 1), 0.0)
    return torch.from_numpy(weights / weights[present].mean()).to(torch.float32)
