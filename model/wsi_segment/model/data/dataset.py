"""Training datasets: images with pixel masks, with image-level labels, or with both."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from PIL import Image, UnidentifiedImageError

from wsi_segment.errors import DatasetError
from wsi_segment.model.card import SegmentClass

UNLABELLED = 0

LARGEST_PIXELS = 400_000_000
"""A picture is decoded whole, which takes up to 14 bytes per pixel for a moment."""

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

ANNOTATION_SUFFIXES = (".geojson", ".geojson.gz", ".json", ".json.gz", ".xml", ".annotations")
"""Suffixes of files that hold annotations of a slide, not class ids of pixels."""

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Counts = np.ndarray[Any, np.dtype[np.int64]]

_PILLOWS_LIMIT = threading.Lock()
_UNREADABLE = (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError)


@dataclass(frozen=True, slots=True)
class Item:
    """One image and what is known about it.

    >>> Item(Path("a.png"), mask=None, label=2, group="case 7", split="train").group
    'case 7'
    """

    image: Path
    """The picture or the slide."""
    mask: Path | None
    """A picture of class ids, or the annotations of a slide."""
    label: int | None
    """Class id of the whole image, or None."""
    group: str
    """Case or patient: splits never divide a group."""
    split: Split
    """``train``, ``val`` or ``test``."""
    box: tuple[int, int, int, int] | None = None
    """Part of a slide: x0, y0, x1, y1 in pixels at the dataset's mpp; None for a whole image."""
    slide_mpp: float | None = None
    """µm per level-0 pixel of a slide, where it states none or a wrong one; None for what it states."""


class ImageSource(Protocol):
    """How the files of a dataset become pixels."""

    def shape(self, item: Item) -> tuple[int, int]:
        """Return rows and columns of :meth:`image`, found without decoding it."""

    def image(self, item: Item) -> Pixels:
        """Read the pixels of an item: RGB (h, w, 3)."""

    def mask(self, item: Item) -> Pixels:
        """Read the class ids (h, w) of an item that has a mask, 0 = unlabelled."""


class ImageFiles:
    """Pictures, and masks that are 8-bit pictures of class ids."""

    def shape(self, item: Item) -> tuple[int, int]:
        """See :class:`ImageSource`."""
        return picture_shape(item.image)

    def image(self, item: Item) -> Pixels:
        """See :class:`ImageSource`."""
        with open_image(item.image) as image:
            return np.asarray(image.convert("RGB"))

    def mask(self, item: Item) -> Pixels:
        """See :class:`ImageSource`."""
        assert item.mask is not None
        with open_image(item.mask) as image:
            if image.mode not in ("L", "P"):
                raise DatasetError(
                    f"{item.mask}: a mask is an 8-bit image of class ids, and this is one of mode {image.mode}; "
                    "save it as greyscale, 8 bits, 1 for the first class"
                )
            return np.asarray(image)


IMAGE_FILES = ImageFiles()


