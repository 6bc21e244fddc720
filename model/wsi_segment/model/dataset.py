"""Training datasets: images with pixel masks, with image-level labels, or with both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from wsi_segment.model.card import SegmentClass
from wsi_segment.model.errors import DatasetError

UNLABELLED = 0

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Item:
    """One image and what is known of it."""

    image: Path
    mask: Path | None
    label: int | None
    """Class id of the whole image, or None."""
    group: str
    """Case or patient: splits never divide a group."""
    split: Split


@dataclass(frozen=True, slots=True)
class Dataset:
    """Items, their classes and the pixel size they were taken at."""

    name: str
    classes: tuple[SegmentClass, ...]
    mpp: float
    mpp_source: str
    items: tuple[Item, ...]
    attribution: str = ""
    license: str = "not stated"
    decode_mask: Callable[[Image.Image, Item], np.ndarray[Any, np.dtype[np.uint8]]] | None = None
    """Adapter's translation of a mask image to class ids; None where the mask holds them already."""

    def split(self, name: Split) -> tuple[Item, ...]:
        """The items of one split."""
        return tuple(item for item in self.items if item.split == name)

    def read_image(self, item: Item) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """RGB pixels (h, w, 3), uint8.

        Raises:
            DatasetError: the file is missing or not an image.
        """
        with _open(item.image) as image:
            return np.asarray(image.convert("RGB"))

    def read_mask(self, item: Item) -> np.ndarray[Any, np.dtype[np.uint8]] | None:
        """Class ids (h, w), uint8, 0 = unlabelled; None for an item without a mask.

        Raises:
            DatasetError: the file is missing, or holds ids that no class has.
        """
        if item.mask is None:
            return None
        with _open(item.mask) as image:
            if self.decode_mask is not None:
                return self.decode_mask(image, item)
            if image.mode not in ("L", "P"):
                raise DatasetError(f"{item.mask}: a mask is an 8-bit image of class ids, this one is {image.mode}")
            mask = np.asarray(image)
        if int(mask.max(initial=0)) > len(self.classes):
            raise DatasetError(f"{item.mask}: holds id {mask.max()}, but there are only {len(self.classes)} classes")
        return mask


def _open(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: missing, though the manifest names it") from error
    except (UnidentifiedImageError, OSError) as error:
        raise DatasetError(f"{path}: not a readable image ({error})") from error
