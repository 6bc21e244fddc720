"""Training datasets: images with pixel masks, with image-level labels, or with both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from PIL import Image, UnidentifiedImageError

from wsi_segment.model.card import SegmentClass
from wsi_segment.model.errors import DatasetError

UNLABELLED = 0

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


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
    box: tuple[int, int, int, int] | None = None
    """Part of a slide: x0, y0, x1, y1 in pixels at the dataset's mpp; None for a whole image."""


class ImageSource(Protocol):
    """How the files of a dataset become pixels."""

    def image(self, item: Item) -> Pixels:
        """RGB (h, w, 3)."""

    def mask(self, item: Item) -> Pixels:
        """Class ids (h, w) of an item that has a mask, 0 = unlabelled."""


class ImageFiles:
    """Pictures, and masks that are 8-bit pictures of class ids."""

    def image(self, item: Item) -> Pixels:
        """See :class:`ImageSource`."""
        with open_image(item.image) as image:
            return np.asarray(image.convert("RGB"))

    def mask(self, item: Item) -> Pixels:
        """See :class:`ImageSource`."""
        assert item.mask is not None
        with open_image(item.mask) as image:
            if image.mode not in ("L", "P"):
                raise DatasetError(f"{item.mask}: a mask is an 8-bit image of class ids, this one is {image.mode}")
            return np.asarray(image)


IMAGE_FILES = ImageFiles()


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
    source: ImageSource = IMAGE_FILES
    ordered: bool = False
    """Whether the classes are grades, from the mildest on, so that it matters how far a mistake is off."""
    class_of: Callable[[str], int | None] | None = None
    """Class id of the name of an annotation, None to leave it out; without it names must be those of classes."""
    unannotated: int = UNLABELLED
    """Class id of what no annotation of a slide covers."""

    def split(self, name: Split) -> tuple[Item, ...]:
        """The items of one split."""
        return tuple(item for item in self.items if item.split == name)

    def read_image(self, item: Item) -> Pixels:
        """RGB pixels (h, w, 3), uint8.

        Raises:
            DatasetError: the file is missing or not an image.
        """
        return self.source.image(item)

    def read_mask(self, item: Item) -> Pixels | None:
        """Class ids (h, w), uint8, 0 = unlabelled; None for an item without a mask.

        Raises:
            DatasetError: the file is missing, or holds ids that no class has.
        """
        if item.mask is None:
            return None
        mask = self.source.mask(item)
        if int(mask.max(initial=0)) > len(self.classes):
            raise DatasetError(f"{item.mask}: holds id {mask.max()}, but there are only {len(self.classes)} classes")
        return mask


def open_image(path: Path) -> Image.Image:
    """An opened picture.

    Raises:
        DatasetError: it is missing or not a picture.
    """
    try:
        image = Image.open(path)
        image.load()
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: missing, though the dataset names it") from error
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{path}: not a readable image ({error})") from error
    return image