@dataclass(frozen=True, slots=True)
class Dataset:
    """Items, their classes and the pixel size they were taken at.

    >>> from wsi_segment.model import read_dataset
    >>> dataset = read_dataset(Path("data"))
    >>> item = dataset.split("val")[0]
    >>> dataset.read_image(item).shape, int(dataset.read_mask(item).max())
    ((128, 160, 3), 2)
    """

    name: str
    """Name for the model card."""
    classes: tuple[SegmentClass, ...]
    """Classes from id 1 on."""
    mpp: float
    """µm per pixel at which images are read and the network learns."""
    mpp_source: str
    """Source of that pixel size; an estimate is called one."""
    items: tuple[Item, ...]
    """All images, in the order of the manifest."""
    attribution: str = ""
    """Text that names the authors."""
    license: str = "not stated"
    """License of the images."""
    source: ImageSource = IMAGE_FILES
    """Source that turns the files into pixels."""
    ordered: bool = False
    """Whether the classes are grades, from the mildest on, so that the size of a mistake matters."""
    class_of: Callable[[str], int | None] | None = None
    """Class id of the name of an annotation, None for a name of no class; without it names are those of classes."""
    unannotated: int = UNLABELLED
    """Class id of what no annotation of a slide covers."""
    left_out: tuple[str, ...] = ()
    """Contents of its files that are not used, such as lines among outlines; one line per file."""

    @property
    def outlined(self) -> bool:
        """Return whether masks of some items come from annotations."""
        return any(item.mask is not None and item.mask.name.endswith(ANNOTATION_SUFFIXES) for item in self.items)

    @property
    def partly_labelled(self) -> bool:
        """Return whether some masks come from annotations, and what these leave out has no class."""
        return self.outlined and self.unannotated == UNLABELLED

    def split(self, name: Split) -> tuple[Item, ...]:
        """Return the items of one split."""
        return tuple(item for item in self.items if item.split == name)

    def image_shape(self, item: Item) -> tuple[int, int]:
        """Return rows and columns of an item's pixels, found without decoding them.

        Raises:
            DatasetError: the file is missing or not an image.
        """
        return self.source.shape(item)

    def read_image(self, item: Item) -> Pixels:
        """Read the RGB pixels of an item, (h, w, 3), uint8.

        Raises:
            DatasetError: the file is missing or not an image.
        """
        return self.source.image(item)

    def read_mask(self, item: Item) -> Pixels | None:
        """Read the class ids of an item, (h, w), uint8, 0 = unlabelled; None for an item without a mask.

        Raises:
            DatasetError: the file is missing, of another size than its image, or holds ids that no class has.
        """
        if item.mask is None:
            return None
        mask = self.source.mask(item)
        rows, columns = self.source.shape(item)
        if mask.shape != (rows, columns):
            raise DatasetError(
                f"{item.mask}: {mask.shape[1]} x {mask.shape[0]} px, but its image {item.image} is "
                f"{columns} x {rows}; make the mask at the size of the image"
            )
        if int(mask.max(initial=0)) > len(self.classes):
            raise DatasetError(
                f"{item.mask}: holds id {mask.max()}, but there are only {len(self.classes)} classes; "
                "write 1 for the first class, 2 for the second, and 0 where nothing is known"
            )
        return mask

    def count_pixels(self, split: Split) -> Counts:
        """Count the labelled pixels of each class (C,) in the masks of a split.

        Raises:
            DatasetError: see :meth:`read_mask`.
        """
        counts = np.zeros(len(self.classes) + 1, np.int64)
        for item in self.split(split):
            if (mask := self.read_mask(item)) is not None:
                counts += np.bincount(mask.ravel(), minlength=len(counts))
        return counts[1:]


def picture_shape(path: Path) -> tuple[int, int]:
    """Return rows and columns that a picture's header states.

    Raises:
        DatasetError: see :func:`open_header`.
    """
    with open_header(path) as image:
        return image.height, image.width


def open_image(path: Path) -> Image.Image:
    """Open a picture and decode it, so that damage is found.

    Raises:
        DatasetError: see :func:`open_header`, or its pixels are damaged.
    """
    image = open_header(path)
    try:
        image.load()
    except _UNREADABLE as error:
        image.close()
        raise DatasetError(f"{path}: not a readable image ({error})") from error
    return image


def open_header(path: Path) -> Image.Image:
    """Open a picture, reading its header alone.

    Raises:
        DatasetError: it is missing, not a picture, or larger than ``LARGEST_PIXELS``.
    """
    try:
        image = _open_of_any_size(path)
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: missing, though the dataset names it") from error
    except _UNREADABLE as error:
        raise DatasetError(f"{path}: not a readable image ({error})") from error
    if image.width * image.height > LARGEST_PIXELS:
        image.close()
        raise DatasetError(
            f"{path}: {image.width} x {image.height} px, more than the {LARGEST_PIXELS:,} that are decoded whole; cut "
            "it up, or give it as a pyramidal slide with annotations"
        )
    return image


def _open_of_any_size(path: Path) -> Image.Image:
    """Open a picture of any size.

    Pillow warns of 89 megapixels and refuses 179, but scans of training data, which is the user's own, are larger.

    Its limit is lifted for the moment in which it reads the header; whoever else opens a picture just then has a
    limit of their own, as the readers of slides do.
    """
    with _PILLOWS_LIMIT:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(path)
        finally:
            Image.MAX_IMAGE_PIXELS = before
