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

from wsi_segment.model.data.patches import Patch, PatchKind, PatchPool, PatchReader, Pixels
from wsi_segment.model.training.mosaic import mosaic
from wsi_segment.model.training.recipe import Recipe

Floats = np.ndarray[Any, np.dtype[np.float64]]
Counts = np.ndarray[Any, np.dtype[np.int64]]
"""Pixel counts of class ids 0 to C."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Patches of one kind, as tensors."""

    kind: PatchKind
    pixels: Tensor
    """(B, 3, side, side) float32 in 0..255."""
    ids: Tensor
    """Class ids (B, side, side) int64, 0 = unlabelled."""
    labels: Tensor
    """Class ids (B,) int64; of use for classification patches only."""


class Sampler:
    """Batches of a pool, drawn by seed and step."""

    def __init__(self, pool: PatchPool, reader: PatchReader, recipe: Recipe, seed: int) -> None:
        self._pool, self._reader, self._recipe, self._seed = pool, reader, recipe, seed
        self._weights = {kind: draw_weights(pool.of(kind), recipe.balance) for kind in PatchKind if pool.of(kind)}
        self._places = _places(pool, recipe)
        self._newest_pass: tuple[int, list[int]] = (-1, [])

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which as many patches are drawn as there are."""
        patches = sum(len(self._pool.of(kind)) for kind in PatchKind)
        return max(1, -(-patches // sum(self._places.values())))

    def batches(self, step: int) -> list[Batch]:
        """Draw the batches of a step, one of each kind that the pool has, or that came up in a mixed batch."""
        if self._recipe.update == "mixed":
            return self._mixed(step)
        return [self._batch(kind, places, step) for kind, places in self._places.items()]

    def _mixed(self, step: int) -> list[Batch]:
        """Take the next patches of both kinds from shuffled passes over all of them."""
        every = [*self._pool.segmentation, *self._pool.classification]
        size = min(sum(self._places.values()), len(every))
        first, chosen = step * size, []
        for place in range(first, first + size):
            turn, position = divmod(place, len(every))
            chosen.append(every[self._pass(turn, len(every))[position]])
        rng = np.random.default_rng([self._seed, step, 3])
        found = []
        for kind in PatchKind:
            patches = [patch for patch in chosen if patch.kind is kind]
            if patches:
                found.append(self._read(kind, patches, rng))
        return found

    def _pass(self, turn: int, count: int) -> list[int]:
        """Return the order of a pass; the newest is kept."""
        if self._newest_pass[0] != turn:
            self._newest_pass = turn, np.random.default_rng([self._seed, turn, 2]).permutation(count).tolist()
        return self._newest_pass[1]

    def _batch(self, kind: PatchKind, places: int, step: int) -> Batch:
        segmentation, recipe = kind is PatchKind.SEGMENTATION, self._recipe
        rng = np.random.default_rng([self._seed, step, int(segmentation)])
        mosaics = round(recipe.mosaic * places) if segmentation and self._can_mosaic() else 0
        return self._read(kind, self._draw(kind, places - mosaics, rng), rng, mosaics)

    def _read(self, kind: PatchKind, chosen: list[Patch], rng: np.random.Generator, mosaics: int = 0) -> Batch:
        """Read patches, each displaced and enlarged at random, and make some mosaics after them."""
        recipe = self._recipe
        # a tile's label holds for its own place only; that of an image holds for all its windows
        free = kind is PatchKind.SEGMENTATION or recipe.classification_patches == "images"
        reach = recipe.shift if free else 0
        shifts = rng.integers(-reach, reach + 1, size=(len(chosen), 2))
        low, high = recipe.scale
        scales = (
            np.exp(rng.uniform(np.log(low), np.log(high), len(chosen))) if low < high else np.full(len(chosen), low)
        )
        read = [
            self._reader.read(patch, int(dy), int(dx), side=recipe.patch, scale=float(scale))
            for patch, (dy, dx), scale in zip(chosen, shifts, scales, strict=True)
        ]
        for _ in range(mosaics):
            first, second = self._draw(PatchKind.CLASSIFICATION, 2, rng, apart=True)
            tiles = (self._reader.read(first)[0], self._reader.read(second)[0])
            read.append(mosaic(tiles, (first.classes[0], second.classes[0]), rng))
        pixels, ids = to_tensors([image for image, _ in read], [mask for _, mask in read])
        return Batch(kind, pixels, ids, torch.tensor([patch.classes[0] for patch in chosen] + [0] * mosaics))

    def _can_mosaic(self) -> bool:
        return len({patch.classes for patch in self._pool.classification}) > 1

    def _draw(self, kind: PatchKind, count: int, rng: np.random.Generator, apart: bool = False) -> list[Patch]:
        """Draw patches by their weights; with ``apart``, again until they are not all of one class."""
        patches = self._pool.of(kind)
        while True:
            chosen = [patches[i] for i in rng.choice(len(patches), size=count, p=self._weights[kind])]
            if not apart or len({patch.classes for patch in chosen}) > 1:
                return chosen


def _places(pool: PatchPool, recipe: Recipe) -> dict[PatchKind, int]:
    """Return how many patches of each kind a step holds; a kind without any leaves its places to the other."""
    places = {
        PatchKind.SEGMENTATION: recipe.segmentation_batch,
        PatchKind.CLASSIFICATION: recipe.classification_batch,
    }
    present = [kind for kind in PatchKind if pool.of(kind)]
    return {kind: places[kind] if len(present) > 1 else sum(places.values()) for kind in present}


def to_tensors(images: Sequence[Pixels], masks: Sequence[Pixels]) -> tuple[Tensor, Tensor]:
    """Stack pixels to (B, 3, side, side) float32 in 0..255 and class ids to (B, side, side) int64."""
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).to(torch.float32)
    return pixels, torch.from_numpy(np.stack(masks)).to(torch.int64)


def draw_weights(patches: Sequence[Patch], balance: float) -> Floats:
    """Return the probability of each patch to be drawn: n patches of a class weigh n ** (1 - balance) together.

    A patch of several classes counts for the rarest of them.
    """
    holding = Counter(class_id for patch in patches for class_id in patch.classes)
    stands_for = [min(patch.classes, key=lambda class_id: holding[class_id]) for patch in patches]
    count = Counter(stands_for)
    weights: Floats = np.array([count[class_id] ** -balance for class_id in stands_for], dtype=np.float64)
    weights /= weights.sum()
    return weights


def inverse_frequency(pool: PatchPool, reader: PatchReader, classes: int) -> Tensor:
    """Return class weights (C,) from the pixels of the segmentation patches, mean 1 over the classes present."""
    counts = np.zeros(classes + 1, np.int64)
    for patch in pool.segmentation:
        counts += np.bincount(reader.read(patch)[1].ravel(), minlength=classes + 1)
    return _inverse(counts, classes)


def inverse_label_frequency(pool: PatchPool, classes: int) -> Tensor:
    """Return class weights (C,) from the number of classification patches, mean 1 over the classes present."""
    labels = [patch.classes[0] for patch in pool.classification]
    return _inverse(np.bincount(np.array(labels, np.int64), minlength=classes + 1), classes)


def _inverse(counts: Counts, classes: int) -> Tensor:
    present = counts[1:] > 0
    if not present.any():
        return torch.ones(classes)
    weights = np.where(present, 1 / np.maximum(counts[1:], 1), 0.0)
    return torch.from_numpy(weights / weights[present].mean()).to(torch.float32)
