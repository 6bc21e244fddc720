"""Patches of 128 px: cut from images by a grid, sorted by what their mask holds.

The rule is that of Ciga and Martel (2021): one class on at least 90 % of a tile makes it a
classification patch of that class; exactly two classes make it a segmentation patch; any other tile
is ignored. Where images have labels of their own, every window of a labelled image is a classification
patch instead, as with the photos of BACH in the paper, and every window with a mask a segmentation patch.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

import numpy as np
from PIL import Image

from wsi_segment.errors import DatasetError
from wsi_segment.model.card import WINDOW
from wsi_segment.model.data.dataset import UNLABELLED, Dataset, Item, Split

DOMINANT_SHARE = 0.9

PatchSource = Literal["tiles", "images"]
"""Source of classification patches: tiles of a mask, or windows of labelled images."""

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


class PatchKind(Enum):
    """What a patch is trained on."""

    SEGMENTATION = "segmentation"
    CLASSIFICATION = "classification"


_KIND_OF = {1: PatchKind.CLASSIFICATION, 2: PatchKind.SEGMENTATION}


@dataclass(frozen=True, slots=True)
class Patch:
    """A place in an image: rows y to y + 128, columns x to x + 128, in the image's own pixels."""

    item: Item
    y: int
    x: int
    kind: PatchKind
    classes: tuple[int, ...]
    """Class ids: the label of a classification patch, those in the mask of a segmentation patch."""


def grid_offsets(length: int) -> list[int]:
    """Return the starts of 128-px tiles along an axis; the last one is shifted inwards to end with the image.

    >>> grid_offsets(300)
    [0, 128, 172]

    Raises:
        ValueError: the axis is shorter than a patch.
    """
    if length < WINDOW:
        raise ValueError(f"{length} px is less than a patch of {WINDOW} px")
    last = length - WINDOW
    return sorted({*range(0, last + 1, WINDOW), last})


def patch_classes(mask: Pixels) -> tuple[int, ...]:
    """Judge a tile by the 90 % and two-class rules: one class id, two, or none where it is ignored.

    >>> tile = np.full((128, 128), 3, np.uint8)
    >>> patch_classes(tile)
    (3,)
    >>> tile[:64] = 1
    >>> patch_classes(tile)
    (1, 3)
    >>> tile[:32] = 0
    >>> patch_classes(tile)
    ()

    Args:
        mask: Class ids (128, 128), uint8; unlabelled pixels count as a class of no use.
    """
    ids, counts = np.unique(mask, return_counts=True)
    largest = int(counts.argmax())
    if ids[largest] != UNLABELLED and counts[largest] >= DOMINANT_SHARE * mask.size:
        return (int(ids[largest]),)
    if len(ids) == 2 and UNLABELLED not in ids:
        return int(ids[0]), int(ids[1])
    return ()


def extract_patches(dataset: Dataset, items: Iterable[Item], source: PatchSource = "tiles") -> Iterator[Patch]:
    """Yield the patches of some items; an item with a label and no mask gives classification patches only.

    Args:
        dataset: What the items are of.
        items: Images.
        source: Where classification patches come from: ``tiles`` of a mask that one class covers, or windows of
            ``images`` with a label. With the latter, an image with mask and label gives each window twice.

    Raises:
        DatasetError: an image is smaller than a patch, or see :meth:`Dataset.read_mask`.
    """
    for item in items:
        mask = dataset.read_mask(item)
        shape = dataset.image_shape(item) if mask is None else mask.shape
        if min(shape) < WINDOW:
            raise DatasetError(f"{item.image}: {shape[1]} x {shape[0]} px is less than a patch of {WINDOW} px")
        for y in grid_offsets(shape[0]):
            for x in grid_offsets(shape[1]):
                tile = None if mask is None else mask[y : y + WINDOW, x : x + WINDOW]
                if item.label is not None and (tile is None or source == "images"):
                    yield Patch(item=item, y=y, x=x, kind=PatchKind.CLASSIFICATION, classes=(item.label,))
                if tile is not None and source == "images":
                    if classes := tuple(int(i) for i in np.unique(tile) if i != UNLABELLED):
                        yield Patch(item=item, y=y, x=x, kind=PatchKind.SEGMENTATION, classes=classes)
                elif tile is not None and (classes := patch_classes(tile)):
                    yield Patch(item=item, y=y, x=x, kind=_KIND_OF[len(classes)], classes=classes)


