"""DigestPath2019 (Da et al., Med Image Anal 2022, doi 10.1016/j.media.2022.102485), colonoscopy tissue.

``tissue-train-pos-v1/NAME.jpg`` with ``NAME_mask.jpg`` (JPEG), ``tissue-train-neg/NAME.jpg`` without a lesion. NAME
holds spaces and ``-lv1-x-y-w-h``; what precedes that is the case.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from wsi_segment.errors import DatasetError
from wsi_segment.model.card import SegmentClass
from wsi_segment.model.data.dataset import Dataset, ImageFiles, Item, Pixels, open_image, picture_shape
from wsi_segment.model.data.loaders.options import OptionReader, Options
from wsi_segment.model.data.splits import split_groups

POSITIVE, NEGATIVE = "tissue-train-pos-v1", "tissue-train-neg"
CLASSES = (
    SegmentClass(name="no lesion", color=(170, 170, 170)),
    SegmentClass(name="lesion", color=(213, 94, 0)),
)
_MASK = "_mask"


def read_digestpath2019(folder: Path, options: Options) -> Dataset:
    """Read a DigestPath2019 folder, split by case.

    Options: ``size`` (default 1024) is the side that images are resized to, as in the paper; 0 leaves them as
    they are. ``mpp`` (default 1.0) is the pixel size at which the network will be used: those of the
    images differ and are not stated.

    Raises:
        DatasetError: a mask is missing, or belongs to no image.
    """
    reader = OptionReader("DigestPath2019", options)
    size = int(reader.number("size", 1024, 0, 20_000))
    mpp = reader.number("mpp", 1.0, 0.05, 8.0)
    reader.done()
    found: list[tuple[Path, Path | None]] = []
    for path in sorted((folder / POSITIVE).glob("*.jpg")):
        if path.stem.endswith(_MASK):
            owner = path.with_name(path.stem.removesuffix(_MASK) + ".jpg")
            if not owner.is_file():
                raise DatasetError(f"{owner}: missing, though {path.name} is its mask")
            continue
        mask = path.with_name(path.stem + _MASK + ".jpg")
        if not mask.is_file():
            raise DatasetError(f"{mask}: missing; every image of {POSITIVE} has a mask")
        found.append((path, mask))
    found += [(path, None) for path in sorted((folder / NEGATIVE).glob("*.jpg"))]
    splits = split_groups(case_of(path) for path, _ in found)
    return Dataset(
        name="digestpath2019",
        classes=CLASSES,
        mpp=mpp,
        mpp_source="assumed: the images state none, and are resized" if size else "assumed: the images state none",
        items=tuple(
            Item(image=path, mask=mask, label=None if mask else 1, group=case_of(path), split=splits[case_of(path)])
            for path, mask in found
        ),
        attribution="DigestPath2019: Da et al., Medical Image Analysis 2022, doi 10.1016/j.media.2022.102485",
        source=_Resized(size),
    )


def case_of(path: Path) -> str:
    """Return what precedes ``-lv1-`` in a name."""
    return path.stem.partition("-lv1-")[0]


class _Resized(ImageFiles):
    def __init__(self, size: int) -> None:
        self._size = size

    def shape(self, item: Item) -> tuple[int, int]:
        return (self._size, self._size) if self._size else picture_shape(item.image)

    def image(self, item: Item) -> Pixels:
        with open_image(item.image) as image:
            return np.asarray(self._resized(image.convert("RGB")))

    def mask(self, item: Item) -> Pixels:
        """Read a mask; a JPEG is never exactly black and white, so it is resized and then divided in the middle."""
        assert item.mask is not None
        rows, columns = picture_shape(item.image)
        with open_image(item.mask) as mask:
            if mask.size != (columns, rows):
                raise DatasetError(f"{item.mask}: {mask.width} x {mask.height} px, but its image is {columns} x {rows}")
            grey = np.asarray(self._resized(mask.convert("L")))
        return np.where(grey > 127, np.uint8(2), np.uint8(1))

    def _resized(self, image: Image.Image) -> Image.Image:
        if not self._size:
            return image
        return image.resize((self._size, self._size), Image.Resampling.BILINEAR, reducing_gap=3.0)