class PatchReader:
    """Cuts patches out of decoded images.

    Memory bound:
        ``max_bytes`` of decoded images and masks, least recently used first out, and one image more.
    """

    def __init__(self, dataset: Dataset, max_bytes: int = 2 << 30) -> None:
        self._dataset = dataset
        self._max_bytes = max_bytes
        self._bytes = 0
        self._cache: OrderedDict[Item, tuple[Pixels, Pixels | None]] = OrderedDict()

    def read(
        self, patch: Patch, dy: int = 0, dx: int = 0, *, side: int = WINDOW, scale: float = 1.0
    ) -> tuple[Pixels, Pixels]:
        """Read RGB (side, side, 3) and class ids (side, side) around a patch's centre.

        Without a mask all ids are 0, unlabelled.

        Args:
            patch: Where.
            dy: Rows that the place is displaced by, within the image.
            dx: Columns, likewise.
            side: Of what is read, pixels.
            scale: Enlargement: a square of ``side / scale`` pixels, at most the whole image, is resampled to ``side``.

        Raises:
            DatasetError: the image is smaller than ``side``; or see :class:`Dataset`.
        """
        image, mask = self._decoded(patch.item)
        smaller = min(image.shape[:2])
        if side > smaller:
            raise DatasetError(f"{patch.item.image}: {smaller} px is less than a patch of {side} px")
        wide = min(round(side / scale), smaller)
        grown = (wide - WINDOW) // 2
        y = min(max(patch.y - grown + dy, 0), image.shape[0] - wide)
        x = min(max(patch.x - grown + dx, 0), image.shape[1] - wide)
        rows, columns = slice(y, y + wide), slice(x, x + wide)
        ids = np.zeros((wide, wide), np.uint8) if mask is None else mask[rows, columns]
        if wide == side:
            return image[rows, columns], ids
        resized = Image.fromarray(image[rows, columns]).resize((side, side), Image.Resampling.BICUBIC)
        return np.asarray(resized), np.asarray(Image.fromarray(ids).resize((side, side), Image.Resampling.NEAREST))

    def _decoded(self, item: Item) -> tuple[Pixels, Pixels | None]:
        if item in self._cache:
            self._cache.move_to_end(item)
            return self._cache[item]
        image, mask = self._dataset.read_image(item), self._dataset.read_mask(item)
        self._cache[item] = image, mask
        self._bytes += _size(image, mask)
        while self._bytes > self._max_bytes and len(self._cache) > 1:
            _, dropped = self._cache.popitem(last=False)
            self._bytes -= _size(*dropped)
        return image, mask


def _size(image: Pixels, mask: Pixels | None) -> int:
    return image.nbytes + (0 if mask is None else mask.nbytes)


@dataclass(frozen=True, slots=True)
class PatchPool:
    """The patches of one split, by kind."""

    segmentation: tuple[Patch, ...]
    classification: tuple[Patch, ...]

    def of(self, kind: PatchKind) -> tuple[Patch, ...]:
        """Return the patches of one kind."""
        return self.segmentation if kind is PatchKind.SEGMENTATION else self.classification


def make_pool(dataset: Dataset, split: Split, source: PatchSource = "tiles") -> PatchPool:
    """Gather all patches of a split."""
    patches = list(extract_patches(dataset, dataset.split(split), source))
    return PatchPool(
        segmentation=tuple(patch for patch in patches if patch.kind is PatchKind.SEGMENTATION),
        classification=tuple(patch for patch in patches if patch.kind is PatchKind.CLASSIFICATION),
    )
